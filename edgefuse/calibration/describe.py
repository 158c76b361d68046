"""A sample in a few numbers, by which samples are compared: to choose different ones, and to find duplicates. Numpy
only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgefuse.spec import Array, Feed, ModelSpec

BLOCKS = 4
"""Along each of the last two dimensions that are longer."""

MOST_BLOCKS = 256
"""Of one input; an image of three channels has 48."""

BUCKETS = 32
"""Of an input of whole numbers (tokens), whose values are names and no amounts: how often each remainder occurs."""

Vectors = NDArray[np.float64]


def fingerprint(feed: Feed) -> bytes:
    """Equal for equal samples, and in practice for no others."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(feed):
        digest.update(f"{name} {feed[name].dtype} {feed[name].shape}".encode())
        digest.update(np.ascontiguousarray(feed[name]).tobytes())
    return digest.digest()


def describe(feed: Feed, spec: ModelSpec, state: Mapping[str, str] = {}) -> dict[str, Vectors]:
    """For each input but the model's *state* (d,) the means of its blocks, least, greatest and standard deviation."""
    return {item.name: _describe(feed[item.name]) for item in spec.inputs if item.name not in state}


def _describe(array: Array) -> Vectors:
    if array.dtype.kind in "iub":
        counts = np.bincount((array.astype(np.int64).reshape(-1) % BUCKETS), minlength=BUCKETS)
        return np.asarray(counts / max(array.size, 1))
    values = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0)
    if not values.size:
        return np.zeros(4)
    means = values[0] if values.ndim > 1 and len(values) == 1 else values
    for axis in range(max(means.ndim - 2, 0), means.ndim):
        means = _block_means(means, axis)
    means = means.reshape(-1)
    if len(means) > MOST_BLOCKS:
        means = _block_means(means, 0, MOST_BLOCKS)
    return np.concatenate([means, [values.min(), values.max(), values.std()]])


def _block_means(values: Vectors, axis: int, blocks: int = BLOCKS) -> Vectors:
    size = values.shape[axis]
    if size <= blocks:
        return values
    edges = np.arange(blocks) * size // blocks
    sums = np.add.reduceat(values, edges, axis=axis)
    shape = [1] * values.ndim
    shape[axis] = blocks
    return np.asarray(sums / np.diff(np.append(edges, size)).reshape(shape))


def standardised(described: Sequence[Mapping[str, Vectors]]) -> Vectors:
    """(n, d): every number with mean 0 and standard deviation 1 over the samples, and every input with equal weight, so
    that a distance of 1 is what two samples commonly differ by."""
    columns = []
    for name in described[0]:
        values = np.stack([_sized(item[name], len(described[0][name])) for item in described])
        spread = values.std(axis=0)
        live = spread > 1e-12 * np.abs(values).max(axis=0, initial=1e-30)
        if live.any():
            columns.append((values[:, live] - values[:, live].mean(axis=0)) / spread[live] / np.sqrt(2 * live.sum()))
    if not columns:
        return np.zeros((len(described), 1))
    return np.asarray(np.concatenate(columns, axis=1) / np.sqrt(len(columns)))


def _sized(values: Vectors, size: int) -> Vectors:
    """Of an input with a dynamic shape, whose blocks may be fewer."""
    return np.resize(values, size) if len(values) != size else values
