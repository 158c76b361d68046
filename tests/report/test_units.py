"""Numbers are written with as many digits as they deserve, and the ends of a scale are words."""

from __future__ import annotations

import pytest

from edgefuse.report.units import (
    count_text,
    decibels_text,
    drop_text,
    listed,
    p90_interval,
    percent,
    score_text,
    significant,
    size_text,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.97, "0.970"),
        (12.345, "12.3"),
        (1234.5, "1234"),
        (-0.301, "−0.301"),
        (0.00012345, "0.000123"),
        (1.234e-7, "1.23e−07"),
        (-5e12, "−5.00e+12"),
    ],
)
def test_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_decibels_at_the_ends_of_the_scale_are_words() -> None:
    assert [decibels_text(value) for value in (300.0, 37.16, -2.0, -300.0)] == [
        "identical",
        "37.2 dB",
        "−2.0 dB",
        "no signal left",
    ]


def test_p90_interval_is_widened_by_the_canary_either_way() -> None:
    for canary in (1.25, 0.8):
        low, high = p90_interval({"p90_ci95_ms": [1.0, 2.0], "canary_p90_ratio": canary})
        assert (low, high) == pytest.approx((0.8, 2.5))


def test_scores_of_custom_metrics_have_no_unit() -> None:
    assert (score_text(0.97662, "top1"), score_text(1.23456, "m.py:rmse")) == ("97.66 %", "1.235")
    assert (drop_text(-0.00106, "top1"), drop_text(0.5, "m.py:rmse")) == ("−0.106 pt", "0.500")


def test_lists_are_sentences() -> None:
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_sizes_counts_and_shares_have_the_unit_that_suits_them() -> None:
    assert [size_text(value) for value in (0, 640, 999, 1000, 999_900, 5_420_952)] == [
        "0 B",
        "640 B",
        "999 B",
        "1.00 KB",
        "1.00 MB",
        "5.42 MB",
    ]
    assert [count_text(value) for value in (0, 999, 2240, 148_367_360, 3_000_000_000)] == [
        "0",
        "999",
        "2.24 k",
        "148 M",
        "3.00 G",
    ]
    assert [percent(value) for value in (0.0, 0.004, 0.344, 1.0)] == ["0 %", "< 1 %", "34 %", "100 %"]
