"""The pictures show what the report says, whatever the figures, and the same figures give the same bytes."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import matplotlib
import pytest

from edgefuse.report.pictures import accuracy_picture, candidates_picture, latency_picture
from edgefuse.report.units import decibels_text, significant


def texts(svg: str | None) -> list[str]:
    """All texts of a picture; fails unless it is one well-formed element."""
    assert svg is not None
    return [item.text or "" for item in ElementTree.fromstring(svg).iter() if item.tag.endswith("text")]


def test_latency_marks_the_percentiles_of_both_models_and_the_limit(report: dict[str, Any]) -> None:
    found = texts(latency_picture(report["latency"]))
    assert {"0.500", "0.441", "2.66", "2.63", "p50", "p90", "p99", "float", "compiled"} <= set(found)
    assert "limit p90 20 ms" in found


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (0.001, "← limit p90 0.001 ms"),
        (0.2, "limit p90 0.2 ms"),
        (3.0, "limit p90 3 ms"),
        (9.0, "limit p90 9 ms"),
        (50.0, "limit p90 50 ms →"),
    ],
)
def test_latency_draws_the_limit_where_it_lies_and_points_to_one_that_is_far_away(
    report: dict[str, Any], limit: float, text: str
) -> None:
    report["latency"]["limit_p90_ms"] = limit
    assert text in texts(latency_picture(report["latency"]))


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_latency_of_any_size_has_at_least_three_ticks(report: dict[str, Any], factor: float) -> None:
    arm = report["latency"]["compiled"]
    arm["quantiles_ms"] = [factor * (1 + index / 1000) for index in range(101)]
    arm |= {f"p{level}_ms": arm["quantiles_ms"][level] for level in (50, 90, 99)}
    report["latency"] |= {"float": None, "limit_p90_ms": None, "p90_ci95_ms": [arm["p90_ms"]] * 2}
    labels = {"p50", "p90", "p99", "0 %", "compiled", *(significant(arm[f"p{level}_ms"]) for level in (50, 90, 99))}
    ticks = [text for text in texts(latency_picture(report["latency"])) if text not in labels]
    assert len(ticks) >= 4  # three and the axis's name


def test_latency_without_float_p99_or_limit_is_still_drawn(failed: dict[str, Any]) -> None:
    failed["latency"] |= {"limit_p90_ms": None, "verdict": None}
    found = texts(latency_picture(failed["latency"]))
    assert "compiled" in found and "float" not in found and "4.86" not in found


def test_latency_without_quantiles_has_no_picture(report: dict[str, Any]) -> None:
    del report["latency"]["compiled"]["quantiles_ms"]
    assert latency_picture(report["latency"]) is None


@pytest.mark.parametrize("kind", ["report", "failed", "undecided"])
def test_accuracy_gives_drop_interval_and_limit(kind: str, request: pytest.FixtureRequest) -> None:
    entry = request.getfixturevalue(kind)["accuracy"][0]
    found = texts(accuracy_picture(entry))
    low, high = (significant(100 * value) for value in entry["ci95"])
    assert any(f"(95 %: {low} … {high})" in text for text in found)
    assert f"limit {significant(100 * entry['limit'])} pt" in found and "no change" in found


def test_accuracy_survives_a_limit_of_zero_and_an_interval_of_no_width(report: dict[str, Any]) -> None:
    entry = report["accuracy"][0] | {"limit": 0.0, "ci95": [0.0, 0.0], "drop": 0.0, "metric": "m.py:rmse"}
    assert "limit 0" in texts(accuracy_picture(entry))


@pytest.mark.parametrize("found_db", [300.0, 37.0854, 0.0, -12.0, -300.0])
def test_sqnr_is_drawn_against_its_floor(unlabelled: dict[str, Any], found_db: float) -> None:
    found = texts(accuracy_picture(unlabelled["accuracy"][0] | {"candidate": found_db}))
    assert "floor 30 dB" in found and decibels_text(found_db) in found


def test_candidates_are_all_named_and_the_choice_is_marked(report: dict[str, Any]) -> None:
    found = texts(candidates_picture(report["plan"], report["accuracy"][0]))
    assert {"float", "bf16", "int8", "int8+bf16, chosen"} <= set(found)
    assert any(text.startswith("SQNR, dB") for text in found)  # all drop alike: the drop would show nothing


def test_the_front_the_choice_and_the_uniform_precisions_are_named(planned: dict[str, Any]) -> None:
    svg = candidates_picture(planned["plan"], planned["accuracy"][0])
    found = texts(svg)
    assert {"int8+bf16 parts, chosen", "bf16", "float", "int8+bf16"} <= set(found)
    assert "int8 parts, 1 thread" not in found and "≥80" in found
    assert svg is not None and "one of int8+bf16 parts, 1 thread, int8+bf16 parts, bf16, float" in svg


def test_many_candidates_are_drawn_and_only_the_front_is_named(crowded: dict[str, Any]) -> None:
    svg = candidates_picture(crowded["plan"], crowded["accuracy"][0])
    assert "int8 mixed 17, 1 thread, chosen" in texts(svg)
    assert not [text for text in texts(svg) if text.startswith("int8 mixed 3")]
    assert svg is not None and "20 candidates" in svg


def test_what_was_judged_at_a_glance_is_paler(planned: dict[str, Any]) -> None:
    pale = candidates_picture(planned["plan"], planned["accuracy"][0])
    for row in planned["plan"]["candidates"]:
        row["complete"] = True
    full = candidates_picture(planned["plan"], planned["accuracy"][0])
    assert pale is not None and full is not None
    assert pale.count("opacity: 0.4") == full.count("opacity: 0.4") + 7


def test_candidates_that_drop_differently_are_drawn_by_drop(failed: dict[str, Any]) -> None:
    found = texts(candidates_picture(failed["plan"], failed["accuracy"][0]))
    assert any(text.startswith("drop in top1") for text in found)
    assert "bf16" not in found  # it failed and has no figures; the table says why


def test_candidates_at_the_same_place_are_all_named(report: dict[str, Any]) -> None:
    for row in report["plan"]["candidates"]:
        row |= {"p50_ms": 0.5, "sqnr_db": 40.0}
    found = texts(candidates_picture(report["plan"], report["accuracy"][0]))
    assert {"float", "bf16", "int8", "int8+bf16, chosen"} <= set(found)


def test_one_candidate_is_no_comparison(report: dict[str, Any]) -> None:
    report["plan"]["candidates"] = report["plan"]["candidates"][:1]
    assert candidates_picture(report["plan"], report["accuracy"][0]) is None


def test_pictures_are_deterministic_and_leave_matplotlib_as_it_was(report: dict[str, Any]) -> None:
    before = dict(matplotlib.rcParams)
    first, second = (latency_picture(report["latency"]) for _ in range(2))
    assert first == second and dict(matplotlib.rcParams) == before


def test_pyplot_and_its_global_figures_are_not_used() -> None:
    code = "import sys, edgefuse.report.html; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_names_in_pictures_are_text_and_never_mathematics(report: dict[str, Any]) -> None:
    entry = report["accuracy"][0] | {"metric": "<b>&$\\frac{$"}
    assert any("<b>&$\\frac{$" in text for text in texts(accuracy_picture(entry)))
