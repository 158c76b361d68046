"""How often the accuracy gate passes what it must not, and what it takes to pass: known true drops, many seeds.

    python benchmarks/gate.py [--rounds 2000] [--only "by recording"]

Prints the tables of docs/gate.md: of each scenario the rate of false passes (the true drop is the limit, or twice that)
and the power curve, by the gate's own functions, beside the percentile bootstrap that it replaces. About 15 minutes on
one core.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.bootstrap import Z95, ratio_intervals
from edgefuse.noninferiority import MIN_SAMPLES, MIN_UNITS
from edgefuse.proportions import clustered_pairs, tango_interval
from edgefuse.sqnr import MIN_SQNR_SAMPLES

Values = NDArray[np.float64]
Passes = NDArray[np.bool_]
BATCH = 500

DROPS = (2.0, 1.0, 0.75, 0.5, 0.25, 0.0)
"""True drops, in limits. From 1 on a pass is false."""


@dataclass(frozen=True)
class Scenario:
    """``passes(rng, drop, rounds)``: the gate's answers and those of the method before it, at most *rounds* of each;
    *drop* is in limits (of "sqnr": the noise in what the floor allows)."""

    name: str
    size: str
    passes: Callable[[np.random.Generator, float, int], tuple[Passes, Passes]]


def rate_interval(passes: Passes) -> tuple[float, float, float]:
    """The rate with its 95 % interval (Wilson 1927)."""
    n, rate = len(passes), float(passes.mean())
    middle, square = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n), Z95**2 / (4 * n**2)
    half = Z95 / (1 + Z95**2 / n) * float(np.sqrt(rate * (1 - rate) / n + square))
    return rate, max(middle - half, 0.0), min(middle + half, 1.0)


# ---- scores of 0 and 1


def answers(accuracy: float, changes: float, limit: float, samples: int) -> Scenario:
    """Top-1 with a *limit* relative to the reference; a share *changes* of the answers differs beyond the drop."""

    def passes(rng: np.random.Generator, drop: float, rounds: int) -> tuple[Passes, Passes]:
        lost = drop * limit * accuracy
        better = min(changes / 2, 1 - accuracy)
        shares = (accuracy - better - lost, better + lost, better, 1 - accuracy - better)  # both, worse, better, none
        counts = rng.multinomial(samples, shares, rounds)
        found = np.array([_tango_passes(*map(int, row[:3]), samples, limit) for row in counts])
        return found, found

    return Scenario(f"top-1 {accuracy:.0%}, {changes:.0%} change, limit {limit:.0%}", f"{samples}", passes)


@functools.cache
def _tango_passes(both: int, worse: int, better: int, samples: int, limit: float) -> bool:
    return tango_interval(worse, better, samples)[1] <= limit * (both + worse) / samples


def grouped_answers(correlation: float, limit: float, groups: int, whole: float = 0.0) -> Scenario:
    """Recordings of 1 to 100 samples, whose rates of change are beta-distributed with intra-class *correlation*; in a
    share *whole* of the limit whole recordings are lost instead."""

    def one(rng: np.random.Generator, drop: float) -> tuple[bool, bool]:
        sizes = _sizes(rng, (groups, 1))
        lost, better = drop * limit, limit / 2
        gone = rng.random(groups) < whole * lost
        worse = _rates(rng, ((1 - whole) * lost + better) / (1 - whole * lost), correlation, groups)
        rates = np.where(gone, 1.0, worse), np.where(gone, 0.0, _rates(rng, better, correlation, groups))
        index = np.repeat(np.arange(groups), sizes[:, 0].astype(int))
        side = rng.random(len(index))
        drops = (side < rates[0][index]).astype(float)
        gains = (side > 1 - rates[1][index]) & (drops == 0)
        loss = drops - gains
        ends = clustered_pairs(loss, index).interval()
        sums = np.bincount(index, loss)[:, np.newaxis]
        old = percentile_upper(sums.astype(np.float64), sizes)[0] <= limit and groups >= 30
        return ends[1] <= limit, bool(old)

    def passes(rng: np.random.Generator, drop: float, rounds: int) -> tuple[Passes, Passes]:
        new, old = zip(*[one(rng, drop) for _ in range(rounds // 2)])
        return np.array(new), np.array(old)

    kind = f"correlation {correlation:g}" + (f", {whole:.0%} by whole recordings" if whole else "")
    return Scenario(f"top-1 by recording, {kind}, limit {limit:.0%}", f"{groups} rec.", passes)


def _rates(rng: np.random.Generator, mean: float, correlation: float, groups: int) -> Values:
    shape = (1 - correlation) / correlation
    return rng.beta(mean * shape, (1 - mean) * shape, groups)


def _sizes(rng: np.random.Generator, shape: tuple[int, int]) -> Values:
    return np.clip(np.floor(rng.lognormal(2.5, 0.8, shape)), 1, 100)


# ---- other scores


def losses(kind: str, samples: int) -> Scenario:
    """Independent samples; see :func:`_draw`. The limit is the distribution's own spread over 8."""

    def passes(rng: np.random.Generator, drop: float, rounds: int) -> tuple[Passes, Passes]:
        loss, limit = _draw(rng, kind, drop, (samples, rounds))
        return _mean_passes(loss, np.ones_like(loss), limit, samples >= MIN_SAMPLES)

    return Scenario(KINDS[kind], f"{samples}", passes)


KINDS = {
    "shifted": "MAE, errors lognormal (σ = 1), candidate's correlated 0.95, shifted",
    "grown": "MAE, errors grow by a lognormal amount (σ = 1)",
    "squares": "MSE, errors grow by a lognormal amount (σ = 1.5)",
    "outliers": "MAE, 1 sample in 100 is off by 200 times the noise",
}


