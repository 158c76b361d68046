"""What may happen to a LiDAR or a radar. After Robo3D (Kong et al. 2303.17597) and MultiCorrupt (2402.11677).

Three layouts (:func:`edgefuse.robustness.axes.points_form`): a *scan* of ranges by beam, a *set* of points whose first
features are x, y (, z), and a *grid* (from above, or a range image). Where there is no return a scan and a grid hold 0,
and a point of a set is all 0, as padding is.
"""

from __future__ import annotations

import math

import numpy as np

from edgefuse.robustness.corruptions import About, Corruption
from edgefuse.robustness.corruptions.generic import MULTICORRUPT, some
from edgefuse.spec import Array

Rng = np.random.Generator

POINTS = ("points",)
ROBO3D = "Robo3D, Kong et al. 2303.17597"
RINGS = 32
"""A spinning LiDAR's beams, where the data do not say which one measured a point."""


def beam_loss(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """A share a of the beams is lost, evenly spread: of a scan every beam whose number times a passes an integer; of a
    set points are sorted into ``RINGS`` rings by elevation; of a grid columns are lost."""
    if about.form == "set":
        points = _by_point(array, about)
        ring = _elevation_ring(points)
        points[_evenly(RINGS, amount)[ring]] = 0.0
        return array
    axis = _beam_axis(array)
    np.moveaxis(array, axis, 0)[_evenly(array.shape[axis], amount)] = 0.0
    return array


def point_loss(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Each return is lost with probability a."""
    if about.form == "set":
        points = _by_point(array, about)
        points[some(points.shape[:-1], amount, rng)] = 0.0
        return array
    return np.where(some(array.shape, amount, rng), 0.0, array)


def range_noise(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Ranges + N(0, 1)·a·r, r the greatest range over the clean golden samples: of a set along the ray of each point,
    of a grid its values. No return stays none."""
    if about.form == "set":
        points = _by_point(array, about)
        place = points[..., : _dimensions(points)]
        radius = np.linalg.norm(place, axis=-1, keepdims=True)
        step = rng.standard_normal(radius.shape) * amount * _greatest(about)
        place *= 1 + step / np.where(radius > 0, radius, np.inf)
        return array
    return np.where(array == 0, 0.0, array + rng.standard_normal(array.shape) * amount * _greatest(about))


def no_return(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Each return reads the greatest range with probability a, along its ray (glass, black surfaces, rain)."""
    if about.form == "set":
        points = _by_point(array, about)
        place = points[..., : _dimensions(points)]
        radius = np.linalg.norm(place, axis=-1, keepdims=True)
        far = some(radius.shape, amount, rng) & (radius > 0)
        place *= np.where(far, _greatest(about) / np.where(radius > 0, radius, 1.0), 1.0)
        return array
    return np.where(some(array.shape, amount, rng), about.high, array)


def upside_down(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Mounted so: of a scan beams in reverse order, of a set −y and −z, of a grid columns in reverse order."""
    if about.form == "set":
        points = _by_point(array, about)
        points[..., 1 : _dimensions(points)] *= -1
        return array
    return np.flip(array, _beam_axis(array))


def _by_point(array: Array, about: About) -> Array:
    """A view (…, points, features)."""
    assert about.channels is not None
    return np.moveaxis(array, about.channels, -1)


def _dimensions(points: Array) -> int:
    return int(min(points.shape[-1], 3))


def _elevation_ring(points: Array) -> Array:
    """Of each point 0 … RINGS − 1, from the lowest to the highest elevation of the set."""
    x, y = points[..., 0], points[..., 1]
    elevation = np.arctan2(points[..., 2], np.hypot(x, y)) if _dimensions(points) == 3 else np.arctan2(y, x)
    low, high = elevation.min(initial=0.0), elevation.max(initial=0.0)
    ring: Array = np.clip((elevation - low) / max(high - low, 1e-12) * RINGS, 0, RINGS - 1).astype(np.int64)
    return ring


def _evenly(count: int, share: float) -> Array:
    """A mask (count,) of which that *share* is True, evenly spread."""
    steps = np.floor((np.arange(count + 1) + 0.5) * share)
    lost: Array = np.diff(steps) > 0
    return lost


def _beam_axis(array: Array) -> int:
    """Of a scan its beams, of a grid its columns: the last axis that is one."""
    return next((axis for axis in reversed(range(array.ndim)) if array.shape[axis] > 1), array.ndim - 1)


def _greatest(about: About) -> float:
    return max(abs(about.low), abs(about.high)) if math.isfinite(about.high) else 0.0


TABLE = (
    Corruption(
        "beam loss", POINTS, (0.25, 0.5, 0.75), "share of the beams", beam_loss,
        f"{MULTICORRUPT} (beam reduction); {ROBO3D} (beam missing)", "{} loses beams",
    ),
    Corruption(
        "point loss", POINTS, (0.1, 0.3, 0.6), "share of the returns", point_loss, f"{MULTICORRUPT} (points reducing)",
        "{} loses returns",
    ),
    Corruption(
        "range noise", POINTS, (0.005, 0.02, 0.05), "σ in greatest ranges", range_noise,
        "3D-OD corruptions, Dong et al. 2303.11040 (Gaussian noise)", "{}'s ranges have noise",
    ),
    Corruption(
        "no return", POINTS, (0.05, 0.15, 0.4), "share of the returns", no_return, f"{ROBO3D} (incomplete echo)",
        "{} reads its greatest range",
    ),
    Corruption("upside down", POINTS, (1.0,), "", upside_down, "ours: mounting", "{} is upside down"),
)  # fmt: skip
