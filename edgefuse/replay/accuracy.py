"""How good the answers of a replay are: the bundle's own metric over the steps, with a 95 % interval. Numpy only.

The label of a step is the newest one whose stamp is not later than the step: what was true when the model was asked.
Answers that are close in time stand and fall together, so the independent unit is a stretch of about a second at least
that ends where the label changes.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.comparison import Judge
from edgefuse.errors import RecordingError
from edgefuse.noninferiority import MIN_UNITS, mean_interval
from edgefuse.proportions import clustered_pairs
from edgefuse.recordings import Label, Recording
from edgefuse.replay.events import Stepped
from edgefuse.spec import Array

STRETCH_NS = 900_000_000

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]


@dataclass
class Scores:
    """Of the steps that had both a label and outputs: which tick, which stretch of time, and the score. ``lost`` scores
    were NaN (as where the label is) or infinite and count nowhere. 24 bytes a step."""

    ticks: array[int] = field(default_factory=lambda: array("q"))
    groups: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    lost: int = 0

    def add(self, tick: int, group: int, value: float) -> None:
        if not np.isfinite(value):
            self.lost += 1
            return
        self.ticks.append(tick)
        self.groups.append(group)
        self.values.append(value)

    def arrays(self) -> tuple[Groups, Groups, Floats]:
        return np.array(self.ticks, np.int64), np.array(self.groups, np.int64), np.array(self.values, np.float64)


class Scorer:
    """Looks at steps in order of time and scores them against the recording's labels."""

    def __init__(self, recording: Recording, judge: Judge) -> None:
        self.scores, self._judge = Scores(), judge
        self._labels = recording.labels()
        self._current: Label | None = None
        self._next = next(self._labels, None)
        self._group, self._started_ns, self._group_label = -1, 0, -1

    def stepped(self, step: Stepped) -> None:
        label = self._label_at(step.now_ns)
        if label is None:
            return
        group = self._group_at(step.now_ns, label)
        if step.result.outputs is not None:
            score = score_output(self._judge, step.result.outputs[self._judge.output], label.value)
            self.scores.add(step.tick.number, group, score)

    def _label_at(self, now_ns: int) -> Label | None:
        while self._next is not None and self._next.stamp_ns <= now_ns:
            self._current, self._next = self._next, next(self._labels, None)
        return self._current

    def _group_at(self, now_ns: int, label: Label) -> int:
        """A new stretch where the label is another one and the stretch is long enough."""
        changed = label.stamp_ns != self._group_label
        if self._group < 0 or (changed and now_ns - self._started_ns >= STRETCH_NS):
            self._group, self._started_ns, self._group_label = self._group + 1, now_ns, label.stamp_ns
        return self._group


def score_output(judge: Judge, output: Array, label: Array) -> float:
    """Raises :class:`RecordingError` where the label does not fit the output."""
    assert judge.metric is not None
    if label.dtype.kind == "f" and np.isnan(label).all():  # nobody knew; top1 would call every answer wrong
        return float("nan")
    try:
        return float(judge.metric.score(output, np.asarray(label)))
    except (ValueError, TypeError, IndexError) as error:
        raise RecordingError(
            f"the metric {judge.metric.name!r} failed on output {judge.output!r} (shape {output.shape}) and a label of "
            f"shape {np.shape(label)}: {error}",
            where="label",
        ) from error


def estimate(values: Floats, groups: Groups, judge: Judge) -> dict[str, Any]:
    """``value`` the mean score and its 95 % interval, from scores (n,) in *groups* (n,). For an answer that is right or
    wrong the interval of a perfect model's lead over it (score interval, effective sample size)."""
    units = len(np.unique(groups))
    found: dict[str, Any] = {"value": float(values.mean()) if len(values) else None, "ci95": None}
    if units < MIN_UNITS:
        return {**found, "ci95_reason": f"needs {MIN_UNITS} stretches of time, had {units}"}
    return {**found, "ci95": list(_interval(values, groups, judge))}


def _interval(values: Floats, groups: Groups, judge: Judge) -> tuple[float, float]:
    assert judge.metric is not None
    if judge.metric.binary:
        low, high = clustered_pairs(1.0 - values, groups).interval()
        return max(1.0 - high, 0.0), min(1.0 - low, 1.0)
    return mean_interval(values, groups)


def accuracy_json(scores: Scores, judge: Judge) -> dict[str, Any]:
    assert judge.metric is not None
    _, groups, values = scores.arrays()
    return {
        "metric": judge.metric.name,
        "output": judge.output,
        "higher_is_better": judge.metric.higher_is_better,
        **estimate(values, groups, judge),
        "steps": len(values),
        "stretches": len(np.unique(groups)),
        "not_finite": scores.lost,
    }
