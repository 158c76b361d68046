"""The accuracy gate's statistics: is the candidate not worse than the reference by more than a limit?

A non-inferiority test on paired samples through a two-sided 95 % interval of the drop: *pass* when its upper end is
within the limit, *fail* when its lower end is beyond, else *inconclusive*. A pass is meant to be wrong in 2.5 % of
cases and is in at most 5 % (simulated: docs/gate.md). Scores of 0 and 1 use Tango's score interval for paired
proportions, others a bootstrap-t; samples of one recording count as what they are worth together. Numpy only: the gate
also runs on the robot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.bootstrap import Z95 as Z95
from edgefuse.bootstrap import by_group, ratio_errors, ratio_intervals
from edgefuse.proportions import clustered_pairs, independent_pairs, mcnemar_exact
from edgefuse.verdict import Verdict

MIN_UNITS = 8
"""Independent samples or recordings: with fewer, no interval of a mean is trusted (simulated from 8: docs/gate.md)."""

MIN_SAMPLES = 300
"""To pass in a metric without bounds: fewer miss a fault of one sample in a hundred in more than 5 % of cases
(0.99³⁰⁰ = 4.9 %), and a fault that nobody saw may be as large as it likes."""

SEARCH_ERRORS = 1.5
"""How many standard errors a search takes off what it estimates: it picks the fastest of many plans, and that is often
one whose loss was underestimated (simulated: docs/gate.md)."""

Scores = NDArray[np.float64]
Groups = NDArray[np.int64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class NonInferiority:
    """``drop`` = reference − candidate (sign turned where less is better), its 95 % interval, and what follows.

    ``more_samples`` estimates how many further samples an inconclusive test needs; None where no number helps.
    ``mcnemar_p``: exact two-sided McNemar test that there is any change at all (independent 0/1 scores only).
    """

    reference: float
    candidate: float
    drop: float
    ci95: Interval
    limit: float
    samples: int
    verdict: Verdict
    more_samples: int | None = None
    mcnemar_p: float | None = None
    method: str = ""


@dataclass(frozen=True)
class _Found:
    """What one of the two methods found: the interval of the drop, and what settles a doubt."""

    interval: Interval
    more_samples: int | None
    method: str
    may_pass: bool = True
    may_fail: bool = True
    mcnemar_p: float | None = None


def compare_scores(
    reference: Scores,
    candidate: Scores,
    limit: float,
    *,
    higher_is_better: bool,
    binary: bool,
    groups: Groups | None = None,
    relative: bool = False,
) -> NonInferiority:
    """Test paired *reference* and *candidate* scores (n,) against a *limit* ≥ 0 on the drop: absolute, or a share of
    the reference's mean if *relative*. *binary* scores are 0 or 1, or a share of such answers, within [0, 1]."""
    loss, mean = (reference - candidate) * (1 if higher_is_better else -1), float(reference.mean())
    allowed = limit * abs(mean) if relative else limit
    if binary:
        found = _compare_answers(loss, allowed, groups)
    else:
        found = _compare_means(loss - _limit_shares(reference, limit, relative), allowed, groups)
    verdict = _decide(found, allowed)
    return NonInferiority(
        mean,
        float(candidate.mean()),
        float(loss.mean()),
        found.interval,
        allowed,
        len(loss),
        verdict,
        found.more_samples if verdict is Verdict.INCONCLUSIVE else None,
        found.mcnemar_p,
        found.method,
    )


def headroom(
    reference: Scores,
    candidate: Scores,
    limit: float,
    *,
    higher_is_better: bool,
    groups: Groups | None = None,
    relative: bool = False,
) -> float:
    """The limit less the drop less ``SEARCH_ERRORS`` standard errors, in the metric's unit: a search's rule, no test.
    Arguments as for :func:`compare_scores`."""
    loss = (reference - candidate) * (1 if higher_is_better else -1) - _limit_shares(reference, limit, relative)
    sums, sizes = by_group(np.stack([loss, np.ones_like(loss)]), groups)
    drop, error = ratio_errors(sums[:, np.newaxis], sizes[:, np.newaxis])
    allowed = limit * abs(float(reference.mean())) if relative else limit
    return allowed - float(drop[0]) - SEARCH_ERRORS * float(error[0])


def _limit_shares(reference: Scores, limit: float, relative: bool) -> Scores:
    """What each sample adds to a relative limit beyond the mean sample: subtracted from the losses, it puts the limit's
    own uncertainty into their interval."""
    if not relative:
        return np.zeros_like(reference)
    mean = reference.mean()
    return np.asarray(limit * np.sign(mean) * (reference - mean))


def _decide(found: _Found, limit: float) -> Verdict:
    if found.may_pass and found.interval[1] <= limit:
        return Verdict.PASS
    return Verdict.FAIL if found.may_fail and found.interval[0] > limit else Verdict.INCONCLUSIVE


def _compare_answers(loss: Scores, limit: float, groups: Groups | None) -> _Found:
    method, p_value = "Tango score interval", None
    if groups is None and np.isin(loss, (-1.0, 0.0, 1.0)).all():
        pairs = independent_pairs(loss)
        p_value = mcnemar_exact(int(pairs.worse), int(pairs.better))
    else:
        pairs = clustered_pairs(loss, groups if groups is not None else np.arange(len(loss)))
        method += f", {pairs.total:.3g} effective samples{'' if groups is None else ' by group'}"
    return _Found(pairs.interval(), pairs.more_samples(limit), method, mcnemar_p=p_value)


def _compare_means(loss: Scores, limit: float, groups: Groups | None) -> _Found:
    units = len(loss) if groups is None else len(np.unique(groups))
    interval, enough = mean_interval(loss, groups), units >= MIN_UNITS
    short = max(MIN_SAMPLES - len(loss), math.ceil((MIN_UNITS - units) * len(loss) / units), 1)
    more = scaled_samples(float(loss.mean()), interval, limit, len(loss))
    return _Found(
        interval,
        max(more, short) if more is not None else None,
        "paired bootstrap-t" + (" by group" if groups is not None else ""),
        may_pass=enough and len(loss) >= MIN_SAMPLES,
        may_fail=enough,
    )


def mean_interval(values: Scores, groups: Groups | None = None) -> Interval:
    """95 % interval of the mean of *values* (n,), whose *groups* (n,) are the independent units; no width for one."""
    sums, sizes = by_group(np.stack([values, np.ones_like(values)]), groups)
    if len(sums) < 2:
        return float(values.mean()), float(values.mean())
    low, high = ratio_intervals(sums[:, np.newaxis], sizes[:, np.newaxis])
    return float(low[0]), float(high[0])


def scaled_samples(estimate: float, interval: Interval, limit: float, samples: int) -> int | None:
    """How many more samples separate *interval* from *limit* if it narrows with the square root of their number."""
    gap = abs(limit - estimate)
    half_width = interval[1] - estimate if estimate <= limit else estimate - interval[0]
    needed = samples * (half_width / gap) ** 2 if gap > 0 else math.inf
    return max(math.ceil(needed - samples), 1) if needed < 1e9 else None
