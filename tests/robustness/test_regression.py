"""A model whose answer is a number: flips, lost answers, and gains that pay for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.report.robustness_text import worst_cases
from tests.robustness.robots import Regression, cases_of, clipped, judge, make_bundle, measure

RULE = judge("mae", "0.5")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """300 samples, fewer than which pass nothing; the float model is off by 1."""
    folder = tmp_path_factory.mktemp("regression")
    return make_bundle(folder, 300, Regression(), label=lambda logits: logits[0] + 1.0)


def test_equal_models_pass_and_answers_without_a_number_are_left_out(bundle):
    found = measure(bundle, Regression(), Regression(), RULE, modalities=("camera",), severities=(3,))
    assert found["verdict"] == "pass" and found["limit"] == 0.5 and found["higher_is_better"] is False
    assert found["float"] == pytest.approx(1.0)
    burst = cases_of(found, name="NaN burst")[0]
    assert burst["float"]["value"] is None and burst["nonfinite"]["float"] == 300
    assert burst["verdict"] is None and burst["interaction"] is None


def test_flips_are_answers_that_are_farther_apart_than_the_limit(bundle):
    found = measure(bundle, clipped(Regression), Regression(), RULE, modalities=("camera",), severities=(1, 3))
    case = cases_of(found, name="values too large", severity=3)[0]
    assert case["verdict"] == "pass" and case["interaction"]["value"] < 0, "the clipped model is off by less"
    assert (
        case["flips"] > 0.9 and found["flips"] == 0.0 and cases_of(found, name="noise", severity=1)[0]["flips"] == 0.0
    )
    assert case["float"]["resistance"] < case["compiled"]["resistance"] and case["relative_resistance"] > 1
    assert found["means"][0]["uncredited"] > 0


def test_what_is_gained_in_one_case_does_not_pay_for_what_is_lost_in_another(bundle):
    """A model that is clipped above, and sees less than nothing in the dark."""

    def blind(name, array):
        return np.clip(array, -2.5, 2.5) - 4.0 * (name == "image" and np.ptp(array) < 1.0)

    found = measure(bundle, Regression(blind), Regression(), RULE, modalities=("camera",), severities=(3,))
    values = [case["interaction"]["value"] for case in found["cases"] if case["verdict"]]
    assert np.mean(values) < 0 < found["means"][0]["value"] and found["verdict"] == "fail"
    certain = {case["name"] for case in found["cases"] if case["verdict"] and case["interaction"]["certain"]}
    assert {"dark", "low contrast", "values too small", "missing"} <= certain
    assert not certain & {"values too large", "noise", "blur"}
    assert worst_cases(found)[0]["name"] in certain
