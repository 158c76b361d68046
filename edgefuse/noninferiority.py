"""The accuracy gate's statistics: is the candidate not worse than the reference by more than a limit?

A non-inferiority test on paired samples through a two-sided 95 % interval of the drop: *pass* when its upper end is
within the limit, *fail* when its lower end is beyond, else *inconclusive*. A pass is wrong in at most 2.5 % of cases.
Scores of 0 and 1 use Tango's score interval for paired proportions; others a seeded bootstrap over samples, or over
groups where samples belong to recordings. Numpy only: the gate also runs on the robot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.verdict import Verdict

Z95 = 1.959963984540054  # two-sided 95 % of the standard normal distribution
RESAMPLES = 9999
MIN_BOOTSTRAP = 30
"""Fewer independent samples (or groups) than this and a percentile bootstrap of a mean is not trustworthy."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class NonInferiority:
    """``drop`` = reference − candidate (sign turned where less is better), its 95 % interval, and what follows.

    ``more_samples`` estimates how many further samples an inconclusive test needs; None where no number helps.
    ``mcnemar_p``: exact two-sided McNemar test that there is any change at all (binary scores only).
    """

    reference: float
    candidate: float
    drop: float
    ci95: tuple[float, float]
    limit: float
    samples: int
    verdict: Verdict
    more_samples: int | None = None
    mcnemar_p: float | None = None
    method: str = ""


def compare_scores(
    reference: Scores,
    candidate: Scores,
    limit: float,
    *,
    higher_is_better: bool,
    binary: bool,
    groups: NDArray[np.int64] | None = None,
) -> NonInferiority:
    """Test paired *reference* and *candidate* scores (n,) against an absolute *limit* ≥ 0 on the drop."""
    loss = (reference - candidate) * (1 if higher_is_better else -1)
    if binary and groups is None:
        worse, better = int((loss > 0).sum()), int((loss < 0).sum())
        interval, needed = tango_interval(worse, better, len(loss)), _tango_samples(worse, better, len(loss), limit)
        method, p_value, units = "Tango score interval", mcnemar_exact(worse, better), None
    else:
        units = _group_means(loss, groups)
        interval = bootstrap_interval(units)
        needed = _scaled_samples(float(loss.mean()), interval, limit, len(loss))
        method, p_value = "paired bootstrap" + (" by group" if groups is not None else ""), None
    verdict = _decide(interval, limit, None if units is None else len(units[0]))
    if verdict is not Verdict.INCONCLUSIVE:
        needed = None
    return NonInferiority(
        float(reference.mean()),
        float(candidate.mean()),
        float(loss.mean()),
        interval,
        limit,
        len(loss),
        verdict,
        needed,
        p_value,
        method,
    )


def _decide(interval: tuple[float, float], limit: float, units: int | None) -> Verdict:
    if units is not None and units < MIN_BOOTSTRAP:
        return Verdict.INCONCLUSIVE
    if interval[1] <= limit:
        return Verdict.PASS
    return Verdict.FAIL if interval[0] > limit else Verdict.INCONCLUSIVE


def tango_interval(worse: float, better: float, samples: float, z: float = Z95) -> tuple[float, float]:
    """Score interval of the difference of two paired proportions (Tango 1998, Stat. Med. 17:891–908, eq. 5–7).

    *worse* pairs are right in the reference only, *better* in the candidate only. Unlike Wald's interval it has
    width when no pair differs, so that "no change in 20 samples" does not pass a 1 % limit.
    """
    estimate = (worse - better) / samples
    low = _bisect(lambda d: _tango_score(worse, better, samples, d) - z, -1.0, estimate)
    high = _bisect(lambda d: _tango_score(worse, better, samples, d) + z, estimate, 1.0)
    return low, high


def _tango_score(worse: float, better: float, samples: float, delta: float) -> float:
    """z statistic of H0: difference = delta, with the nuisance proportion at its restricted maximum likelihood."""
    a = 2 * samples
    b = -worse - better + (2 * samples - worse + better) * delta
    c = -better * delta * (1 - delta)
    nuisance = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = samples * (2 * nuisance + delta * (1 - delta))
    gap = worse - better - samples * delta
    if variance <= 1e-15:
        return math.copysign(math.inf, gap) if abs(gap) > 1e-12 else 0.0
    return gap / math.sqrt(variance)


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a decreasing *function* between *low* and *high*."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return (low + high) / 2


def mcnemar_exact(worse: int, better: int) -> float:
    """Two-sided exact binomial test that discordant pairs fall either way equally often."""
    total, extreme = worse + better, min(worse, better)
    tail = sum(math.comb(total, k) for k in range(extreme + 1)) / (1 << total)
    return min(1.0, 2 * tail)


def bootstrap_interval(units: tuple[Scores, Scores], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap (95 %) of a weighted mean over independent *units*: (sums, sizes), each (m,) float64."""
    sums, sizes = units
    generator, means = np.random.default_rng(seed), np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 500):
        stop = min(start + 500, RESAMPLES)
        picked = generator.integers(0, len(sums), (stop - start, len(sums)))
        means[start:stop] = sums[picked].sum(axis=1) / sizes[picked].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _group_means(loss: Scores, groups: NDArray[np.int64] | None) -> tuple[Scores, Scores]:
    if groups is None:
        return loss, np.ones_like(loss)
    _, index = np.unique(groups, return_inverse=True)
    return np.bincount(index, loss).astype(np.float64), np.bincount(index).astype(np.float64)


def _tango_samples(worse: int, better: int, samples: int, limit: float) -> int | None:
    """How many more samples would settle it if pairs went on differing at the same rates."""
    if (worse - better) / samples == limit:
        return None
    for doubling in range(1, 41):
        scale = 2 ** (doubling / 2)
        low, high = tango_interval(worse * scale, better * scale, samples * scale)  # the formula takes real counts
        if high <= limit or low > limit:
            return math.ceil(samples * (scale - 1))
    return None


def _scaled_samples(drop: float, interval: tuple[float, float], limit: float, samples: int) -> int | None:
    """An interval narrows with the square root of the number of samples."""
    gap = abs(limit - drop)
    half_width = max(interval[1] - drop, drop - interval[0])
    needed = samples * (half_width / gap) ** 2 if gap > 0 else math.inf
    return max(math.ceil(needed - samples), MIN_BOOTSTRAP - samples, 1) if needed < 1e9 else None
