"""What a model is worth without some of its sensors: a stream that is absent is filled with its fallback number.
Numpy only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgefuse.backends import Runner
from edgefuse.comparison import Judge
from edgefuse.golden import GoldenSample
from edgefuse.noninferiority import Groups, Scores
from edgefuse.robustness.scoring import (
    Distance,
    group_array,
    is_binary,
    is_broken,
    losses,
    mean,
    mean_loss,
    score_answer,
)
from edgefuse.spec import Array, Feed, TensorSpec

Absence = frozenset[str]
"""Streams that are absent together."""
NOBODY: Absence = frozenset()

ALL_SUBSETS = 4
"""Of so many streams every subset is measured; of more, those without one or two of them, and each alone."""

NO_DROP = "SQNR tells how far outputs are from the float model's, and not which are worse: there are no labels"


def measure_subsets(
    samples: Iterable[GoldenSample],
    runners: Mapping[str, Runner],
    judge: Judge,
    streams: Mapping[str, tuple[TensorSpec, ...]],
    fills: Mapping[str, float],
    absent: Iterable[Absence],
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """What each of *runners* scores over *samples* while the *streams* in each set of *absent* are filled with their
    number in *fills* (0 where it has none). One pass over *samples*; *advance* is called after each.

    A row for each set, in its order: ``absent`` (in the order of *streams*), ``present``, ``fills`` (of the absent
    ones), ``metric``, ``samples``, and ``runners``: of each its ``value``, the ``clean`` value with all streams, the
    ``drop`` (positive is worse, paired by sample) with ``ci95``, by recording where samples have groups. What there is
    not is null, with ``ci95_reason``. ``nonfinite``: answers that have NaN, and had none with all streams. For "sqnr"
    the values are dB of the worst output against the golden reference, and there is no drop.
    """
    found = run_subsets(samples, runners, judge, streams, fills, absent, advance)
    return [subset_row(found, subset, judge, streams, fills) for subset in found.subsets]


@dataclass
class Subsets:
    """Scores of each runner over the same samples with nobody and with each of ``subsets`` absent."""

    subsets: tuple[Absence, ...]
    scores: dict[tuple[Absence, str], list[float]]
    distances: dict[tuple[Absence, str], Distance]
    nan: dict[tuple[Absence, str], int]
    groups_seen: list[int | None] = field(default_factory=list)

    @property
    def groups(self) -> Groups | None:
        return group_array(self.groups_seen)

    def of(self, subset: Absence, runner: str) -> Scores:
        return np.array(self.scores[subset, runner], np.float64)


def run_subsets(
    samples: Iterable[GoldenSample],
    runners: Mapping[str, Runner],
    judge: Judge,
    streams: Mapping[str, tuple[TensorSpec, ...]],
    fills: Mapping[str, float],
    absent: Iterable[Absence],
    advance: Callable[[], None] = lambda: None,
) -> Subsets:
    """As :func:`measure_subsets`, before anything is computed from it."""
    subsets = tuple(absent)
    keys = list(itertools.product(dict.fromkeys([NOBODY, *subsets]), runners))
    found = Subsets(subsets, {key: [] for key in keys}, {key: Distance() for key in keys}, dict.fromkeys(keys, 0))
    for sample in samples:
        found.groups_seen.append(sample.group)
        for subset, name in keys:
            outputs = runners[name](without(sample.feed, subset, streams, fills))
            found.scores[subset, name].append(score_answer(judge, sample, outputs))
            found.nan[subset, name] += any(map(is_broken, outputs.values()))
            if judge.metric is None:
                found.distances[subset, name].add(sample.reference, outputs)
        advance()
    return found


def without(
    feed: Feed, subset: Absence, streams: Mapping[str, tuple[TensorSpec, ...]], fills: Mapping[str, float]
) -> dict[str, Array]:
    """*feed* with every input of the streams in *subset* filled with their numbers."""
    filled = {
        item.name: np.full_like(feed[item.name], fills.get(name, 0.0)) for name in subset for item in streams[name]
    }
    return {**feed, **filled}


def subsets_to_measure(streams: Sequence[str]) -> list[Absence]:
    """Which streams are absent, of all 2^M − 1 subsets of present ones but the whole; of more than ``ALL_SUBSETS``
    streams those without one, without two, and each alone."""
    every = range(1, len(streams))
    sizes = every if len(streams) <= ALL_SUBSETS else sorted({1, 2, len(streams) - 1})
    return [frozenset(group) for size in sizes for group in itertools.combinations(streams, size)]


def subset_row(
    found: Subsets,
    subset: Absence,
    judge: Judge,
    streams: Mapping[str, tuple[TensorSpec, ...]],
    fills: Mapping[str, float],
) -> dict[str, Any]:
    absent = [name for name in streams if name in subset]
    return {
        "absent": absent,
        "present": [name for name in streams if name not in subset],
        "fills": {name: fills.get(name, 0.0) for name in absent},
        "metric": judge.accuracy.metric,
        "samples": len(found.groups_seen),
        "runners": {name: _value(found, subset, name, judge) for _, name in found.scores if _ == NOBODY},
    }


def _value(found: Subsets, subset: Absence, name: str, judge: Judge) -> dict[str, Any]:
    nan = max(found.nan[subset, name] - found.nan[NOBODY, name], 0)
    if judge.metric is None:
        value, clean = (found.distances[key, name].sqnr_db for key in (subset, NOBODY))
        return {
            "value": value, "clean": clean, "drop": None, "ci95": None, "ci95_reason": NO_DROP, "nonfinite": nan
        }  # fmt: skip
    scores, clean_scores = found.of(subset, name), found.of(NOBODY, name)
    binary = is_binary(judge, scores, clean_scores)
    lost = mean_loss(losses(judge, clean_scores, scores), found.groups, binary)
    return {"value": mean(scores), "clean": mean(clean_scores), **lost, "nonfinite": nan}
