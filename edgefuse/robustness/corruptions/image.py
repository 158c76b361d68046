"""What may happen to a camera's picture; blur, occlusion and mounting also to a depth camera's.

Darkest and brightest are the least and greatest value over the clean golden samples: pictures come normalised in any
manner. Formulas after ImageNet-C (Hendrycks & Dietterich 1903.12261) and MultiCorrupt (Beemelmanns et al. 2402.11677).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgefuse.robustness.corruptions import About, Corruption
from edgefuse.spec import Array

Rng = np.random.Generator

IMAGENET_C = "ImageNet-C, Hendrycks & Dietterich 1903.12261"
MULTICORRUPT = "MultiCorrupt, Beemelmanns et al. 2402.11677"
PICTURES = ("image", "depth")


def blur(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Convolution with a Gaussian whose σ is a times the picture's height; edges are repeated."""
    assert about.plane is not None
    rows, columns = about.plane
    sigma = amount * array.shape[rows]
    for axis in (rows, columns):
        weights = gaussian(array.shape[axis], sigma).astype(array.dtype)
        array = np.moveaxis(np.moveaxis(array, axis, -1) @ weights.T, -1, axis)
    return array


@lru_cache(maxsize=16)
def gaussian(size: int, sigma: float) -> Array:
    """Weights (size, size): row i weighs what pixel i becomes; what lies outside the picture counts for its edge."""
    reach = int(np.ceil(4 * sigma))
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    places = np.clip(np.arange(size)[:, np.newaxis] + offsets, 0, size - 1)
    found = np.zeros((size, size))
    np.add.at(found, (np.arange(size)[:, np.newaxis], places), kernel)
    return found


def dark(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = darkest + a·(x − darkest)."""
    return about.low + amount * (array - about.low)


def bright(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = min(darkest + a·(x − darkest), brightest): overexposed, as a camera is."""
    return np.minimum(about.low + amount * (array - about.low), np.maximum(about.high, array))


def low_contrast(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """x' = m + a·(x − m), m the picture's mean (fog)."""
    mean = float(array.mean())
    return mean + amount * (array - mean)


def occlusion(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """A rectangle of the picture's proportions with the share a of its area is darkest (dirt on the lens), at a random
    place; in depth 0 (no return)."""
    assert about.plane is not None
    cut: list[slice] = [slice(None)] * array.ndim
    for axis, place in zip(about.plane, rng.random(2)):
        size = array.shape[axis]
        length = max(round(size * amount**0.5), 1)
        start = round(place * (size - length))
        cut[axis] = slice(start, start + length)
    array[tuple(cut)] = about.low if about.modality == "image" else 0.0
    return array


def swap_channels(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Channels in reverse order: BGR for RGB."""
    assert about.channels is not None
    return np.flip(array, about.channels)


def upside_down(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Turned by 180°: the camera was mounted so."""
    assert about.plane is not None
    return np.flip(array, about.plane)


TABLE = (
    Corruption(
        "blur", PICTURES, (0.02, 0.05, 0.1), "σ in heights of the picture", blur, f"{IMAGENET_C} (defocus)",
        "{} is blurred", needs=("plane",),
    ),
    Corruption(
        "dark", ("image",), (0.5, 0.25, 0.1), "share of the light", dark, f"{MULTICORRUPT} (darkness)", "{} is dark"
    ),
    Corruption(
        "overexposed", ("image",), (1.5, 2.0, 4.0), "times the light", bright, f"{MULTICORRUPT} (brightness)",
        "{} is overexposed",
    ),
    Corruption(
        "low contrast", ("image",), (0.4, 0.2, 0.1), "share of the contrast", low_contrast, f"{IMAGENET_C} (contrast)",
        "{} has low contrast",
    ),
    Corruption(
        "occlusion", PICTURES, (0.05, 0.15, 0.4), "share of the area", occlusion,
        "Cutout, DeVries & Taylor 1708.04552", "a part of {} is covered", needs=("plane",),
    ),
    Corruption(
        "channels swapped", ("image",), (1.0,), "", swap_channels, "ours: BGR for RGB", "{}'s channels are swapped",
        needs=("channels",),
    ),
    Corruption(
        "upside down", PICTURES, (1.0,), "", upside_down, "ours: mounting", "{} is upside down", needs=("plane",)
    ),
)  # fmt: skip
