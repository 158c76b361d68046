"""A simulated drive: what each sensor delivers and when, with jitter, from a seed. Numpy only.

A sensor acquires at its rate (with a jitter of 2 % of its period), and its data arrive after a transport delay that
varies by a third of itself. Whoever plays a recording ticks once at every arrival of the fastest sensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers import sensors

from edgefuse.spec import Array

MS = 1_000_000
SECOND = 1000 * MS
START_NS = SECOND
"""Stamps are not negative, and windows are full when a recording begins."""
TICKING = "imu"


class Delivery(NamedTuple):
    """*value* arrives at ``at_ns``; it was acquired at ``stamp_ns``."""

    at_ns: int
    stamp_ns: int
    stream: str
    value: Array


class Window(NamedTuple):
    """Time runs along ``axis`` of the input, with ``sample_hz``."""

    axis: int
    sample_hz: float

    def policy(self) -> dict[str, Any]:
        return {"kind": "window", **self._asdict()}


@dataclass(frozen=True)
class Source:
    """``values`` are taken round robin; ``delay_ms`` is the transport's mean."""

    rate_hz: float
    delay_ms: float
    values: tuple[Array, ...]


@dataclass(frozen=True)
class Recording:
    """``first`` are whole inputs, delivered before the clock starts; ``windows`` by stream."""

    first: Mapping[str, Array]
    deliveries: tuple[Delivery, ...]
    windows: Mapping[str, Window]

    def second(self, index: int) -> Iterator[Delivery]:
        """What arrives in second *index*."""
        begin = START_NS + index * SECOND
        return (item for item in self.deliveries if begin <= item.at_ns < begin + SECOND)

    def without(self, stream: str, begin_s: float, end_s: float) -> Recording:
        """The same, but *stream* delivers nothing that was acquired in between."""
        gone = range(START_NS + round(begin_s * SECOND), START_NS + round(end_s * SECOND))
        kept = tuple(item for item in self.deliveries if item.stream != stream or item.stamp_ns not in gone)
        return Recording(self.first, kept, self.windows)


def record(folder: Path, with_audio: bool, seconds: int, seed: int = 0) -> Recording:
    """Camera at 30 Hz, LiDAR at 10 Hz, IMU samples at 200 Hz, and audio: 50 times a second two frames of 10 ms. Images,
    grids and sounds are the model's held-out samples in *folder*."""
    rng = np.random.default_rng(seed)
    samples = np.load(min(folder.glob("*.npz")))
    motion = sensors.imu(1, 100 + 200 * seconds, 200.0, rng)[0]
    first = {"camera": samples["camera"][:1], "lidar": samples["lidar"][:1], "imu": motion[:, :100]}
    sources = {
        "camera": Source(30, 12, tuple(samples["camera"][i : i + 1] for i in range(1, 33))),
        "lidar": Source(10, 20, tuple(samples["lidar"][i : i + 1] for i in range(1, 33))),
        "imu": Source(200, 0.6, _pieces(motion[:, 100:], 1, 1)),
    }
    windows = {"imu": Window(1, 200.0)}
    if with_audio:
        heard = np.concatenate([samples["audio"][i : i + 1] for i in range(12)], 2)
        first["microphone"] = heard[:, :, :100]
        sources["microphone"] = Source(50, 3, _pieces(heard[:, :, 100:], 2, 2))
        windows["microphone"] = Window(2, 100.0)
    found = [item for name, source in sources.items() for item in _deliver(name, source, seconds, rng)]
    return Recording(first, tuple(sorted(found, key=lambda item: item.at_ns)), windows)


def _pieces(array: Array, size: int, axis: int) -> tuple[Array, ...]:
    """Copies: a driver's buffer lies in one piece."""
    return tuple(part.copy() for part in np.split(array, array.shape[axis] // size, axis))


def _deliver(name: str, source: Source, seconds: int, rng: np.random.Generator) -> Iterator[Delivery]:
    period = SECOND / source.rate_hz
    phase = rng.uniform(0, period)
    for index in range(int(seconds * source.rate_hz)):
        stamp = START_NS + phase + index * period + np.clip(rng.normal(0, 0.02), -0.1, 0.1) * period
        delay = source.delay_ms * MS * (1 + np.clip(rng.normal(0, 0.33), -0.9, 2))
        yield Delivery(int(stamp + delay), int(stamp), name, source.values[index % len(source.values)])
