"""A recording's labels: when each holds, and what it is as far as choosing samples needs it. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.recordings import Recording
from edgefuse.spec import Array

MOST_VALUES = 5
"""Labels of more numbers (a segmentation) are not told apart; memory holds their times alone."""

MOST_CLASSES = 64
"""Whole numbers of more kinds than this are measured values and no classes."""


@dataclass(frozen=True)
class Labels:
    """``stamps_ns`` (m,) from when on each label holds, in order. ``known`` (m,): whether it is free of NaN. ``values``
    (m, d) float64, None where a label has more than ``MOST_VALUES`` numbers; ``whole``: they are integers."""

    stamps_ns: NDArray[np.int64]
    known: NDArray[np.bool_]
    values: NDArray[np.float64] | None
    whole: bool

    @property
    def classes(self) -> bool:
        """Whether a label is one of a few classes."""
        values = self.values
        return self.whole and values is not None and values.shape[1] == 1 and len(np.unique(values)) <= MOST_CLASSES

    def changes_ns(self) -> NDArray[np.int64]:
        """When a label differs from the one before it."""
        if self.values is None or len(self.values) < 2:
            return self.stamps_ns[1:]
        return np.asarray(self.stamps_ns[1:][(self.values[1:] != self.values[:-1]).any(axis=1)])


def read_labels(recording: Recording) -> Labels:
    """One pass over the labels of *recording*."""
    stamps, known, values, whole = list[int](), list[bool](), list[Array](), True
    for label in recording.labels():
        value = np.asarray(label.value)
        stamps.append(label.stamp_ns)
        known.append(bool(np.isfinite(value).all()))
        whole = whole and value.dtype.kind in "iub"
        if value.size <= MOST_VALUES:
            values.append(value.astype(np.float64).reshape(-1))
    alike = len(values) == len(stamps) and len({item.size for item in values}) == 1 and values[0].size > 0
    return Labels(np.array(stamps, np.int64), np.array(known, bool), np.stack(values) if alike else None, whole)
