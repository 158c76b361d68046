"""What may happen to an IMU and to a robot's state (joints, odometry), in a window or of one moment. After MultiBench
(Liang et al. 2107.07502, time series). σ is each channel's own standard deviation over the clean golden samples."""

from __future__ import annotations

import numpy as np

from edgefuse.robustness.corruptions import About, Corruption
from edgefuse.robustness.corruptions.generic import MULTIBENCH, some
from edgefuse.spec import Array

Rng = np.random.Generator

MOVING = ("imu", "state")
SPIKE = 8.0
"""In σ: far out, as a bit error or a knock is."""


def bias(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = x ± a·σ; of each channel up or down by chance, and the same at all times."""
    channels = [1] * array.ndim
    if about.channels is not None:
        channels[about.channels] = array.shape[about.channels]
    return array + np.where(rng.random(channels) < 0.5, -1.0, 1.0) * amount * about.spread


def spikes(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """A share a of the values, at least one, is its channel's mean ± ``SPIKE``·σ."""
    direction = np.where(rng.random(array.shape) < 0.5, -1.0, 1.0)
    return np.where(some(array.shape, amount, rng), about.mean + direction * SPIKE * about.spread, array)


def held(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Each time step is lost with probability a, at least one: the last that came stands in its place."""
    assert about.time is not None
    steps = array.shape[about.time]
    drawn = np.asarray(rng.random(steps))
    drawn[0] = 1.0  # nothing came before it
    came = (drawn >= amount) & (drawn != drawn.min())
    found: Array = np.take(array, np.maximum.accumulate(np.where(came, np.arange(steps), 0)), about.time)
    return found


def jitter(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Read at t + N(0, 1)·a instead of t, in time steps, between which values are interpolated; within the window."""
    assert about.time is not None
    steps = array.shape[about.time]
    read = np.clip(np.arange(steps) + amount * rng.standard_normal(steps), 0, steps - 1)
    before = np.minimum(read.astype(np.int64), steps - 2)
    share = np.reshape(read - before, [-1 if axis == about.time else 1 for axis in range(array.ndim)])
    one, other = (np.take(array, before + step, about.time) for step in (0, 1))
    between: Array = one + (other - one) * share
    return between


def swap_axes(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x, y, z → y, z, x for each three channels."""
    assert about.channels is not None
    count = array.shape[about.channels]
    order = np.arange(count)
    triples = order[: count - count % 3].reshape(-1, 3)
    order[: triples.size] = np.roll(triples, -1, axis=1).ravel()
    found: Array = np.take(array, order, about.channels)
    return found


def upside_down(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x, y, z → x, −y, −z for each three channels: the sensor was mounted so."""
    assert about.channels is not None
    count = array.shape[about.channels]
    signs = np.where((np.arange(count) % 3 > 0) & (np.arange(count) < count - count % 3), -1.0, 1.0)
    found: Array = array * np.reshape(signs, [-1 if axis == about.channels else 1 for axis in range(array.ndim)])
    return found


TABLE = (
    Corruption(
        "bias", MOVING, (0.25, 0.5, 1.0), "σ of the channel", bias, "ours: a sensor's zero error", "{} has a bias"
    ),
    Corruption("spikes", MOVING, (0.01, 0.05, 0.15), "share of the values", spikes, MULTIBENCH, "{} has spikes"),
    Corruption(
        "samples lost", MOVING, (0.1, 0.3, 0.6), "share of the time steps", held, MULTIBENCH,
        "{} loses samples within its window", needs=("time",),
    ),
    Corruption(
        "time jitter", MOVING, (0.25, 0.5, 1.0), "σ in time steps", jitter, "ours: a clock that is read late",
        "{}'s samples are unevenly spaced", needs=("time",),
    ),
    Corruption(
        "axes swapped", ("imu",), (1.0,), "", swap_axes, "ours: mounting", "{}'s axes are swapped", needs=("channels",)
    ),
    Corruption(
        "upside down", ("imu",), (1.0,), "", upside_down, "ours: mounting", "{} is upside down", needs=("channels",)
    ),
)  # fmt: skip
