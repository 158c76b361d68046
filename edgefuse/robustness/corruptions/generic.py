"""What may happen to any sensor's numbers."""

from __future__ import annotations

import numpy as np

from edgefuse.robustness.corruptions import EVERY, FLOATS, About, Corruption
from edgefuse.spec import Array

Rng = np.random.Generator

MULTIBENCH = "MultiBench, Liang et al. 2107.07502, appendix on robustness"
MULTICORRUPT = "MultiCorrupt, Beemelmanns et al. 2402.11677"

QUANTILES = (0.025, 0.1, 0.25)
"""Of the input's values over the clean golden samples, and as many from above: where saturation clips."""

G, DEGREES, BYTE = 9.81, 57.3, 255.0
"""The factors of three mistakes: m/s² for g, degrees for radians, 0 … 255 for 0 … 1."""


def missing(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = the stream's fallback number."""
    found = np.full_like(array, about.fill)
    return found


def noise(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = x + a·σ·N(0, 1); σ the input's own standard deviation, by channel where channels have units."""
    found: Array = array + rng.standard_normal(array.shape) * amount * about.spread
    return found


def gain(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = x·(1 + a)^±1, up or down by chance."""
    return array * float((1 + amount) ** sign(rng))


def offset(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = x ± a·σ, the same for all values."""
    found: Array = array + sign(rng) * amount * about.spread
    return found


def saturation(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = clip(x, q(a), q(1 − a)); q quantiles of the input's values over the clean golden samples."""
    clipped: Array = np.clip(array, about.quantiles[amount], about.quantiles[1 - amount])
    return clipped


def nan_burst(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """A share a of the values, at least one, is NaN."""
    return np.where(some(array.shape, amount, rng), np.nan, array)


def too_large(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = x·a."""
    return array * amount


def too_small(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = x/a."""
    return array / amount


def sign(rng: Rng) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def some(shape: tuple[int, ...], share: float, rng: Rng) -> Array:
    """A mask with that *share* of *shape* True, and one at least. From the same state of *rng* a larger share gives a
    superset."""
    drawn = rng.random(shape)
    chosen = np.asarray(drawn < share)
    if chosen.size and not chosen.any():
        chosen = drawn == drawn.min()
    return chosen


TABLE = (
    Corruption("missing", EVERY, (1.0,), "", missing, f"{MULTICORRUPT}; {MULTIBENCH}", "{} is missing", flags=True),
    Corruption(
        "noise", ("image", "depth", "imu", "state", None), (0.25, 0.5, 1.0), "σ of the noise in σ of the input", noise,
        "ImageNet-C, Hendrycks & Dietterich 1903.12261 (Gaussian noise: 0.08 to 0.38 of the full scale)",
        "{} has noise",
    ),
    Corruption(
        "gain", FLOATS, (0.1, 0.25, 0.5), "change of the factor", gain, "ours: a sensor's scale error",
        "{}'s gain drifts",
    ),
    Corruption(
        "offset", ("image", "depth", "points", "audio", None), (0.25, 0.5, 1.0), "σ of the input", offset,
        "ours: a sensor's zero error", "{}'s zero drifts",
    ),
    Corruption(
        "saturation", ("image", "depth", "imu", "state", None), QUANTILES, "quantile, from below and above",
        saturation, "ours: a range that is too small", "{} saturates",
    ),
    Corruption(
        "NaN burst", FLOATS, (0.001, 0.01, 0.1), "share of the values", nan_burst, "ours: a driver's fault",
        "{} delivers NaN", floats_only=True,
    ),
    Corruption(
        "values too large", FLOATS, (G, DEGREES, BYTE), "factor (g, degrees, 0 … 255)", too_large, "ours: a wrong unit",
        "{}'s values are too large",
    ),
    Corruption(
        "values too small", FLOATS, (G, DEGREES, BYTE), "divisor (g, degrees, 0 … 255)", too_small,
        "ours: a wrong unit", "{}'s values are too small",
    ),
)  # fmt: skip
