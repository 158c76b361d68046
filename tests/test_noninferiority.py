"""The gate's verdicts. The intervals are tested beside their sources, the error rates in test_gate_simulation.py."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.noninferiority import MIN_SAMPLES, compare_scores, headroom
from edgefuse.verdict import Verdict


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


def test_groups_widen_the_interval_of_correlated_samples():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    loss = np.repeat(rng.normal(0, 1, 40), 25)
    alone = compare_scores(loss, np.zeros(1000), 1.0, higher_is_better=True, binary=False)
    grouped = compare_scores(loss, np.zeros(1000), 1.0, higher_is_better=True, binary=False, groups=groups)
    width = [found.ci95[1] - found.ci95[0] for found in (alone, grouped)]
    assert 5 < width[1] / width[0] < 8  # √25 samples a group, and what few groups cost


def test_three_recordings_are_never_enough():
    groups = np.repeat(np.arange(3), 400)
    same = np.linspace(0, 1, 1200)
    found = compare_scores(same, same, 0.01, higher_is_better=True, binary=False, groups=groups)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_an_unbounded_error_needs_enough_samples_to_see_a_rare_fault():
    error = np.random.default_rng(0).uniform(0.9, 1.1, MIN_SAMPLES)
    few = compare_scores(error[:100], error[:100], 0.05, higher_is_better=False, binary=False)
    assert few.verdict is Verdict.INCONCLUSIVE and few.more_samples == MIN_SAMPLES - 100
    assert compare_scores(error, error, 0.05, higher_is_better=False, binary=False).verdict is Verdict.PASS


def test_a_clear_loss_fails_on_samples_too_few_to_pass():
    error = np.random.default_rng(0).uniform(0.9, 1.1, 40)
    assert compare_scores(error, 2 * error, 0.05, higher_is_better=False, binary=False).verdict is Verdict.FAIL


def test_few_recordings_ask_for_as_many_more_as_are_missing():
    error = np.random.default_rng(0).uniform(0.9, 1.1, 1000)
    found = compare_scores(
        error, error, 0.05, higher_is_better=False, binary=False, groups=np.repeat(np.arange(4), 250)
    )
    assert found.verdict is Verdict.INCONCLUSIVE and found.more_samples == 1000  # four recordings of 250


def test_a_relative_limit_brings_its_own_uncertainty():
    """Errors that grow by exactly the permitted share sit on the limit whatever their mean; the interval says so."""
    error = np.random.default_rng(0).lognormal(0, 1, 500)
    arguments = {"higher_is_better": False, "binary": False}
    grown = compare_scores(error, 1.1 * error, 0.1, relative=True, **arguments)
    assert grown.limit == pytest.approx(0.1 * error.mean())
    assert grown.ci95 == pytest.approx((grown.limit, grown.limit)), "no doubt: each sample is at the limit"
    absolute = compare_scores(error, 1.1 * error, 0.1 * error.mean(), **arguments)
    assert absolute.ci95[1] - absolute.ci95[0] > 0.01


def test_shares_of_right_answers_have_width_when_nothing_changes():
    shares = np.random.default_rng(0).choice([0.5, 1.0], 100)
    found = compare_scores(shares, shares, 0.01, higher_is_better=True, binary=True)
    assert found.verdict is Verdict.INCONCLUSIVE and found.ci95[1] == pytest.approx(0.037, abs=0.004)
    half = compare_scores(shares, shares / 2, 0.01, higher_is_better=True, binary=True)
    assert half.verdict is Verdict.FAIL and half.mcnemar_p is None


def test_no_change_in_40_recordings_does_not_pass_a_1_percent_limit():
    ones = np.ones(2000)
    groups = np.repeat(np.arange(40), 50)
    found = compare_scores(ones, ones, 0.01, higher_is_better=True, binary=True, groups=groups)
    assert found.verdict is Verdict.INCONCLUSIVE and found.more_samples > 50 * 300


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3, 9])
def test_an_interval_of_hardly_any_samples_is_finite(samples, binary, grouped):
    scores = np.arange(samples) % 2.0
    groups = np.zeros(samples, np.int64) if grouped else None
    found = compare_scores(scores, 1 - scores, 0.1, higher_is_better=True, binary=binary, groups=groups)
    assert np.isfinite(found.ci95).all() and found.verdict is Verdict.INCONCLUSIVE


def test_a_search_takes_a_plan_without_loss_and_shuns_one_at_the_limit():
    right = np.ones(256)
    lost = {count: np.r_[np.zeros(count), np.ones(256 - count)] for count in (0, 1, 2)}
    room = {count: headroom(right, scores, 0.01, higher_is_better=True) for count, scores in lost.items()}
    assert room[0] == 0.01 and 0 < room[1] < 0.001 and room[2] < 0
    assert headroom(right, lost[2], 0.01, higher_is_better=True, groups=np.arange(256) // 64) < room[1]
