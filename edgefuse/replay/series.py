"""Long runs of numbers in bounded memory: for plots, and for percentiles. Numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 1000
CAPACITY = 100_000


class Series:
    """Values over time for a plot: the least and the greatest in each of ``BINS`` equal stretches of the recording."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, self._span_ns = start_ns, max(end_ns - start_ns, 1)
        self._low, self._high = np.full(BINS, np.inf), np.full(BINS, -np.inf)

    def add(self, time_ns: int, value: float) -> None:
        index = min(max((time_ns - self._start_ns) * BINS // self._span_ns, 0), BINS - 1)
        self._low[index] = min(self._low[index], value)
        self._high[index] = max(self._high[index], value)

    def to_json(self) -> dict[str, list[float]]:
        """``t_s`` the middle of each stretch that has values, since the recording's start; ``low``, ``high``."""
        kept = np.isfinite(self._low)
        times = (np.flatnonzero(kept) + 0.5) * (self._span_ns / BINS / 1e9)
        return {name: _rounded(values) for name, values in (("t_s", times), ("low", self._low[kept]),
                                                            ("high", self._high[kept]))}  # fmt: skip


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


class Values:
    """Percentiles of many values: of all up to ``CAPACITY``, then of every second, fourth … The largest is exact."""

    def __init__(self) -> None:
        self._kept = np.zeros(CAPACITY)
        self._stride, self.count, self._max = 1, 0, -np.inf

    def add(self, value: float) -> None:
        if self.count == CAPACITY * self._stride:
            self._kept[: CAPACITY // 2] = self._kept[::2].copy()
            self._stride *= 2
        if self.count % self._stride == 0:
            self._kept[self.count // self._stride] = value
        self.count += 1
        self._max = max(self._max, value)

    def percentiles(self, *levels: int) -> dict[str, float] | None:
        """``p50`` … and ``max``; None without values."""
        if not self.count:
            return None
        kept = self._kept[: -(-self.count // self._stride)]
        found = np.percentile(kept, levels)
        return {**{f"p{level}": float(value) for level, value in zip(levels, found)}, "max": float(self._max)}


class Gaps:
    """How many intervals between acquisitions are half as long again as usual, which is the median of the first
    ``FIRST``; and the longest."""

    FIRST = 1000
    LONG = 1.5

    def __init__(self) -> None:
        self._first: list[int] = []
        self._limit_ns: float | None = None
        self._last_ns: int | None = None
        self._count, self.longest_ns = 0, 0

    def add(self, stamp_ns: int) -> None:
        interval = 0 if self._last_ns is None else stamp_ns - self._last_ns
        self._last_ns = stamp_ns
        if interval <= 0:
            return
        self.longest_ns = max(self.longest_ns, interval)
        if self._limit_ns is not None:
            self._count += interval > self._limit_ns
            return
        self._first.append(interval)
        if len(self._first) == self.FIRST:
            self._settle()

    def _settle(self) -> None:
        self._limit_ns = self.LONG * float(np.median(self._first))
        self._count += sum(interval > self._limit_ns for interval in self._first)
        self._first = []

    def count(self) -> int:
        if self._first:
            self._settle()
        return self._count
