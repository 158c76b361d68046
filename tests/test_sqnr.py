"""The SQNR floor as a test: its interval, its verdicts, and outputs that are exact, empty or broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgefuse.fidelity import EXACT_DB, Fidelity, worst_db
from edgefuse.sqnr import MIN_SQNR_SAMPLES, judge_floor, shrunken_db, worst_interval
from edgefuse.verdict import Verdict


def output(noise_db, samples=200, seed=0, offset=0.0) -> Fidelity:
    """An output of ten normal values with noise so far below it in each sample, give or take 4 dB."""
    rng, fidelity = np.random.default_rng(seed), Fidelity("y")
    for _ in range(samples):
        reference = rng.normal(offset, 1, 10)
        spread = 10 ** (rng.normal(noise_db, 4) / 20) if noise_db is not None else 0.0
        fidelity.add(reference, reference + spread * rng.normal(size=10))
    return fidelity


def test_the_interval_holds_the_estimate_and_narrows_with_samples():
    few, many = (worst_interval([output(-30, count)]) for count in (50, 800))
    assert few[0] < worst_db([output(-30, 50)]) < few[1]
    assert (many[1] - many[0]) * 3 < few[1] - few[0]


def test_verdicts_on_either_side_of_the_floor():
    item = output(-30)
    low, high = worst_interval([item])
    assert judge_floor([item], low - 0.01).verdict is Verdict.PASS
    assert judge_floor([item], high + 0.01).verdict is Verdict.FAIL
    doubtful = judge_floor([item], item.sqnr_centered_db - 0.2)
    assert doubtful.verdict is Verdict.INCONCLUSIVE and doubtful.more_samples > 200


def test_what_an_inconclusive_verdict_asks_for_settles_it():
    item = output(-30, 100)
    floor_db = worst_db([item]) - 0.6
    found = judge_floor([item], floor_db)
    assert found.verdict is Verdict.INCONCLUSIVE
    grown = Fidelity("y", *([value for value in energies for _ in range(1 + found.more_samples // 100 + 1)]
                            for energies in (item.signal, item.noise, item.centered)))  # fmt: skip
    assert judge_floor([grown], floor_db).verdict is Verdict.PASS


def test_the_worst_output_decides():
    good, bad = output(-60), output(-10)
    assert worst_interval([good, bad]) == pytest.approx(worst_interval([bad]), abs=0.01)
    assert judge_floor([good, bad], 30.0).verdict is Verdict.FAIL


def test_the_mean_free_figure_decides_where_it_is_lower():
    item = output(-10, offset=100.0)
    low, high = worst_interval([item])
    assert low < item.sqnr_centered_db < high < item.sqnr_db - 30


@pytest.mark.parametrize(("noise_db", "expected"), [(None, EXACT_DB), (-280, 280.0)])
def test_outputs_that_are_exact_or_nearly_pass_without_nan(noise_db, expected):
    item = output(noise_db, MIN_SQNR_SAMPLES)
    if noise_db is not None:
        item.noise = [value / 10**28 for value in output(0, MIN_SQNR_SAMPLES).noise]
    found = judge_floor([item, output(None, MIN_SQNR_SAMPLES)], 200.0)
    assert found.verdict is Verdict.PASS and found.sqnr_db == pytest.approx(expected, abs=5)
    json.dumps(found.ci95, allow_nan=False)


def test_an_output_of_zeros_that_became_something_is_lost():
    item = Fidelity("y")
    for _ in range(20):
        item.add(np.zeros(3), np.ones(3))
    found = judge_floor([item], 30.0)
    assert found.verdict is Verdict.FAIL and found.ci95 == (-EXACT_DB, -EXACT_DB)


def test_one_sample_tells_nothing_but_nan_always_fails():
    single = judge_floor([output(-10, 1)], 30.0)
    assert single.verdict is Verdict.INCONCLUSIVE and single.more_samples == MIN_SQNR_SAMPLES - 1
    item = output(-60)
    item.nonfinite_mismatches = 1
    assert judge_floor([item], 30.0).verdict is Verdict.FAIL and shrunken_db([item]) == -EXACT_DB


def test_correlated_samples_of_a_recording_widen_the_interval():
    parts = [output(-30, 1, seed) for seed in range(20)]
    repeated = Fidelity("y", *([getattr(part, name)[0] for part in parts for _ in range(10)]
                               for name in ("signal", "noise", "centered")))  # fmt: skip
    groups = np.repeat(np.arange(20), 10)
    alone, grouped = worst_interval([repeated]), worst_interval([repeated], groups)
    assert grouped[1] - grouped[0] > 3 * (alone[1] - alone[0])  # √10, and what few recordings cost
    assert judge_floor([repeated], 0.0, groups // 5).verdict is Verdict.INCONCLUSIVE, "four recordings"


def test_a_search_expects_less_than_it_found():
    item = output(-30)
    low, _ = worst_interval([item])
    assert low < shrunken_db([item]) < worst_db([item])
    assert shrunken_db([output(None)]) == EXACT_DB
