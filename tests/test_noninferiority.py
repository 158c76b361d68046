"""The gate's statistics against independent oracles (scipy) and against known truth (simulation)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from edgefuse.noninferiority import (
    Z95,
    _tango_score,
    bootstrap_interval,
    compare_scores,
    mcnemar_exact,
    tango_interval,
)
from edgefuse.verdict import Verdict


def score_by_likelihood(worse: int, better: int, samples: int, delta: float) -> float:
    """Tango's statistic with the nuisance proportion found by numeric maximum likelihood instead of his formula."""
    same = samples - worse - better

    def minus_log_likelihood(p_better: float) -> float:
        p_worse = p_better + delta
        rest = 1 - p_better - p_worse
        if min(p_better, p_worse, rest) <= 0:
            return math.inf
        return -(worse * math.log(p_worse) + better * math.log(p_better) + same * math.log(rest))

    low, high = max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12
    found = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = samples * (2 * found + delta * (1 - delta))
    return (worse - better - samples * delta) / math.sqrt(variance)


@pytest.mark.parametrize("counts", [(7, 3, 100), (1, 1, 40), (12, 2, 500), (30, 44, 1000)])
@pytest.mark.parametrize("delta", [-0.05, 0.01, 0.08])
def test_tango_score_equals_numeric_maximum_likelihood(counts, delta):
    assert _tango_score(*counts, delta) == pytest.approx(score_by_likelihood(*counts, delta), abs=2e-4)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(60, 3000))
@settings(max_examples=100, deadline=None)
def test_tango_interval_holds_the_estimate_and_ends_where_the_score_is_1_96(worse, better, samples):
    low, high = tango_interval(worse, better, samples)
    assert low <= (worse - better) / samples <= high
    assert abs(_tango_score(worse, better, samples, high)) == pytest.approx(Z95, abs=1e-3)
    assert abs(_tango_score(worse, better, samples, low)) == pytest.approx(Z95, abs=1e-3)


def test_no_change_in_20_samples_does_not_pass_a_1_percent_limit():
    ones = np.ones(20)
    found = compare_scores(ones, ones, 0.01, higher_is_better=True, binary=True)
    assert found.verdict is Verdict.INCONCLUSIVE
    # z²/(n+z²) ≤ 0.01 needs n ≥ 380.3; the estimate doubles in steps of √2.
    assert 361 <= found.more_samples <= 600


def test_no_change_in_400_samples_passes_a_1_percent_limit():
    ones = np.ones(400)
    assert compare_scores(ones, ones, 0.01, higher_is_better=True, binary=True).verdict is Verdict.PASS


def test_a_clear_drop_fails_and_needs_no_more_samples():
    reference, candidate = np.ones(500), np.r_[np.zeros(50), np.ones(450)]
    found = compare_scores(reference, candidate, 0.01, higher_is_better=True, binary=True)
    assert found.verdict is Verdict.FAIL and found.more_samples is None and found.drop == pytest.approx(0.1)
    assert found.mcnemar_p == pytest.approx(2**-49)


def test_a_rising_error_is_a_drop_when_less_is_better():
    rng = np.random.default_rng(0)
    error = rng.uniform(0.9, 1.1, 200)
    found = compare_scores(error, error * 1.2, 0.05, higher_is_better=False, binary=False)
    assert found.verdict is Verdict.FAIL and found.drop == pytest.approx(0.2, rel=0.05)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_equals_scipys_binomial_test(worse, better):
    expected = stats.binomtest(worse, worse + better).pvalue if worse + better else 1.0
    assert mcnemar_exact(worse, better) == pytest.approx(expected, rel=1e-9)


def test_bootstrap_agrees_with_scipys():
    data = np.random.default_rng(3).gamma(2.0, 1.0, 300)
    ours = bootstrap_interval((data, np.ones_like(data)))
    scipys = stats.bootstrap(
        (data,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(1)
    ).confidence_interval
    # Two Monte Carlo runs of 9,999 resamples: their ends differ by about 1 % of the interval's width.
    assert ours == pytest.approx((scipys.low, scipys.high), abs=0.03 * (scipys.high - scipys.low))


def test_groups_widen_the_interval_of_correlated_samples():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    loss = np.repeat(rng.normal(0, 1, 40), 25)
    alone = compare_scores(loss, np.zeros(1000), 1.0, higher_is_better=True, binary=False)
    grouped = compare_scores(loss, np.zeros(1000), 1.0, higher_is_better=True, binary=False, groups=groups)
    width = [found.ci95[1] - found.ci95[0] for found in (alone, grouped)]
    assert width[1] == pytest.approx(5 * width[0], rel=0.2)  # √25 samples a group


def test_three_recordings_are_never_enough():
    groups = np.repeat(np.arange(3), 400)
    same = np.linspace(0, 1, 1200)
    found = compare_scores(same, same, 0.01, higher_is_better=True, binary=False, groups=groups)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_false_passes_stay_below_5_percent():
    """The true drop is exactly the limit: every pass is false. 2,000 simulated evaluations of 800 samples."""
    rng = np.random.default_rng(7)
    limit, rounds, samples = 0.01, 2000, 800
    worse = rng.binomial(samples, 0.015, rounds)
    better = rng.binomial(samples, 0.005, rounds)
    passes = sum(tango_interval(int(w), int(b), samples)[1] <= limit for w, b in zip(worse, better))
    # Nominal 2.5 %; three standard errors of the simulation are 1 %.
    assert passes / rounds <= 0.04
    assert passes > 0, "a gate that never passes proves nothing"
