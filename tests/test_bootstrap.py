"""The bootstrap-t against oracles: a plain loop, scipy's Student, and data without spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgefuse.bootstrap import STEEPEST, UNSEEN, by_group, ratio_errors, ratio_intervals, student_quantile


def interval(top, bottom=None, logarithmic=False):
    bottom = np.ones_like(top) if bottom is None else bottom
    low, high = ratio_intervals(top[:, np.newaxis], bottom[:, np.newaxis], logarithmic=logarithmic)
    return float(low[0]), float(high[0])


def plain_bootstrap_t(data, resamples=20_000):
    """The textbook's loop over resamples of a mean, and the quantiles of its statistic."""
    rng, error = np.random.default_rng(99), data.std(ddof=1) / np.sqrt(len(data))
    found = []
    for _ in range(resamples):
        again = rng.choice(data, len(data))
        found.append((again.mean() - data.mean()) / (again.std(ddof=1) / np.sqrt(len(data))))
    low, high = np.quantile(found, (0.025, 0.975))
    return data.mean() - high * error, data.mean() - low * error


def test_skewed_data_get_the_bootstrap_t_and_the_tail_that_was_not_drawn():
    data = np.random.default_rng(3).lognormal(0, 1, 120)
    tail = (1 + UNSEEN / 120) / 120 * (data.max() - data.mean())
    _, high = interval(data)
    assert high - tail == pytest.approx(plain_bootstrap_t(data)[1], rel=0.02)  # two Monte Carlo runs of a 2.5 % tail


def test_an_interval_is_never_narrower_than_students():
    data = -np.random.default_rng(3).lognormal(0, 1, 40)  # the bootstrap-t alone is narrower above
    student = stats.t.interval(0.95, 39, data.mean(), stats.sem(data))
    assert plain_bootstrap_t(data, 5000)[1] < student[1] <= interval(data)[1]


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 29, 999])
def test_student_quantile_equals_scipys(freedom):
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30])
def test_data_without_spread_have_an_interval_without_width(value):
    assert interval(np.full(300, value)) == pytest.approx((value, value), rel=1e-9)


def test_a_ratio_without_spread_has_an_interval_without_width():
    signal = np.random.default_rng(0).lognormal(0, 2, 50)
    assert interval(1e-12 * signal, signal, logarithmic=True) == pytest.approx((1e-12, 1e-12), rel=1e-6)


def test_one_sample_that_differs_among_many_equal_ones_gives_a_wide_and_finite_interval():
    data = np.zeros(1000)
    data[0] = 1.0
    low, high = interval(data)
    assert high > STEEPEST * data.mean() and np.isfinite([low, high]).all()
    assert np.isfinite(interval(data, logarithmic=True)).all()


@given(st.floats(1e-25, 1e25), st.floats(1e-25, 1e25), st.booleans())
@settings(max_examples=25, deadline=None)
def test_units_of_measurement_do_not_matter(top, bottom, logarithmic):
    rng = np.random.default_rng(1)
    noise, signal = rng.lognormal(0, 1, 40), rng.lognormal(0, 0.5, 40)
    expected = np.array(interval(noise, signal, logarithmic)) * top / bottom
    assert interval(noise * top, signal * bottom, logarithmic) == pytest.approx(expected, rel=1e-6)


def test_several_ratios_at_once_are_those_one_by_one():
    rng = np.random.default_rng(2)
    top, bottom = rng.lognormal(0, 1, (2, 60, 3))
    low, high = ratio_intervals(top, bottom)
    for index in range(3):
        assert interval(top[:, index], bottom[:, index]) == pytest.approx((low[index], high[index]), rel=1e-9)


def test_the_error_of_a_mean_is_scipys_and_groups_are_summed():
    data = np.random.default_rng(0).normal(size=(50, 1))
    assert ratio_errors(data, np.ones_like(data))[1] == pytest.approx(stats.sem(data))
    assert by_group(np.array([[1.0, 2.0, 4.0]]), np.array([7, 3, 7])).tolist() == [[2.0, 5.0]]
