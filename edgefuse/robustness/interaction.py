"""Does the compiled model lose more than the float model does, beyond the limit? Numpy only.

The interaction of a sample is (Q_clean − Q_c) − (F_clean − F_c) in the metric's unit, its sign turned where less is
better: positive means that the compiled model lost more. Whether the mean is within the limit is the accuracy gate's
own test (:mod:`edgefuse.noninferiority`), on these numbers. Many cases are tested at once: :func:`widened` gives the
interval that holds for all of them together (Bonferroni; docs/robustness.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.bootstrap import Z95, student_quantile
from edgefuse.noninferiority import MIN_UNITS, Groups, Interval, NonInferiority, Scores, compare_scores, scaled_samples
from edgefuse.proportions import clustered_pairs, independent_pairs, tango_interval
from edgefuse.recipe import Limit
from edgefuse.verdict import Verdict


@dataclass(frozen=True)
class Interaction:
    """``value`` the mean interaction with its 95 % interval; ``ci_family`` the one that holds for all tests together;
    ``verdict`` by the former, ``certain`` whether it fails by the latter too."""

    value: float
    ci95: Interval
    ci_family: Interval
    limit: float
    samples: int
    verdict: Verdict
    certain: bool
    more_samples: int | None
    method: str

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        return {**found, "ci95": list(self.ci95), "ci_family": list(self.ci_family), "verdict": self.verdict.value}


@dataclass(frozen=True)
class Rule:
    """What all tests share: the limit (a share of the float model's clean value if relative), whether answers are right
    or wrong, whether more is better, and how many tests there are."""

    limit: Limit
    binary: bool
    higher_is_better: bool
    tests: int


def judge_case(extra: Scores, reference: Scores, groups: Groups | None, rule: Rule) -> Interaction:
    """*extra* (n,): each sample's interaction; *reference* (n,): the float model's clean scores."""
    # Tango's interval is of a number in [−1, 1]; a sample whose clean answers differ too can have ± 2.
    scale = 2.0 if rule.binary and np.abs(extra).max(initial=0.0) > 1 else 1.0
    found = _compare(extra / scale, reference, groups, rule, rule.binary, scale)
    low, high = (end * scale for end in found.ci95)
    family = widened(extra / scale, groups, found.ci95, rule)
    return _interaction(found, extra, (low, high), (family[0] * scale, family[1] * scale), found.limit * scale)


def judge_mean(extra: NDArray[np.float64], reference: Scores, groups: Groups | None, rule: Rule) -> Interaction:
    """*extra* (cases, n): the interactions of several cases, NaN where a case left a sample out. Judged is their mean
    over cases, sample by sample: a number that can take many values, and so has the bootstrap-t's interval.

    Where answers are right or wrong that mean is within ± 1, and no unseen loss is larger: instead of the 300 samples
    that a metric without bounds takes to pass, the interval's upper end is not below that of no difference at all in so
    many samples."""
    kept = np.isfinite(extra).any(axis=0)
    means = np.nanmean(extra[:, kept], axis=0)
    reference, groups = reference[kept], groups[kept] if groups is not None else None
    found = _compare(means, reference, groups, rule, False, 1.0)
    family = widened(means, groups, found.ci95, rule, mean=True)
    if not rule.binary:
        return _interaction(found, means, found.ci95, family, found.limit)
    unseen = tango_interval(0, 0, _units(means, groups))[1]
    low, high = found.ci95[0], max(found.ci95[1], unseen)
    passes = enough(means, groups) and high <= found.limit
    if found.verdict is not Verdict.FAIL:
        more = None if passes else scaled_samples(float(means.mean()), (low, high), found.limit, len(means))
        found = replace(found, verdict=Verdict.PASS if passes else Verdict.INCONCLUSIVE, more_samples=more)
    return _interaction(found, means, (low, high), (family[0], max(family[1], unseen)), found.limit)


def _compare(
    extra: Scores, reference: Scores, groups: Groups | None, rule: Rule, binary: bool, scale: float
) -> NonInferiority:
    """The accuracy gate's test, whose candidate loses *extra* against *reference*."""
    candidate = reference - extra * (1 if rule.higher_is_better else -1)
    return compare_scores(
        reference,
        candidate,
        rule.limit.value / scale,
        higher_is_better=rule.higher_is_better,
        binary=binary,
        groups=groups,
        relative=rule.limit.relative,
    )


def _interaction(found: NonInferiority, extra: Scores, ci95: Interval, family: Interval, limit: float) -> Interaction:
    certain = found.verdict is Verdict.FAIL and family[0] > limit
    return Interaction(
        float(extra.mean()), ci95, family, limit, len(extra), found.verdict, certain, found.more_samples, found.method
    )


def widened(extra: Scores, groups: Groups | None, ci95: Interval, rule: Rule, mean: bool = False) -> Interval:
    """The interval at 1 − 0.05/tests: Tango's with its own quantile, the bootstrap-t's wider by the ratio of Student's
    quantiles (resampling says nothing that far out)."""
    units = _units(extra, groups)
    z = max(NormalDist().inv_cdf(1 - 0.025 / rule.tests), Z95)
    ratio = student_quantile(units - 1, z) / student_quantile(units - 1)
    if not rule.binary or mean:
        middle = float(extra.mean())
        return middle - (middle - ci95[0]) * ratio, middle + (ci95[1] - middle) * ratio
    if groups is None and np.isin(extra, (-1.0, 0.0, 1.0)).all():
        pairs = independent_pairs(extra)
    else:
        pairs = clustered_pairs(extra, groups if groups is not None else np.arange(len(extra)))
    return tango_interval(pairs.worse, pairs.better, pairs.total, Z95 * ratio if groups is not None else z)


def _units(extra: Scores, groups: Groups | None) -> int:
    return len(extra) if groups is None else len(np.unique(groups))


def enough(extra: Scores, groups: Groups | None) -> bool:
    """Whether there are so many independent samples that an interval can be trusted at all."""
    return _units(extra, groups) >= MIN_UNITS


def overall(cases: Sequence[Interaction], means: Sequence[Interaction]) -> Verdict:
    """Fail where any test fails in spite of their number. Pass where every stream's mean is within the limit and no
    case fails even by its own interval, as one in forty that is exactly at the limit does. Else inconclusive."""
    if any(item.certain for item in (*cases, *means)):
        return Verdict.FAIL
    kept = bool(means) and all(item.verdict is Verdict.PASS for item in means)
    return Verdict.PASS if kept and all(item.verdict is not Verdict.FAIL for item in cases) else Verdict.INCONCLUSIVE
