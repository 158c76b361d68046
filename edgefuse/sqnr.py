"""The floor on SQNR as a test: is the worst output's SQNR surely above it, surely below, or can the samples not tell?

Each figure (plain and mean-free, of each output) is a ratio of two sums over samples, and gets a 95 % interval in dB
from the bootstrap-t of :mod:`edgefuse.bootstrap`. The lowest ends decide: a pass means that every figure passes alone
(intersection–union test, Berger 1982, Technometrics 24:295), which needs no correction for their number. Numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.bootstrap import Values, by_group, ratio_errors, ratio_intervals
from edgefuse.fidelity import EXACT_DB, Fidelity, decibels, worst_db
from edgefuse.noninferiority import MIN_UNITS, SEARCH_ERRORS, Groups, Interval, scaled_samples
from edgefuse.verdict import Verdict

MIN_SQNR_SAMPLES = 16
"""One example is no parity check, and from one the mean-free figure cannot be had at all."""


@dataclass(frozen=True)
class FloorTest:
    """The lowest SQNR of all figures, the lowest ends of their 95 % intervals (dB), and what follows."""

    sqnr_db: float
    ci95: Interval
    samples: int
    verdict: Verdict
    more_samples: int | None


def judge_floor(fidelities: Collection[Fidelity], floor_db: float, groups: Groups | None = None) -> FloorTest:
    """Test the outputs' *fidelities* against *floor_db*; *groups* (n,) are the recordings, where samples have them."""
    samples = len(next(iter(fidelities)).signal)
    worst, interval = worst_db(fidelities), worst_interval(fidelities, groups)
    if any(item.nonfinite_mismatches for item in fidelities):
        return FloorTest(worst, (-EXACT_DB, -EXACT_DB), samples, Verdict.FAIL, None)
    units = samples if groups is None else len(np.unique(groups))
    short = max(MIN_SQNR_SAMPLES - samples, math.ceil((MIN_UNITS - units) * samples / units))
    if interval[1] < floor_db:
        return FloorTest(worst, interval, samples, Verdict.FAIL, None)
    if short <= 0 and interval[0] >= floor_db:
        return FloorTest(worst, interval, samples, Verdict.PASS, None)
    return FloorTest(worst, interval, samples, Verdict.INCONCLUSIVE, _more(worst, interval, floor_db, samples, short))


def _more(worst: float, interval: Interval, floor_db: float, samples: int, short: int) -> int | None:
    if interval[0] >= floor_db or interval[1] - interval[0] > EXACT_DB:  # only the number lacks, or nothing is known
        return short
    loss = (-interval[1], -interval[0])  # a drop against a limit
    more = scaled_samples(-worst, loss, -floor_db, samples)
    return max(more, short) if more is not None else None


def worst_interval(fidelities: Collection[Fidelity], groups: Groups | None = None) -> Interval:
    """The lowest lower and the lowest upper end of all figures, in dB; ±300 where one unit can tell nothing."""
    exact, (noise, signal) = _figures(fidelities, groups)
    ends = [(value, value) for value in exact]
    if noise.size and len(noise) < 2:
        ends.append((-EXACT_DB, EXACT_DB))
    elif noise.size:
        low, high = ratio_intervals(noise, signal, logarithmic=True)
        ends += [(decibels(1.0, top), decibels(1.0, bottom)) for bottom, top in zip(low, high)]
    return min(low for low, _ in ends), min(high for _, high in ends)


def shrunken_db(fidelities: Collection[Fidelity], groups: Groups | None = None) -> float:
    """The worst output's SQNR less ``SEARCH_ERRORS`` standard errors, in dB; −300 where NaN or infinity appeared."""
    if any(item.nonfinite_mismatches for item in fidelities):
        return -EXACT_DB
    exact, (noise, signal) = _figures(fidelities, groups)
    if not noise.size:
        return min(exact)
    ratio, error = ratio_errors(noise, signal)
    return min([*exact, *(decibels(1.0, value) for value in ratio * np.exp(SEARCH_ERRORS * error / ratio))])


def _figures(fidelities: Collection[Fidelity], groups: Groups | None) -> tuple[list[float], NDArray[np.float64]]:
    """The figures without error or without signal, in dB; of the others noise and signal per unit, (2, units, k)."""
    exact, sums = [], []
    for noise, signal in _energies(fidelities):
        found = decibels(float(signal.sum()), float(noise.sum()))
        if abs(found) < EXACT_DB:
            # In the figure's own scale: energies of 1e-40 and 1e+40 are squared below.
            sums += [noise / noise.mean() * 10 ** (-found / 10), signal / signal.mean()]
        else:
            exact.append(found)
    if not sums:
        return exact, np.empty((2, 0, 0))
    units = by_group(np.stack(sums), groups)
    return exact, np.stack([units[0::2].T, units[1::2].T])


def _energies(fidelities: Collection[Fidelity]) -> Iterator[tuple[Values, Values]]:
    """Noise and signal per sample of every figure that :attr:`Fidelity` reports."""
    for item in fidelities:
        noise = np.array(item.noise)
        yield noise, np.array(item.signal)
        if item.sqnr_centered_db is not None:
            yield noise, np.array(item.centered)
