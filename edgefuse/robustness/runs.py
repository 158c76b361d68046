"""Both models over the golden samples, once clean and once in each case: one pass, all cases of a sample after each
other, so that samples are read and unpacked once and memory holds one. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgefuse.backends import Runner
from edgefuse.comparison import Judge
from edgefuse.errors import EdgeFuseError
from edgefuse.golden import GoldenSample
from edgefuse.noninferiority import Scores
from edgefuse.robustness.boundary import SAMPLES as BOUNDARY_SAMPLES
from edgefuse.robustness.boundary import Boundary
from edgefuse.robustness.cases import Case
from edgefuse.robustness.corruptions import About
from edgefuse.robustness.corruptions.timing import NOBODY
from edgefuse.robustness.samples import Evenly, Indices, Rows, temporary_rows
from edgefuse.robustness.scoring import Distance, Outputs, is_broken, score_answer
from edgefuse.spec import Feed

Share = list[int]
"""How many, of how many."""


@dataclass
class Tally:
    """What a case has shown so far. ``places``: of each answered sample its place among the chosen ones.

    ``flips``: whether the two models answer differently (None where nothing can be said). ``broken``: answers with NaN
    or infinity, of the float and the compiled model; ``broken_compiled_only`` those where the float model's has none.
    ``distance``: of the compiled model's outputs from the float model's. ``outside``: of each changed input the values
    outside the range of the clean samples, ``boundary`` the same between parts. ``error``: why there is no result.
    """

    places: list[int] = field(default_factory=list)
    float_scores: list[float] = field(default_factory=list)
    compiled_scores: list[float] = field(default_factory=list)
    flips: list[bool | None] = field(default_factory=list)
    broken: list[int] = field(default_factory=lambda: [0, 0])
    broken_compiled_only: int = 0
    distance: Distance = field(default_factory=Distance)
    outside: dict[str, Share] = field(default_factory=dict)
    boundary: dict[str, Share] = field(default_factory=dict)
    error: str = ""

    @property
    def flipped(self) -> float | None:
        """Share of the samples that the two models answer differently."""
        known = [flip for flip in self.flips if flip is not None]
        return sum(known) / len(known) if known else None

    def scores(self) -> tuple[Scores, Scores]:
        return np.array(self.float_scores, np.float64), np.array(self.compiled_scores, np.float64)

    def add_answers(
        self, place: int, judge: Judge, sample: GoldenSample, one: Outputs, other: Outputs, tolerance: float
    ) -> None:
        """The float model's answer *one* and the compiled model's *other*."""
        scores = score_answer(judge, sample, one), score_answer(judge, sample, other)
        broken = [any(map(is_broken, outputs.values())) for outputs in (one, other)]
        self.places.append(place)
        self.float_scores.append(scores[0])
        self.compiled_scores.append(scores[1])
        self.flips.append(answers_differ(judge, one, other, scores, tolerance))
        self.broken = [count + found for count, found in zip(self.broken, broken)]
        self.broken_compiled_only += broken[1] and not broken[0]
        self.distance.add(one, other)

    def add_values(self, feed: Feed, inputs: Sequence[str], about: Mapping[str, About]) -> None:
        for name in inputs:
            array = feed[name]
            if array.dtype.kind != "b":
                outside = int(np.sum((array < about[name].low) | (array > about[name].high)))
                _count(self.outside, name, outside, array.size)


def _count(shares: dict[str, Share], name: str, outside: int, values: int) -> None:
    share = shares.setdefault(name, [0, 0])
    share[0] += outside
    share[1] += values


def answers_differ(
    judge: Judge, one: Outputs, other: Outputs, scores: tuple[float, float], tolerance: float
) -> bool | None:
    """Another class, for top-k; outputs that differ by more than *tolerance*, the accuracy limit, for MAE and MSE;
    scores that do, for a metric of the user's own. None without a metric."""
    if judge.metric is None:
        return None
    first, second = one[judge.output], other[judge.output]
    if judge.metric.name.startswith("top"):
        return bool((first.argmax(axis=-1) != second.argmax(axis=-1)).any())
    if judge.metric.name in ("mae", "mse"):
        distance = judge.metric.score(second, first)
        return bool(distance > tolerance) if math.isfinite(distance) else is_broken(first) != is_broken(second)
    if not all(map(math.isfinite, scores)):
        return math.isfinite(scores[0]) != math.isfinite(scores[1])
    return abs(scores[0] - scores[1]) > tolerance


@dataclass(frozen=True)
class Models:
    """The float model (*reference*) and the compiled one, how answers are judged, what is known of the inputs, and the
    seed of what is drawn.

    ``tolerance``: in the metric's unit, how far answers may be apart before they count as different. ``boundary``
    watches the tensors between parts, where the bundle has some."""

    reference: Runner
    compiled: Runner
    judge: Judge
    about: Mapping[str, About]
    tolerance: float
    seed: int = 0
    boundary: Boundary | None = None


def run_cases(
    cases: Sequence[Case], samples: Evenly, models: Models, advance: Callable[[], None] = lambda: None
) -> tuple[Tally, list[Tally]]:
    """What the clean samples show, and each of *cases*. A case in which a vendor's library fails ends there, with its
    ``error``; where it fails on clean samples the error is raised. *advance* is called after each sample."""
    clean, tallies = Tally(), [Tally() for _ in cases]
    with temporary_rows() as rows:
        _keep_stand_ins(cases, samples, rows)
        for place, (index, sample) in enumerate(samples.indexed()):
            one, other = models.reference(sample.feed), models.compiled(sample.feed)
            clean.add_answers(place, models.judge, sample, one, other, models.tolerance)
            for case, tally in zip(cases, tallies):
                if not tally.error:
                    _run_case(case, tally, place, index, sample, rows, models)
            advance()
    for tally in tallies:
        if not tally.error and not tally.places:
            tally.error = "no sample has an older one of its recording"
    return clean, tallies


def _run_case(
    case: Case, tally: Tally, place: int, index: int, sample: GoldenSample, rows: Rows, models: Models
) -> None:
    feed = case.feed(index, sample, rows, models.about, models.seed)
    if feed is None:
        return
    try:
        one, other = models.reference(feed), models.compiled(feed)
        if models.boundary is not None and place < BOUNDARY_SAMPLES:
            for name, (outside, values) in models.boundary.outside(feed, case.stream).items():
                _count(tally.boundary, name, outside, values)
        tally.add_answers(place, models.judge, sample, one, other, models.tolerance)
    except EdgeFuseError as error:  # also of a metric of the user's own, on outputs that it has never seen
        tally.error = f"{type(error).__name__}: {error.what}"
        return
    tally.add_values(feed, case.inputs, models.about)


def _keep_stand_ins(cases: Sequence[Case], samples: Evenly, rows: Rows) -> None:
    """Into *rows* what stands in for other samples' data: of each stream its inputs of those samples alone."""
    wanted: dict[int, set[str]] = {}
    for case in cases:
        if case.stand_ins is not None:
            for index in _others(case.stand_ins, samples.chosen):
                wanted.setdefault(index, set()).update(case.inputs)
    if wanted:
        for index, sample in samples.indexed(also=wanted):
            if index in wanted:
                rows.put(index, {name: sample.feed[name] for name in sorted(wanted[index])})


def _others(stand_ins: Indices, chosen: Sequence[int]) -> list[int]:
    places = np.array(chosen, np.int64)
    found = stand_ins[places]
    return [int(index) for index in np.unique(found[(found != NOBODY) & (found != places)])]
