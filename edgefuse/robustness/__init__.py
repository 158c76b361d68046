"""Is the compiled model more fragile than the float one? Both run over golden samples in which one sensor's data are
corrupted, old or absent, and what each loses is compared (``docs/robustness.md``). Numpy and one vendor library.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgefuse.assembled import Assembled
from edgefuse.backends import Runner
from edgefuse.bundle import Bundle
from edgefuse.comparison import Judge
from edgefuse.errors import BundleError
from edgefuse.manifest import GOLDEN
from edgefuse.precision import FLOAT
from edgefuse.progress import Steps
from edgefuse.robustness.boundary import SAMPLES as BOUNDARY_SAMPLES
from edgefuse.robustness.boundary import Boundary
from edgefuse.robustness.cases import Case, Options, chosen_streams, corruption_cases, permuted_cases, timing_cases
from edgefuse.robustness.contribution import contribution_json, subsets_json
from edgefuse.robustness.facts import look
from edgefuse.robustness.interaction import Rule
from edgefuse.robustness.results import case_json, judge_cases, judge_streams, verdict_json
from edgefuse.robustness.runs import Models, Tally, run_cases
from edgefuse.robustness.samples import Evenly
from edgefuse.robustness.scoring import is_binary, mean, score_answer
from edgefuse.robustness.subsets import run_subsets, subsets_to_measure
from edgefuse.runtime import open_parts
from edgefuse.spec import TensorSpec
from edgefuse.stream.policy import StreamPolicy, read_policies, sensor_inputs

TIMED = 8
"""Runs of both models from which the time is estimated."""


@dataclass(frozen=True)
class _Sensors:
    """The model's streams with their inputs, and a policy for each."""

    streams: Mapping[str, tuple[TensorSpec, ...]]
    policies: Mapping[str, StreamPolicy]

    @property
    def fills(self) -> dict[str, float]:
        return {name: policy.fallback for name, policy in self.policies.items()}


def check_options(bundle: Bundle, options: Options) -> None:
    """Before anything is run: raises :class:`UsageError` for what the model does not have, and :class:`BundleError`
    where the bundle has no float graph."""
    chosen_streams(options, sensor_inputs(bundle.spec, dict(bundle.partition.state)))
    if FLOAT not in bundle.graphs:
        raise BundleError(
            "holds no float graph, with which robustness is compared",
            where=str(bundle.shown),
            hint="Compile the model file again, without --no-float-graph.",
        )


def measure_robustness(
    bundle: Bundle,
    judge: Judge,
    reference: Runner,
    compiled: Runner,
    steps: Steps,
    options: Options,
) -> dict[str, Any]:
    """The report's ``robustness``: the float model *reference* against the *compiled* one of *bundle*, over its golden
    samples. The same seed and the same answers give the same result."""
    samples = Evenly(bundle.path / GOLDEN, options.samples)
    streams = sensor_inputs(bundle.spec, dict(bundle.partition.state))
    stored = read_policies(bundle.manifest["streams"], "the bundle's streams")
    sensors = _Sensors(streams, {name: stored.get(name, StreamPolicy()) for name in streams})
    with steps.step("Looking at the samples") as step:
        models = _look(samples, sensors, judge, reference, compiled, options)
        unmeasured: list[dict[str, str]] = []
        cases = _cases(samples, sensors, models, options, unmeasured)
        absences = subsets_to_measure(list(streams))
        step.note(_estimate(samples, models, len(cases) + len(streams) + 1 + len(absences) + 1))
    parts = _parts(bundle, compiled)
    models = replace(models, boundary=_boundary(parts, samples))
    permuted = permuted_cases(streams, samples.chosen, samples.total, samples.groups, options.seed)
    try:
        with steps.bar("Corruptions", len(samples)) as bar, np.errstate(all="ignore"):
            clean, tallies = run_cases([*cases, *permuted], samples, models, bar.advance)
            bar.step.note(f"{len(cases)} cases")
    finally:
        if parts is not None and parts is not compiled:
            parts.close()
    runners = {"float": reference, "compiled": compiled}
    with steps.bar("Absent sensors", len(samples)) as bar:
        absent = run_subsets(samples, runners, judge, streams, sensors.fills, absences, bar.advance)
        bar.step.note(f"{len(absences)} subsets")
    groups = samples.groups[list(samples.chosen)] if samples.groups is not None else None
    rule = _rule(judge, clean, tallies, cases)
    judged = judge_cases(cases, tallies[: len(cases)], clean, groups, judge, rule)
    rows = subsets_json(absent, judge, sensors.streams, sensors.fills, rule)
    return {
        **verdict_json(judged, judge_streams(judged, clean, groups, rule)),
        **_header(samples, judge, clean, options),
        "cases": [case_json(item, samples, judge, clean) for item in judged],
        "unmeasured": unmeasured,
        "subsets": rows,
        "contribution": contribution_json(permuted, tallies[len(cases) :], clean, rows, groups, judge),
        "boundary_reason": None if models.boundary is not None else "the bundle has no parts",
    }


