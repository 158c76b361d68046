"""How many samples are enough: how an input's range grows with their number. Numpy only.

Post-training quantization takes the range of what it is shown. Shown half as many samples, taken at random, how much
narrower would the range have been? Where doubling their number still widens it, more of them would widen it further.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.measure import Figures

FIRST = 8
ENOUGH = 0.01
"""Of the range's width. An INT8 scale that is 1 % off moves a full-range value by 1.3 of 127 steps."""

ORDERS = 8
"""Random orders over which the widths are averaged: one alone jumps where it meets an outlier."""

TAIL = 0.1
"""Percent of the values beyond each of the percentiles that are shown beside the range."""


def settling(figures: Figures, seed: int = 0) -> dict[str, Any] | None:
    """Range and percentiles over the first n samples for n = 8, 16, … all; ``change`` is by how much of its width the
    range grew with the last doubling, ``worst_channel`` the channel whose own range grew most. None for tokens, and for
    fewer than ``2 * FIRST`` samples."""
    kept = np.isfinite(figures.low).all(axis=1)
    low, high, picks = figures.low[kept], figures.high[kept], figures.picks[kept]
    count = len(low)
    if not figures.floating or count < 2 * FIRST:
        return None
    sizes = _sizes(count)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(count) for _ in range(ORDERS)]
    found = [_grown(low[order], high[order], picks[order], sizes) for order in orders]
    low_n, high_n, quantiles, channels = (np.mean([item[part] for item in found], axis=0) for part in range(4))
    change = _last_change(high_n - low_n, sizes)
    channel_changes = [_last_change(widths, sizes) for widths in channels.T]
    worst = int(np.argmax(channel_changes))
    return {
        "n": sizes,
        "low": low_n.tolist(),
        "high": high_n.tolist(),
        "p_low": quantiles[:, 0].tolist(),
        "p_high": quantiles[:, 1].tolist(),
        "change": change,
        "percentile_change": _last_change(quantiles[:, 1] - quantiles[:, 0], sizes),
        "worst_channel": {"channel": worst, "change": channel_changes[worst]} if figures.channels > 1 else None,
        "enough": change < ENOUGH,
    }


def _sizes(count: int) -> list[int]:
    """Eight, sixteen …, half of all, all."""
    found = [FIRST]
    while found[-1] * 2 < count / 2:
        found.append(found[-1] * 2)
    return sorted({*found, count // 2, count})


def _grown(
    low: NDArray[np.float64], high: NDArray[np.float64], picks: NDArray[np.float64], sizes: list[int]
) -> tuple[NDArray[np.float64], ...]:
    """Of the first n samples, for each of *sizes*: (s,) least and greatest, (s, 2) percentiles, (s, C) widths."""
    at = np.array(sizes) - 1
    lows, highs = np.minimum.accumulate(low)[at], np.maximum.accumulate(high)[at]
    quantiles = [np.nanpercentile(_finite(picks[:size]), [TAIL, 100 - TAIL]) for size in sizes]
    return lows.min(axis=1), highs.max(axis=1), np.stack(quantiles), highs - lows


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, np.nan)


def _last_change(widths: NDArray[np.float64], sizes: list[int]) -> float:
    """By how much of the last width it has grown since half of the samples."""
    last, half = float(widths[-1]), float(widths[sizes.index(sizes[-1] // 2)])
    return (last - half) / last if last > 0 else 0.0
