"""Paired proportions against independent oracles: scipy, numeric maximum likelihood, exact enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from edgefuse.bootstrap import Z95
from edgefuse.proportions import _tango_score, clustered_pairs, independent_pairs, mcnemar_exact, tango_interval


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


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_equals_scipys_binomial_test(worse, better):
    expected = stats.binomtest(worse, worse + better).pvalue if worse + better else 1.0
    assert mcnemar_exact(worse, better) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("limit", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("better", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("samples", [20, 60, 150])
def test_a_true_drop_at_the_limit_passes_in_fewer_than_4_percent_by_exact_enumeration(samples, better, limit):
    """Every outcome with its multinomial probability: nothing is simulated. The nominal rate is 2.5 %."""
    shares = (better + limit, better, 1 - limit - 2 * better)
    outcomes = [(w, b, samples - w - b) for w in range(samples + 1) for b in range(samples + 1 - w)]
    chances = stats.multinomial(samples, shares).pmf(outcomes)
    likely = [(counts, chance) for counts, chance in zip(outcomes, chances) if chance > 1e-7]
    assert sum(chance for _, chance in likely) > 0.999
    assert sum(c for (w, b, _), c in likely if tango_interval(w, b, samples)[1] <= limit) < 0.04


def test_recordings_that_fall_as_one_count_as_one_sample_each():
    lost = np.zeros(60)
    lost[:6] = 1
    grouped = clustered_pairs(np.repeat(lost, 20), np.repeat(np.arange(60), 20))
    assert grouped.total < 60 and grouped.worse / grouped.total == pytest.approx(0.1)
    alone, together = independent_pairs(lost).interval(), grouped.interval()
    assert together[1] > alone[1] and together[0] <= alone[0] + 1e-6


def test_answers_that_change_independently_of_their_recording_lose_little():
    rng = np.random.default_rng(0)
    loss = rng.choice([1.0, 0.0, -1.0], 10_000, p=[0.1, 0.8, 0.1])
    pairs = clustered_pairs(loss, np.repeat(np.arange(1000), 10))
    assert pairs.total == pytest.approx(10_000, rel=0.15)


def test_no_change_in_recordings_proves_as_much_as_so_many_samples():
    pairs = clustered_pairs(np.zeros(1200), np.repeat(np.arange(60), 20))
    # Student's quantile of 59 degrees of freedom instead of the normal one takes 4 %.
    assert 55 < pairs.total <= 60 and pairs.interval()[1] == pytest.approx(Z95**2 / (pairs.total + Z95**2), rel=1e-6)


@given(st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_an_interval_by_recording_is_finite_and_holds_the_drop(groups, changes, seed):
    rng = np.random.default_rng(seed)
    loss = rng.choice([1.0, 0.0, -1.0], 200, p=[changes / 10, 1 - changes / 5, changes / 10])
    low, high = clustered_pairs(loss, rng.integers(0, groups, 200)).interval()
    assert -1 <= low <= loss.mean() + 1e-9 and loss.mean() - 1e-9 <= high <= 1


def test_shares_of_answers_are_worth_more_than_one_answer_and_no_more_than_all():
    rng = np.random.default_rng(0)
    loss = rng.choice([1.0, 0.0, -1.0], (2000, 50), p=[0.1, 0.8, 0.1]).mean(axis=1)
    assert 2000 < clustered_pairs(loss, np.arange(2000)).total <= 2000 * 50
