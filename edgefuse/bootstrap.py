"""95 % intervals of means and ratios of sums over independent units, for skewed data and few units. Numpy only.

A percentile bootstrap passes too much here: the mean of few skewed values is most often below the true one, and so is
every resample's. Three things mend it, each measured by ``benchmarks/gate.py`` (docs/gate.md):

1. the bootstrap-t (Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 12.5; Hall 1988): resample
   (mean* − mean) / error*, which learns the skew, instead of mean*;
2. never narrower than Student's interval with units − 1 degrees of freedom;
3. wider by what ``1 + 60/units`` more units as extreme as the most extreme one would move the mean (ours; by simulation
   on lognormal data: the tail that was not drawn).

A ratio's error is linearised (Cochran 1977, Sampling Techniques, eq. 6.9). Intervals are the same on every call: the
resamples are seeded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

Z95 = 1.959963984540054  # two-sided 95 % of the standard normal distribution
RESAMPLES = 4999
BLOCK = 250
"""Resamples at a time: 250 × 10,000 units are 20 MB."""

STEEPEST = 12.706
"""No quantile beyond Student's with one degree of freedom: a resample of equal units would give infinity."""

UNSEEN = 60.0
ROUNDING = 1e-12
"""Of the mean's size: a spread below it is float64's rounding."""


def ratio_intervals(top: Values, bottom: Values, *, logarithmic: bool = False) -> tuple[Values, Values]:
    """Lower and upper ends (k,) of Σtop/Σbottom over *units*, two (units, k) arrays with Σbottom > 0; a mean has
    *bottom* 1. *logarithmic*: the ratio is positive and its error multiplies it (energies). Needs two units."""
    units = len(top)
    scale = bottom.mean(axis=0)
    top, bottom = top / scale, bottom / scale  # Σbottom is now the number of units
    ratio, error = ratio_errors(top, bottom)
    residual = top - ratio * bottom
    flat = error <= ROUNDING * np.abs(top).mean(axis=0)
    error = np.where(flat, 0.0, error)
    down, up = _steepness(residual, bottom, ratio, error, logarithmic)
    if logarithmic:
        share = error / np.where(ratio > 0, ratio, 1.0)
        low, high = ratio * np.exp(-down * share), ratio * np.exp(up * share)
    else:
        low, high = ratio - down * error, ratio + up * error
    tail = np.where(flat, 0.0, (1 + UNSEEN / units) / units)
    return low + tail * residual.min(axis=0), high + tail * residual.max(axis=0)


def by_group(rows: Values, groups: NDArray[np.int64] | None) -> Values:
    """*rows* (k, samples) summed over the samples of each group: (k, groups); as they are without *groups*."""
    if groups is None:
        return rows
    _, index = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(index, row) for row in rows])


def ratio_errors(top: Values, bottom: Values) -> tuple[Values, Values]:
    """Σtop/Σbottom and its standard error, (k,) each; 0 for a single unit."""
    units, total = len(top), bottom.sum(axis=0)
    ratio = top.sum(axis=0) / total
    squares = ((top - ratio * bottom) ** 2).sum(axis=0)
    return ratio, np.sqrt(squares * units / max(units - 1, 1)) / total


def _steepness(
    residual: Values, bottom: Values, ratio: Values, error: Values, logarithmic: bool
) -> tuple[Values, Values]:
    """How many standard errors the interval reaches down and up: the bootstrap-t's quantile, or Student's if larger."""
    found = [_studentized(*sums, ratio, logarithmic) for sums in _resampled(residual, bottom)]
    ordered = np.sort(np.concatenate(found), axis=0)
    ordered[:, error == 0] = 0.0
    rank = round(0.025 * (RESAMPLES + 1))
    least = student_quantile(len(residual) - 1)
    return np.maximum(ordered[-rank], least), np.maximum(-ordered[rank - 1], least)


def _resampled(residual: Values, bottom: Values) -> Iterator[tuple[int, Values]]:
    """For each block of resamples the number of units, and the sums (5, block, k) that a resample's ratio and error
    are made of."""
    units = len(residual)
    features = np.hstack([residual, bottom, residual**2, residual * bottom, bottom**2])
    generator = np.random.default_rng(0)
    for start in range(0, RESAMPLES, BLOCK):
        rows = min(BLOCK, RESAMPLES - start)
        picked = generator.integers(0, units, (rows, units)) + np.arange(rows)[:, np.newaxis] * units
        counts = np.bincount(picked.ravel(), minlength=rows * units).reshape(rows, units)
        yield units, np.stack(np.split(counts.astype(np.float64) @ features, 5, axis=1))


def _studentized(units: int, sums: Values, ratio: Values, logarithmic: bool) -> Values:
    """(ratio* − ratio) / error* of each resample, within ± ``STEEPEST``; of the logarithms where asked for."""
    residual, bottom, squares, cross, bottoms = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = residual / bottom
        left = np.maximum(squares - 2 * shift * cross + shift**2 * bottoms, 0.0)  # Σ(top − ratio*·bottom)²
        error = np.sqrt(left * units / (units - 1)) / bottom
        if logarithmic:
            shift, error = np.log1p(np.maximum(shift / ratio, -1.0)), error / np.maximum(ratio + shift, 0.0)
        found = shift / error
    return np.clip(np.where(np.isnan(found), 0.0, found), -STEEPEST, STEEPEST)


def student_quantile(freedom: int, z: float = Z95) -> float:
    """Student's quantile at the level of the normal one *z*, by default 97.5 % (Abramowitz & Stegun 26.7.5): within
    0.4 % of it from 4 degrees of freedom; at 99.997 % (z = 4) within 0.5 % from 7. Below 3 always that of 97.5 %."""
    if freedom < 3:
        return {1: STEEPEST, 2: 4.3027}.get(freedom, STEEPEST)
    v = float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v**power for power, term in enumerate(terms, 1))
