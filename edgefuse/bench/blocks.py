"""Resampling a series whose neighbours are alike: the stationary bootstrap. Numpy only.

A machine's noise comes in stretches (another process works for a second), so that single rounds are not independent,
and resampling them one by one gives intervals that are too narrow: up to 30 % of wrong verdicts where 5 % are meant
(docs/bench.md). The stationary bootstrap (Politis & Romano 1994, J. Am. Stat. Assoc. 89:1303) draws blocks of
neighbours instead, of geometric lengths, around the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

ELEMENTS = 2_000_000
"""Of a batch of resamples at a time: 16 MB."""


def block_length(series: Series) -> float:
    """The mean length of blocks for a *series* (rounds,), at least rounds^(1/3) and at most a quarter of it.

    Politis & White 2004 (Econometric Reviews 23:53) with the correction by Patton, Politis & White 2009 (28:372): from
    the autocovariances up to twice the lag from which on all are negligible, under a trapezoidal window. The floor is
    ours: a short series hides its correlation, and longer blocks cost little.
    """
    rounds = len(series)
    floor, ceiling = math.pow(rounds, 1 / 3), max(rounds / 4, 1.0)
    lags = min(math.ceil(math.sqrt(rounds)) + _run_of(rounds), rounds - 1)
    centred = series - series.mean()
    covariance = np.array([centred[: rounds - lag] @ centred[lag:] for lag in range(lags + 1)]) / rounds
    if covariance[0] <= 0:
        return min(floor, ceiling)
    last = min(2 * _last_correlated(covariance / covariance[0], rounds), lags)
    lag = np.arange(1, last + 1)
    window = np.minimum(2 * (1 - lag / last), 1.0) if last else lag
    slope = 2 * float((window * lag * covariance[1 : last + 1]).sum())
    spectrum = float(covariance[0] + 2 * (window * covariance[1 : last + 1]).sum())
    best = (slope / spectrum) ** 2 * rounds if spectrum > 0 else 0.0
    return min(max(math.pow(best, 1 / 3), floor), ceiling)


def _run_of(rounds: int) -> int:
    """So many negligible autocorrelations in a row end the search (Politis & White: K_N)."""
    return max(5, math.ceil(math.sqrt(math.log10(rounds))))


def _last_correlated(correlation: Series, rounds: int) -> int:
    """The lag after which ``_run_of`` autocorrelations are within 2 √(log₁₀ n / n); else the last that is not."""
    small = np.abs(correlation[1:]) < 2 * math.sqrt(math.log10(rounds) / rounds)
    run = min(_run_of(rounds), len(small))
    for lag in range(len(small) - run + 1):
        if small[lag : lag + run].all():
            return lag
    return int(np.flatnonzero(~small)[-1]) + 1


def resampled_rounds(rounds: int, block: float, width: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    """So many *resamples* of *rounds*, as batches (resamples, rounds) of indices; of blocks that are *block* rounds
    long on average. A round's data has *width* elements, which bounds the batch. The same on every call."""
    generator, place = np.random.default_rng(0), np.arange(rounds)
    batch = max(1, ELEMENTS // (rounds * width))
    for start in range(0, resamples, batch):
        shape = (min(batch, resamples - start), rounds)
        begins = generator.random(shape) < 1 / block
        begins[:, 0] = True
        origin = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
        first = np.take_along_axis(generator.integers(0, rounds, shape), origin, axis=1)
        yield (first + place - origin) % rounds
