"""SQNR and its traps."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.errors import ModelError
from edgefuse.fidelity import EXACT_DB, Fidelity, worst_db


def filled(references, candidates) -> Fidelity:
    fidelity = Fidelity("y")
    for reference, candidate in zip(references, candidates):
        fidelity.add(np.asarray(reference, np.float32), np.asarray(candidate, np.float32))
    return fidelity


def test_sqnr_is_the_ratio_of_signal_to_error_power():
    fidelity = filled([[10.0, 0.0]] * 3, [[10.0, 0.1]] * 3)
    assert fidelity.sqnr_db == pytest.approx(40.0, abs=1e-3)
    assert fidelity.max_abs == pytest.approx(0.1)


def test_identical_outputs_are_exact():
    assert filled([[1.0], [2.0]], [[1.0], [2.0]]).sqnr_db == EXACT_DB


def test_an_output_that_lost_its_input_shows_in_the_mean_free_figure_only():
    rng = np.random.default_rng(0)
    references = 100 + rng.normal(0, 1, (200, 4))
    fidelity = filled(references, np.full((200, 4), 100.0))
    assert fidelity.sqnr_db > 38
    assert fidelity.sqnr_centered_db == pytest.approx(0.0, abs=0.1)
    assert worst_db([fidelity]) == pytest.approx(0.0, abs=0.1)


def test_a_masked_logit_of_minus_infinity_is_left_out_when_both_have_it():
    fidelity = filled([[1.0, -np.inf]] * 2, [[1.0, -np.inf]] * 2)
    assert fidelity.nonfinite_mismatches == 0 and fidelity.sqnr_db == EXACT_DB


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_value_that_turned_nonfinite_is_counted_and_is_the_worst(wrong):
    fidelity = filled([[1.0, 2.0]] * 2, [[1.0, wrong]] * 2)
    assert fidelity.nonfinite_mismatches == 2 and worst_db([fidelity]) == -EXACT_DB


def test_a_changed_shape_is_refused_and_not_broadcast():
    with pytest.raises(ModelError, match="shape"):
        filled([np.zeros((1, 4))], [np.zeros((1, 1, 4))])


def test_centred_energies_add_up_and_each_has_the_variance_as_its_expectation():
    references = np.random.default_rng(0).normal(5, 1, (2000, 50))
    fidelity = filled(references, references)
    exact = ((references.astype(np.float32) - references.astype(np.float32).mean(axis=0)) ** 2).sum()
    assert sum(fidelity.centered) == pytest.approx(exact, rel=1e-5)
    assert np.mean(fidelity.centered[1:20]) == pytest.approx(50, rel=0.15)  # 19 draws of χ² with 50 degrees


def test_an_output_whose_shape_changes_has_no_mean_to_subtract():
    fidelity = filled([np.ones(3), np.ones(4)], [np.ones(3), np.zeros(4)])
    assert fidelity.sqnr_centered_db is None and fidelity.sqnr_db == pytest.approx(10 * np.log10(7 / 4))
