"""Intervals of a drop in how often an answer is right, from paired 0/1 scores. Numpy only.

Tango's score interval, also where samples come in recordings (or answers in samples) that stand and fall together: it
is then computed from the *effective* number of independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.bootstrap import Z95, student_quantile

Interval = tuple[float, float]


@dataclass(frozen=True)
class Pairs:
    """How many of ``total`` independent pairs are right in the reference only (*worse*), in the candidate only
    (*better*). Fractions where they are effective numbers; ``weight`` real samples make one."""

    worse: float
    better: float
    total: float
    weight: float = 1.0

    def interval(self) -> Interval:
        return tango_interval(self.worse, self.better, self.total)

    def more_samples(self, limit: float) -> int | None:
        """How many more samples would settle it if pairs went on differing at the same rates."""
        if (self.worse - self.better) / self.total == limit:
            return None
        for doubling in range(1, 41):
            scale = 2 ** (doubling / 2)
            low, high = tango_interval(self.worse * scale, self.better * scale, self.total * scale)
            if high <= limit or low > limit:
                return math.ceil(self.total * self.weight * (scale - 1))
        return None


def independent_pairs(loss: NDArray[np.float64]) -> Pairs:
    """From the differences (n,) of 0/1 scores, positive where the candidate is worse."""
    return Pairs(int((loss > 0).sum()), int((loss < 0).sum()), len(loss))


def clustered_pairs(loss: NDArray[np.float64], groups: NDArray[np.int64]) -> Pairs:
    """As many pairs as the *groups* of *loss* (n,), in [−1, 1], are worth: n over the design effect.

    Design effect (Kish 1965, Survey Sampling, 5.4; for paired proportions as in Durkalski et al. 2003, Stat. Med.
    22:2417–2428): the variance of the mean over groups, over what it is were all samples independent. One more group of
    average (square) size in which every answer got worse is added to the former, since a fault that takes whole
    recordings may have met none of the few seen; and Student's quantile replaces the normal one. Where nothing differs
    groups count as if each stood and fell as one.
    """
    _, index = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(index, loss), np.bincount(index).astype(np.float64)
    count, total = len(sums), float(len(loss))
    drop = loss.mean()
    alone = float(np.abs(loss).sum() - total * drop**2)
    square = float((sizes**2).mean())
    effect = square * count / total
    if count > 1 and alone > 1e-9 * total:
        spread = float(((sums - drop * sizes) ** 2).sum()) * count / (count - 1)
        effect = (spread + square * (1 - drop) ** 2) / alone
    weight = effect * (student_quantile(count - 1) / Z95) ** 2
    worse, better = float(np.maximum(loss, 0).sum()), float(np.maximum(-loss, 0).sum())
    return Pairs(worse / weight, better / weight, total / weight, weight)


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
