"""What one answer is worth, also one that is NaN; and how much worse answers got, with a 95 % interval. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.comparison import Judge, score_sample
from edgefuse.fidelity import EXACT_DB, decibels
from edgefuse.golden import GoldenSample
from edgefuse.noninferiority import MIN_UNITS, Groups, Interval, Scores, mean_interval
from edgefuse.proportions import clustered_pairs, independent_pairs
from edgefuse.spec import Array

Outputs = Mapping[str, Array]


def score_answer(judge: Judge, sample: GoldenSample, outputs: Outputs) -> float:
    """The metric's value for *outputs*. An answer with NaN or infinity is wrong where answers are right or wrong, and
    has no value (NaN) elsewhere. NaN too where the judge has no metric ("sqnr")."""
    if judge.metric is None:
        return math.nan
    if is_broken(outputs[judge.output]):
        return 0.0 if judge.metric.binary else math.nan
    value = score_sample(judge, sample, outputs)
    return value if math.isfinite(value) else math.nan


def is_broken(array: Array) -> bool:
    """Whether *array* has NaN or infinity; −inf may be meant (a masked logit)."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return False
    return bool((np.isnan(array) | np.isposinf(array)).any())


def is_binary(judge: Judge, *scores: Scores) -> bool:
    """Whether all scores are right or wrong answers: by the metric's word, or because they look like it."""
    if judge.metric is None:
        return False
    return judge.metric.binary or all(bool(np.isin(found, (0.0, 1.0)).all()) for found in scores)


def losses(judge: Judge, before: Scores, after: Scores) -> Scores:
    """How much worse each score (n,) got, in the metric's unit; positive is worse."""
    return (before - after) * (1.0 if judge.metric is None or judge.metric.higher_is_better else -1.0)


def mean_loss(loss: Scores, groups: Groups | None, binary: bool) -> dict[str, Any]:
    """``drop``: the mean of *loss* (n,), of those that are numbers, and ``ci95`` (see :func:`loss_interval`); null,
    with ``ci95_reason``, where there are too few independent samples."""
    kept = np.isfinite(loss)
    loss, groups = loss[kept], groups[kept] if groups is not None else None
    if not len(loss):
        return {"drop": None, "ci95": None, "ci95_reason": "no sample has a finite score before and after"}
    units = len(loss) if groups is None else len(np.unique(groups))
    if units < MIN_UNITS:
        kind = "samples" if groups is None else "recordings"
        reason = f"needs {MIN_UNITS} {kind}, had {units}"
        return {"drop": float(loss.mean()), "ci95": None, "ci95_reason": reason}
    return {"drop": float(loss.mean()), "ci95": list(loss_interval(loss, groups, binary)), "ci95_reason": None}


def loss_interval(loss: Scores, groups: Groups | None, binary: bool) -> Interval:
    """95 % interval of the mean of *loss* (n,): Tango's where answers are right or wrong, which has width also where
    nothing changed; else the bootstrap-t's (docs/gate.md)."""
    if not binary:
        return mean_interval(loss, groups)
    if groups is None and np.isin(loss, (-1.0, 0.0, 1.0)).all():
        return independent_pairs(loss).interval()
    return clustered_pairs(loss, groups if groups is not None else np.arange(len(loss))).interval()


def group_array(groups: Sequence[int | None]) -> Groups | None:
    """The samples' recordings, or None where one has none."""
    if not groups or any(group is None for group in groups):
        return None
    return np.array(groups, np.int64)


def mean(values: NDArray[np.float64]) -> float | None:
    """Of those that are numbers; None where none is."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else None


@dataclass
class Distance:
    """How far the outputs of one model are from another's: two numbers for each output."""

    signal: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    mismatches: int = 0

    def add(self, expected: Outputs, got: Outputs) -> None:
        """One sample's outputs."""
        for name, array in expected.items():
            self._add(name, array.astype(np.float64), got[name].astype(np.float64))

    def _add(self, name: str, one: Scores, other: Scores) -> None:
        finite = np.isfinite(one) & np.isfinite(other)
        if not finite.all():
            same = (one == other) | (np.isnan(one) & np.isnan(other))
            self.mismatches += int(np.sum(~finite & ~same))
            one, other = one[finite], other[finite]
        self.signal[name] = self.signal.get(name, 0.0) + float(np.sum(one**2))
        self.noise[name] = self.noise.get(name, 0.0) + float(np.sum((other - one) ** 2))

    @property
    def sqnr_db(self) -> float:
        """Of the worst output; −300 where one model has NaN or infinity and the other has not."""
        if self.mismatches:
            return -EXACT_DB
        return min((decibels(self.signal[name], self.noise[name]) for name in self.signal), default=EXACT_DB)
