"""Transforms of what LiDAR and radar deliver: ranges (N,), and points (N, C) that begin with x y z. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array, shape_text
from edgefuse.transforms.arrays import Apply, floats
from edgefuse.transforms.given import Given

Ints = NDArray[np.int64]
LAYERS = {"occupancy": 2, "density": 2, "height": 3, "intensity": 4}
"""Channel of a bird's-eye view to the columns that a point needs for it."""
MOST_CELLS = 1 << 24
MOST_POINTS = 1 << 24


def beams(given: Given) -> Apply:
    """``beams = 180``, or ``{ count = 180, pool = "nearest" }``: ranges (N,) as *count* ones, spread evenly; with pool
    "min" the nearest obstacle of each stretch (NaN counts only where it is alone)."""
    table = given.read("count", "pool", short="count")
    count = _count(table, "count")
    smallest = table.choice("pool", ("nearest", "min"), "nearest") == "min"

    def apply(array: Array) -> Array:
        if array.ndim != 1 or not array.size:
            raise Misfit("shape", f"got {shape_text(array.shape)}; expected the ranges of a scan, N")
        if smallest and array.size > count:
            return np.fmin.reduceat(array, np.arange(count) * array.size // count)
        return array[((np.arange(count) + 0.5) * array.size / count).astype(np.intp)]

    return apply


def polar(given: Given) -> Apply:
    """``polar = { start = -1.57, stop = 1.57 }``: ranges (N,) at angles from *start* to *stop*, in radians, as points
    (N, 2): x ahead, y to the left. What is no distance is NaN."""
    table = given.read("start", "stop")
    start, stop = table.number("start"), table.number("stop")

    def apply(array: Array) -> Array:
        if array.ndim != 1:
            raise Misfit("shape", f"got {shape_text(array.shape)}; expected the ranges of a scan, N")
        ranges = floats(array)
        angles = np.linspace(start, stop, array.size, dtype=ranges.dtype)
        far = np.where(np.isfinite(ranges), ranges, np.asarray(np.nan, ranges.dtype))
        return np.stack((far * np.cos(angles), far * np.sin(angles)), axis=-1)

    return apply


def points(given: Given) -> Apply:
    """``points = 1024``, or ``{ count = 1024, pad = 0.0, seed = 0 }``: points (N, C) as exactly *count*: drawn at
    random, in their order, the same places of equally many; or filled up with *pad*. Those with NaN or infinity are
    left out before."""
    table = given.read("count", "pad", "seed", short="count")
    count, pad, seed = _count(table, "count"), table.number("pad", 0.0), table.whole("seed", 0)

    def apply(array: Array) -> Array:
        kept = _finite(array)
        if len(kept) > count:
            drawn = np.random.default_rng(seed).choice(len(kept), count, replace=False, shuffle=False)
            return kept[np.sort(drawn)]
        return np.concatenate((kept, np.full((count - len(kept), kept.shape[1]), pad, kept.dtype)))

    return apply


def birdseye(given: Given) -> Apply:
    """``birdseye = { x = [0, 40], y = [-20, 20], cell = 0.25, channels = ["occupancy", …] }``: points (N, C) seen from
    above, (X, Y, channels) float32: row *i* holds x from 0 + i·cell, column *j* y from -20 + j·cell.

    "occupancy" is 1 where there is a point, "density" the number of points, "height" the largest z and "intensity" the
    mean of the fourth column; all are 0 where there is none. Points beyond, with NaN or infinity are left out.
    """
    table = given.read("x", "y", "cell", "channels")
    (x_low, x_high), (y_low, y_high), cell = table.interval("x"), table.interval("y"), table.number("cell")
    layers = table.choices("channels", LAYERS, ["occupancy"])
    if cell <= 0:
        raise given.refuse(f"is {cell:g}; expected metres, more than 0", "cell")
    rows, columns = round((x_high - x_low) / cell), round((y_high - y_low) / cell)
    if not 1 <= rows * columns * len(layers) <= MOST_CELLS:
        raise given.refuse(f"gives {rows}x{columns} cells; expected 1 to {MOST_CELLS}")

    def apply(array: Array) -> Array:
        kept = _finite(array)
        needed = max(LAYERS[layer] for layer in layers)
        if kept.shape[1] < needed:
            raise Misfit("shape", f"got {shape_text(array.shape)}; {', '.join(layers)} take points of {needed} numbers")
        row = np.floor((kept[:, 0].astype(np.float64) - x_low) / cell)
        column = np.floor((kept[:, 1].astype(np.float64) - y_low) / cell)
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        places = row[inside].astype(np.int64) * columns + column[inside].astype(np.int64)
        drawn = [_layer(layer, kept[inside], places, rows * columns) for layer in layers]
        return np.stack(drawn, axis=-1).reshape(rows, columns, len(layers))

    return apply


def _layer(name: str, kept: Array, places: Ints, cells: int) -> Array:
    """(cells,) float32 of the points *kept*, each in the cell of *places*."""
    if name == "height":
        return _highest(kept[:, 2], places, cells)
    counts = np.bincount(places, minlength=cells)
    if name == "intensity":
        sums = np.bincount(places, weights=kept[:, 3].astype(np.float64), minlength=cells)
        return (sums / np.maximum(counts, 1)).astype(np.float32)
    return (counts if name == "density" else counts > 0).astype(np.float32)


def _highest(heights: Array, places: Ints, cells: int) -> Array:
    found = np.zeros(cells, np.float32)
    order = np.argsort(places, kind="stable")
    filled, starts = np.unique(places[order], return_index=True)
    if len(filled):
        found[filled] = np.maximum.reduceat(heights[order], starts)
    return found


def _finite(array: Array) -> Array:
    if array.ndim != 2:
        raise Misfit("shape", f"got {shape_text(array.shape)}; expected points, NxC")
    values = floats(array)
    return values[np.isfinite(values).all(axis=1)]


def _count(given: Given, key: str) -> int:
    count = given.whole(key, least=1)
    if count > MOST_POINTS:
        raise given.refuse(f"is {count}; expected at most {MOST_POINTS}", key)
    return count