def _draw(rng: np.random.Generator, kind: str, drop: float, shape: tuple[int, int]) -> tuple[Values, float]:
    """Losses whose true mean is *drop* limits, and the limit."""
    normal = rng.normal(size=shape)
    if kind == "shifted":
        other = 0.95 * normal + np.sqrt(1 - 0.95**2) * rng.normal(size=shape)
        return np.exp(other) - np.exp(normal) + 0.08 * drop, 0.08
    if kind == "outliers":
        return 0.1 * normal + 20.0 * (rng.random(shape) < 0.01 * drop), 0.2
    sigma = {"grown": 1.0, "squares": 1.5}[kind]
    return drop * np.exp(sigma * normal - sigma**2 / 2), 1.0


def grouped_losses(sigma: float, groups: int) -> Scenario:
    """Recordings that lose a lognormal amount each (*sigma*), with noise per sample."""

    def passes(rng: np.random.Generator, drop: float, rounds: int) -> tuple[Passes, Passes]:
        sizes = 5 * _sizes(rng, (groups, rounds))  # eight recordings are 600 samples, mostly
        effect = drop * np.exp(sigma * rng.normal(size=sizes.shape) - sigma**2 / 2)
        loss = sizes * effect + 0.3 * np.sqrt(sizes) * rng.normal(size=sizes.shape)
        new, old = _mean_passes(loss, sizes, 1.0, groups >= MIN_UNITS)
        return new & (sizes.sum(axis=0) >= MIN_SAMPLES), old

    return Scenario(f"MAE by recording, lognormal (σ = {sigma:g}) between recordings", f"{groups} rec.", passes)


def energies(sigma: float, samples: int) -> Scenario:
    """The SQNR floor: lognormal noise energies (*sigma*; 1 is 4.3 dB) over lognormal signals."""

    def passes(rng: np.random.Generator, drop: float, rounds: int) -> tuple[Passes, Passes]:
        shape = samples, rounds
        noise = max(drop, 1e-6) * np.exp(sigma * rng.normal(size=shape) - sigma**2 / 2)
        signal = np.exp(0.5 * rng.normal(size=shape) - 0.125)
        high = np.concatenate([ratio_intervals(*part, logarithmic=True)[1] for part in _batches(noise, signal)])
        return (high <= 1) & (samples >= MIN_SQNR_SAMPLES), noise.sum(axis=0) <= signal.sum(axis=0)

    return Scenario(f"SQNR floor, lognormal noise (σ = {sigma:g})", f"{samples}", passes)


def _mean_passes(sums: Values, sizes: Values, limit: float, enough: bool) -> tuple[Passes, Passes]:
    """The gate's answer (*enough*: samples or recordings), and the old one: percentile bootstrap, from 30 units."""
    high = np.concatenate([ratio_intervals(*part)[1] for part in _batches(sums, sizes)])
    old = np.concatenate([percentile_upper(*part) for part in _batches(sums, sizes)])
    return (high <= limit) & enough, (old <= limit) & (len(sums) >= 30)


def _batches(*arrays: Values) -> Iterator[tuple[Values, ...]]:
    for start in range(0, arrays[0].shape[1], BATCH):
        yield tuple(array[:, start : start + BATCH] for array in arrays)


def percentile_upper(sums: Values, sizes: Values) -> Values:
    counts = _counts(len(sums))
    return np.quantile(counts @ sums / (counts @ sizes), 0.975, axis=0)


@functools.cache
def _counts(units: int) -> Values:
    return np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), 1999).astype(np.float64)


SAMPLES, GROUPS = (30, 100, 300, 1000), (8, 30, 60)


def scenarios() -> Iterator[Scenario]:
    for n in SAMPLES:
        for accuracy, changes, limit in ((0.5, 0.1, 0.1), (0.9, 0.02, 0.05), (0.9, 0.1, 0.05), (0.98, 0.01, 0.01)):
            yield answers(accuracy, changes, limit, n)
    for groups in (*GROUPS, 200):
        yield grouped_answers(0.1, 0.05, groups)
        yield grouped_answers(0.3, 0.05, groups)
        yield grouped_answers(0.1, 0.05, groups, whole=0.5)
    yield from (losses(kind, n) for kind in KINDS for n in SAMPLES)
    yield from (grouped_losses(sigma, groups) for sigma in (0.5, 1.0) for groups in GROUPS)
    yield from (energies(sigma, n) for sigma in (1.0, 1.5) for n in (16, *SAMPLES))


def table(found: Sequence[Scenario], rounds: int) -> Iterator[str]:
    """Markdown: per cent of passes at each of ``DROPS``; the false ones with interval, and before the change."""
    yield (
        "| scenario | n | before: at the limit | at the limit | 2 limits | "
        + " | ".join(f"{drop:g}" for drop in DROPS[2:])
        + " |"
    )
    yield "|" + "---|" * (5 + len(DROPS[2:]))
    for scenario in found:
        rng = np.random.default_rng(20261123)
        rates = {drop: scenario.passes(rng, drop, rounds) for drop in DROPS}
        new, low, high = (100 * value for value in rate_interval(rates[1.0][0]))
        power = " | ".join(f"{100 * rates[drop][0].mean():.0f}" for drop in DROPS[2:])
        yield (
            f"| {scenario.name} | {scenario.size} | {100 * rates[1.0][1].mean():.1f} | "
            f"**{new:.1f}** ({low:.1f}–{high:.1f}) | {100 * rates[2.0][0].mean():.1f} | {power} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    asked = parser.parse_args()
    for line in table([item for item in scenarios() if asked.only in item.name], asked.rounds):
        print(line, flush=True)
