"""The figures of a split, from one pass over its samples: what each input's values are. Numpy only.

Minimum, maximum, mean and standard deviation are exact. Quantiles and histograms are of ``VALUES`` values of each
input, as many of each sample, at random places; memory holds these and a few numbers for each sample.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.describe import Vectors, describe, fingerprint
from edgefuse.calibration.sets import Sample
from edgefuse.spec import Array, ModelSpec, TensorSpec

VALUES = 1 << 18
LEAST_VALUES = 16
"""Of each sample, however many there are."""

MOST_CHANNELS, MOST_PLANES = 64, 4
"""Of a vector; of windows, points and pictures a quarter of it; of pictures whose channels stand last."""

Range = tuple[float, float]


@dataclass
class Figures:
    """One input over one split of n samples and C channels (1 where it has none that can be told): per sample and
    channel (n, C) ``low`` and ``high`` (NaN where nothing is finite), sums and sums of squares; ``picks`` (n, k)
    of its values. ``outside`` counts the values beyond the range that :func:`measure` was given."""

    item: TensorSpec
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    picks: NDArray[np.float64]
    values: int = 0
    nans: int = 0
    infinities: int = 0
    outside: int = 0

    @property
    def floating(self) -> bool:
        return self.item.dtype.startswith("float")

    @property
    def channels(self) -> int:
        return int(self.low.shape[1])

    @property
    def range(self) -> Range:
        """NaN where there is no finite value."""
        finite = np.isfinite(self.low)
        if not finite.any():
            return float("nan"), float("nan")
        return float(self.low[finite].min()), float(self.high[finite].max())

    @property
    def channel_ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(C,) each."""
        low, high = np.nan_to_num(self.low, nan=np.inf), np.nan_to_num(self.high, nan=-np.inf)
        return low.min(axis=0), high.max(axis=0)

    @property
    def _per_channel(self) -> float:
        return max((self.values - self.nans - self.infinities) / self.channels, 1.0)

    @property
    def mean(self) -> NDArray[np.float64]:
        """(C,)"""
        return np.asarray(self.total.sum(axis=0) / self._per_channel)

    @property
    def std(self) -> NDArray[np.float64]:
        """(C,)"""
        variance = self.squares.sum(axis=0) / self._per_channel - self.mean**2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    @property
    def overall(self) -> tuple[float, float]:
        """Mean and standard deviation over all channels."""
        mean = float(self.mean.mean())
        second = float(self.squares.sum() / self._per_channel / self.channels)
        return mean, float(np.sqrt(max(second - mean**2, 0.0)))


@dataclass
class Measured:
    """One split: ``inputs`` by name; per sample the ``marks`` by which equal ones are found, ``vectors`` by which
    similar ones are, and where the set has them labels, groups and stamps."""

    name: str
    inputs: dict[str, Figures]
    marks: list[bytes] = field(default_factory=list)
    described: list[dict[str, Vectors]] = field(default_factory=list)
    labels: list[Array] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.marks)


def measure(
    name: str,
    samples: Iterable[Sample],
    count: int,
    spec: ModelSpec,
    state: Collection[str] = (),
    ranges: Mapping[str, Range] | None = None,
) -> Measured:
    """One pass over *count* *samples*; the model's *state* is none of the inputs that are looked at. *ranges*: those of
    the other split, to count what lies outside."""
    items = [item for item in spec.inputs if item.name not in state]
    collected = {item.name: _Collected(item, count, (ranges or {}).get(item.name)) for item in items}
    found, given = Measured(name, {}), dict.fromkeys(state, "")
    for sample in samples:
        for item in items:
            collected[item.name].add(sample.feed[item.name])
        found.marks.append(fingerprint({item.name: sample.feed[item.name] for item in items}))
        found.described.append(describe(sample.feed, spec, given))
        if sample.label is not None:
            found.labels.append(np.asarray(sample.label))
        if sample.group is not None:
            found.groups.append(sample.group)
        if sample.stamp_ns is not None:
            found.stamps_ns.append(sample.stamp_ns)
    found.inputs = {name: item.figures() for name, item in collected.items()}
    return found


def channel_axis(item: TensorSpec) -> int | None:
    """Which dimension tells quantities apart, as far as a shape can say: of a vector its only one, of a picture the
    first or last where that is short, of a window or points the shorter one. None for tokens."""
    shape = [dim if isinstance(dim, int) else dim.max for dim in item.shape]
    if not item.dtype.startswith("float") or len(shape) < 2:
        return None
    if len(shape) == 2:
        return 1 if 1 < shape[1] <= MOST_CHANNELS else None
    axes, limit = [1, 2] if shape[1] <= shape[-1] else [2, 1], MOST_CHANNELS // 4
    if len(shape) > 3:
        axes, limit = ([1], limit) if shape[1] <= shape[-1] else ([len(shape) - 1], MOST_PLANES)
    return next((axis for axis in axes if 1 < shape[axis] <= limit), None)


class _Collected:
    """What a pass has seen of one input."""

    def __init__(self, item: TensorSpec, count: int, other: Range | None) -> None:
        self._item, self._axis, self._other = item, channel_axis(item), other
        self._each = max(VALUES // max(count, 1), LEAST_VALUES)
        self._rng = np.random.default_rng(0)
        self._rows: list[tuple[NDArray[np.float64], ...]] = []
        self._picks: list[NDArray[np.float64]] = []
        self._values = self._nans = self._infinities = self._outside = 0

    def add(self, array: Array) -> None:
        values = array.astype(np.float64)
        channels = np.moveaxis(values, self._axis, 0) if self._axis is not None else values
        channels = channels.reshape(channels.shape[0] if self._axis is not None else 1, -1)
        finite = np.isfinite(channels)
        whole = bool(finite.all())
        self._values += values.size
        if not whole:
            nans = int(np.isnan(channels).sum())
            self._nans, self._infinities = self._nans + nans, self._infinities + int((~finite).sum()) - nans
        if self._other is not None:
            self._outside += int(((channels < self._other[0]) | (channels > self._other[1])).sum())
        self._rows.append(_summary(channels, None if whole and values.size else finite))
        flat = channels.reshape(-1)
        if flat.size > self._each:
            flat = flat[self._rng.integers(0, flat.size, self._each)]
        self._picks.append(flat)

    def figures(self) -> Figures:
        low, high, total, squares = (np.stack(column) for column in zip(*self._rows))
        size = max((len(picks) for picks in self._picks), default=0)
        picks = np.stack([np.resize(picks, size) for picks in self._picks]) if size else np.zeros((0, 0))
        return Figures(
            self._item,
            low,
            high,
            total,
            squares,
            picks,
            self._values,
            self._nans,
            self._infinities,
            self._outside,
        )


def _summary(channels: NDArray[np.float64], finite: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], ...]:
    """(C,) each: least, greatest, sum, sum of squares of the *finite* values; None: all are."""
    if finite is None:
        return channels.min(axis=1), channels.max(axis=1), channels.sum(axis=1), np.square(channels).sum(axis=1)
    some = finite.any(axis=1)
    kept = np.where(finite, channels, 0.0)
    low = np.where(finite, channels, np.inf).min(axis=1, initial=np.inf)
    high = np.where(finite, channels, -np.inf).max(axis=1, initial=-np.inf)
    nan = np.full(len(channels), np.nan)
    return np.where(some, low, nan), np.where(some, high, nan), kept.sum(axis=1), np.square(kept).sum(axis=1)