def _look(
    samples: Evenly, sensors: _Sensors, judge: Judge, reference: Runner, compiled: Runner, options: Options
) -> Models:
    """What the clean samples say; how far answers may be apart before they count as different is the accuracy limit."""
    about = look((sample.feed for sample in samples), len(samples), sensors.streams, sensors.policies)
    limit = judge.accuracy.max_drop
    scores = np.array([score_answer(judge, sample, sample.reference) for sample in samples])
    tolerance = limit.value * abs(mean(scores) or 0.0) if limit.relative else limit.value
    return Models(reference, compiled, judge, about, tolerance, options.seed)


def _cases(
    samples: Evenly, sensors: _Sensors, models: Models, options: Options, unmeasured: list[dict[str, str]]
) -> list[Case]:
    """All of a stream together."""
    streams, policies = sensors.streams, sensors.policies
    found = [
        *corruption_cases(options, streams, policies, models.about),
        *timing_cases(options, streams, policies, samples.stamps_ns, samples.groups, unmeasured),
    ]
    order = list(streams)
    return sorted(found, key=lambda case: order.index(case.stream))


def _estimate(samples: Evenly, models: Models, rounds: int) -> str:
    """How long it takes, said before it does."""
    feeds = [sample.feed for sample, _ in zip(samples, range(TIMED))]
    for feed in feeds[:2]:
        models.reference(feed), models.compiled(feed)
    started = time.perf_counter()
    for feed in feeds:
        models.reference(feed), models.compiled(feed)
    each_s = (time.perf_counter() - started) / max(len(feeds), 1)
    total_s = each_s * rounds * len(samples)
    about = f"{total_s:.0f} s" if total_s < 100 else f"{total_s / 60:.0f} min"
    return f"{rounds} times {len(samples)} samples: both models take about {about}"


def _parts(bundle: Bundle, compiled: Runner) -> Assembled | None:
    if isinstance(compiled, Assembled):
        return compiled
    return open_parts(bundle) if bundle.manifest["artifact"]["parts"] else None


def _boundary(parts: Assembled | None, samples: Evenly) -> Boundary | None:
    if parts is None:
        return None
    return Boundary(parts, (sample.feed for sample, _ in zip(samples, range(BOUNDARY_SAMPLES))))


def _rule(judge: Judge, clean: Tally, tallies: Sequence[Tally], cases: Sequence[Case]) -> Rule:
    """So many tests as there are cases that can be judged, and streams that have some."""
    judged = [case for case, tally in zip(cases, tallies) if not case.unjudged and not tally.error]
    tests = max(len(judged) + len({case.stream for case in judged}), 1)
    scores = [array for tally in (clean, *tallies) for array in tally.scores()]
    up = judge.metric is None or judge.metric.higher_is_better
    return Rule(judge.accuracy.max_drop, is_binary(judge, *scores), up, tests)


def _header(samples: Evenly, judge: Judge, clean: Tally, options: Options) -> dict[str, Any]:
    """Against what, and over what."""
    reference, candidate = (mean(scores) for scores in clean.scores())
    limit = judge.accuracy.max_drop
    allowed = limit.value * abs(reference or 0.0) if limit.relative else limit.value
    groups = samples.groups
    return {
        "samples": len(samples),
        "of_samples": samples.total,
        "recordings": None if groups is None else len(np.unique(groups[list(samples.chosen)])),
        "seed": options.seed,
        "metric": judge.accuracy.metric,
        "output": judge.output if judge.metric is not None else None,
        "higher_is_better": judge.metric.higher_is_better if judge.metric is not None else None,
        "labels": judge.labelled,
        "limit": allowed if judge.metric is not None else None,
        "limit_text": str(limit) if judge.metric is not None else None,
        "float": reference,
        "compiled": candidate,
        "flips": clean.flipped,
        "sqnr_db": clean.distance.sqnr_db,
    }
