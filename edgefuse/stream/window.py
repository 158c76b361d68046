"""The last N samples of a sensor, always in one piece of memory. Numpy only."""

from __future__ import annotations

import math

import numpy as np

from edgefuse.spec import Array

RESTARTED = -1
LATE = 0.7
"""Periods by which a sample may be late before one is taken as lost: jitter of 0.3 and a rate that is 2 % off."""

FOLLOW = 0.1
"""How fast the expected time follows the stamps: slow enough that jitter is no gap, fast enough for a
sensor whose true rate is 4 % off (a sensor that is off by d periods a sample runs ahead by d / FOLLOW)."""


class Window:
    """Samples of one input of *shape* along *axis*; the newest is at the end. ``stamp_ns`` is the newest sample's.

    Memory: two windows, of which the last samples are moved to the front when the end is reached, so that adding is
    O(samples added) and the window is contiguous.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, axis: int, rate_hz: float | None, gap: str) -> None:
        self._length, self._gap = shape[axis], gap
        self._memory: Array = np.zeros((2 * self._length, *shape[:axis], *shape[axis + 1 :]), dtype)
        self._layout = (*range(1, axis + 1), 0, *range(axis + 1, len(shape)))
        self._period_ns = 1e9 / rate_hz if rate_hz else None
        self.clear()

    def clear(self) -> None:
        self._end = self._count = 0
        self._expected_ns = 0.0
        self.stamp_ns = -1

    @property
    def full(self) -> bool:
        return self._count >= self._length

    def add(self, samples: Array, stamp_ns: int) -> int:
        """Append *samples* (N, …), the last of which was taken at *stamp_ns*. Returns how many were lost before them
        and have been filled in, ``RESTARTED`` where the window began anew because of a gap, or 0."""
        lost = self._lost(len(samples), stamp_ns)
        if lost and (self._gap == "restart" or lost >= self._length):
            self.clear()
            lost = RESTARTED
        elif lost:
            filler = np.zeros_like(samples[:1]) if self._gap == "zero" else self._memory[self._end - 1 : self._end]
            self._append(np.repeat(filler, lost, axis=0))
        self._follow(len(samples) + max(lost, 0), stamp_ns)
        self._append(samples[-self._length :])
        self.stamp_ns = stamp_ns
        return lost

    def _lost(self, count: int, stamp_ns: int) -> int:
        """Samples that are missing between the last one and *count* new ones."""
        if self._period_ns is None or self._count == 0:
            return 0
        return max(math.floor((stamp_ns - self._expected_ns) / self._period_ns - count + 1 - LATE), 0)

    def _follow(self, count: int, stamp_ns: int) -> None:
        """When the newest sample should have been taken, were the sensor's clock without jitter."""
        if self._period_ns is None or self.stamp_ns < 0:
            self._expected_ns = float(stamp_ns)
            return
        expected = self._expected_ns + count * self._period_ns
        self._expected_ns = expected + FOLLOW * (stamp_ns - expected)

    def _append(self, samples: Array) -> None:
        count = len(samples)
        if self._end + count > len(self._memory):
            keep = min(self._length, self._end)
            self._memory[:keep] = self._memory[self._end - keep : self._end].copy()
            self._end = keep
        self._memory[self._end : self._end + count] = samples
        self._end += count
        self._count = min(self._count + count, self._length)

    def copy(self) -> Array:
        """The window in the input's own layout, contiguous, the caller's own."""
        newest = self._memory[self._end - self._length : self._end]
        return newest.transpose(self._layout).copy()
