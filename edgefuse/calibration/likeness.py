"""Samples that are equal or almost, within a split and across the two, and how far two splits are apart. Numpy only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.choose import spread_evenly
from edgefuse.calibration.describe import standardised
from edgefuse.calibration.measure import Figures, Measured

MOST_COMPARED = 1500
"""Samples of a split that are compared with all others: the distances of twice as many take 72 MB."""

NEAR = 0.05
"""Of the distance that two samples commonly have, over all that describes them."""


@dataclass(frozen=True)
class Likeness:
    """``repeated``: samples that equal an earlier one, by split. ``shared``: held-out samples that equal one that
    calibrates. ``near`` and ``near_shared``: the share of those that were compared which have an almost equal one, in
    their split and in the other."""

    repeated: dict[str, int]
    shared: int
    near: dict[str, float]
    near_shared: float

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def compare(calibrate: Measured, golden: Measured | None) -> Likeness:
    splits = [calibrate, *([golden] if golden is not None else [])]
    repeated = {split.name: len(split) - len(set(split.marks)) for split in splits}
    known = Counter(calibrate.marks)
    shared = sum(mark in known for mark in golden.marks) if golden is not None else 0
    rng = np.random.default_rng(0)
    chosen = [spread_evenly(len(split), MOST_COMPARED, rng) for split in splits]
    vectors = standardised([split.described[i] for split, rows in zip(splits, chosen) for i in rows.tolist()])
    near = _distances(vectors) < NEAR
    np.fill_diagonal(near, False)
    first = len(chosen[0])
    parts = [slice(0, first), slice(first, None)]
    inside = {split.name: float(near[part, part].any(axis=1).mean()) for split, part in zip(splits, parts)}
    across = float(near[first:, :first].any(axis=1).mean()) if golden is not None and len(chosen[1]) else 0.0
    return Likeness(repeated, shared, inside, across)


def _distances(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n), by |a − b|² = |a|² + |b|² − 2ab, which is exact enough for a threshold of 0.05."""
    squares = np.square(vectors).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T, 0.0)))


def distance(one: Figures, other: Figures) -> float:
    """The Kolmogorov-Smirnov statistic of two splits' values: the greatest difference between the shares of values up
    to any number, 0 (alike) to 1 (no overlap). Values of one sample hang together, so there is no p-value to it."""
    a, b = (np.sort(item.picks[np.isfinite(item.picks)].reshape(-1)) for item in (one, other))
    if not len(a) or not len(b):
        return 0.0
    both = np.concatenate([a, b])
    shares = [np.searchsorted(values, both, side="right") / len(values) for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())
