"""What may happen to sound, as a waveform or as features by time. After MultiBench (Liang et al. 2107.07502)."""

from __future__ import annotations

import numpy as np

from edgefuse.robustness.corruptions import About, Corruption
from edgefuse.robustness.corruptions.generic import MULTIBENCH
from edgefuse.spec import Array

Rng = np.random.Generator

PACKETS = 32
"""An input is so many packets long: of a second each has 31 ms, of the size of those of voice over IP (20 to 30 ms)."""


def noise(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = x + N(0, 1)·σ·10^(−a/20): a decibels of signal to noise; σ² the sound's own power without its mean, of
    silence that over the clean golden samples."""
    power = float(array.std()) or float(np.max(about.spread))
    return array + rng.standard_normal(array.shape) * power * 10 ** (-amount / 20)


def clipping(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = m + clip(x − m, ± a·peak); m the sound's mean, peak its greatest distance from it."""
    mean = float(array.mean())
    peak = amount * float(np.abs(array - mean).max(initial=0.0))
    return mean + np.clip(array - mean, -peak, peak)


def packet_loss(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Of ``PACKETS`` packets along time each is lost with probability a, at least one: it holds the fallback number."""
    assert about.time is not None
    steps = array.shape[about.time]
    packets = min(PACKETS, steps)
    drawn = rng.random(packets)
    lost = (drawn < amount) | (drawn == drawn.min())
    found = np.moveaxis(array, about.time, 0)
    found[lost[np.arange(steps) * packets // steps]] = about.fill
    return array


TABLE = (
    Corruption("noise", ("audio",), (20.0, 10.0, 0.0), "dB signal to noise", noise, MULTIBENCH, "{} has noise"),
    Corruption(
        "clipping", ("audio",), (0.5, 0.25, 0.1), "share of the peak", clipping, "ours: a gain that is too high",
        "{} is clipped",
    ),
    Corruption(
        "packet loss", ("audio",), (0.05, 0.15, 0.4), "share of the packets", packet_loss, MULTIBENCH,
        "{} loses packets", needs=("time",),
    ),
)  # fmt: skip
