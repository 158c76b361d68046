"""What the clean golden samples say of each input: range, spread, quantiles, and how it is laid out. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgefuse.robustness.axes import channel_axis, plane, points_form, sizes, time_axis
from edgefuse.robustness.corruptions import About
from edgefuse.robustness.corruptions.generic import QUANTILES
from edgefuse.spec import Array, Feed, TensorSpec
from edgefuse.stream.policy import StreamPolicy

KEPT_VALUES = 200_000
"""Of each input, for standard deviation and quantiles: drawn by chance, as many from each sample."""

UNITS = ("imu", "state", "points")
"""Modalities whose channels have each a unit of their own."""


def main_modality(inputs: tuple[TensorSpec, ...]) -> str | None:
    """Of a stream: that of its largest input which has one."""
    named = [item for item in inputs if item.modality is not None]
    return max(named, key=lambda item: math.prod(sizes(item.shape))).modality if named else None


def layout(item: TensorSpec, policy: StreamPolicy, modality: str | None) -> About:
    """Axes and forms of one input; *modality* is its stream's, for an input that has none (a mask)."""
    item = replace(item, modality=item.modality or modality)
    shape, time = sizes(item.shape), time_axis(item, policy)
    channels = channel_axis(item, time)
    if channels is not None and shape[channels] < 2:
        channels = None
    pictured = item.modality in ("image", "depth")
    return About(
        modality=item.modality,
        dtype=item.dtype,
        fill=policy.fallback,
        time=time,
        channels=channels,
        plane=plane(shape, channel_axis(item, time)) if pictured else None,
        form=points_form(shape) if item.modality == "points" else "",
    )


def look(
    feeds: Iterable[Feed],
    count: int,
    streams: Mapping[str, tuple[TensorSpec, ...]],
    policies: Mapping[str, StreamPolicy],
) -> dict[str, About]:
    """For every input of *streams* what *count* clean *feeds* say of it. One pass; memory holds one feed, and
    ``KEPT_VALUES`` of each input."""
    found = {
        item.name: _Seen(layout(item, policies[name], main_modality(inputs)), count)
        for name, inputs in streams.items()
        for item in inputs
    }
    for feed in feeds:
        for name, seen in found.items():
            seen.add(feed[name])
    return {name: seen.about() for name, seen in found.items()}


@dataclass
class _Seen:
    """The values of one input so far."""

    layout: About
    samples: int
    low: float = math.inf
    high: float = -math.inf
    rows: list[Array] = field(default_factory=list)
    rank: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def add(self, array: Array) -> None:
        self.rank = array.ndim
        if array.size:
            self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        axis = self.axis
        rows = array.reshape(-1, 1) if axis is None else np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
        budget = max(KEPT_VALUES // max(self.samples, 1) // max(rows.shape[1], 1), 1)
        self.rows.append(rows if len(rows) <= budget else rows[self.rng.integers(0, len(rows), budget)])

    @property
    def axis(self) -> int | None:
        return self.layout.channels if self.layout.modality in UNITS else None

    def about(self) -> About:
        values = np.concatenate([rows.astype(np.float64) for rows in self.rows])
        levels = [*QUANTILES, *(1 - level for level in QUANTILES)]
        return replace(
            self.layout,
            low=self.low,
            high=self.high,
            mean=self._spread_out(values.mean(axis=0)),
            spread=self._spread_out(values.std(axis=0)),
            quantiles={level: self._spread_out(np.quantile(values, level, axis=0)) for level in levels},
        )

    def _spread_out(self, by_channel: Array) -> Array:
        """(channels,) in a shape that broadcasts against the input."""
        if self.axis is None:
            return np.asarray(by_channel[0])
        return by_channel.reshape([-1 if axis == self.axis else 1 for axis in range(self.rank)])
