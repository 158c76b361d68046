"""Where sensors meet: do the tensors between branches and trunk leave the range that they have on clean samples? Numpy
only; needs the parts of the bundle.

An INT8 tensor cannot leave its range: of it those values count that stand at an end of the type, as far as less than
``RARE`` of the clean ones do (zeros after a ReLU are no saturation).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgefuse.assembled import Assembled
from edgefuse.spec import Array, Feed

RARE = 0.01

SAMPLES = 64
"""So many samples are enough for a share, and a branch's second run costs as much as its first."""


@dataclass
class _Range:
    """Of one tensor over clean samples."""

    low: float = math.inf
    high: float = -math.inf
    at_low: int = 0
    at_high: int = 0
    values: int = 0

    def add(self, array: Array) -> None:
        if array.size:
            self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        if array.dtype.kind in "iu":
            ends = np.iinfo(array.dtype)
            self.at_low += int(np.sum(array == ends.min))
            self.at_high += int(np.sum(array == ends.max))
        self.values += array.size

    def outside(self, array: Array) -> int:
        if array.dtype.kind not in "iu":
            return int(np.sum((array < self.low) | (array > self.high)))
        ends, rare = np.iinfo(array.dtype), RARE * self.values
        low = int(np.sum(array == ends.min)) if self.at_low <= rare else 0
        high = int(np.sum(array == ends.max)) if self.at_high <= rare else 0
        return low + high


class Boundary:
    """The tensors between the parts of *parts*, each with its range over the clean *feeds*."""

    def __init__(self, parts: Assembled, feeds: Iterable[Feed]) -> None:
        self._parts = parts
        self._ranges = {tensor.name: _Range() for tensor in parts.partition.tensors}
        self._makers = {tensor.name: tensor.stream for tensor in parts.partition.tensors}
        for feed in feeds:
            for name, array in self._values(feed).items():
                self._ranges[name].add(array)

    def outside(self, feed: Feed, stream: str) -> dict[str, tuple[int, int]]:
        """Of each tensor that depends on *stream*: how many values lie outside, of how many."""
        affected = {part.name for part in self._parts.partition.affected([stream])}
        return {
            name: (self._ranges[name].outside(array), array.size)
            for name, array in self._values(feed).items()
            if self._makers[name] in affected
        }

    def _values(self, feed: Feed) -> dict[str, Array]:
        values: dict[str, Array] = dict(feed)
        self._parts.run(self._parts.partition.branches, values)
        return {name: values[name] for name in self._ranges if name in values}
