"""Candidates, ways to run a part, and where the accuracy goes, as the page lists them."""

from __future__ import annotations

from typing import Any

import pytest

from edgefuse.report.losses import read_losses
from edgefuse.report.part_ways import read_ways, way_name
from edgefuse.report.tried import front, listed_rows


def test_a_short_table_is_not_folded(planned: dict[str, Any]) -> None:
    shown, folded = listed_rows(planned["plan"])
    assert (len(shown), folded) == (9, [])


def test_a_long_table_is_folded_and_still_shows_the_choice(crowded: dict[str, Any]) -> None:
    shown, folded = listed_rows(crowded["plan"])
    assert [row["name"] for row in shown][8:] == ["int8 mixed 17, 1 thread"] and len(folded) == 12
    assert sorted(row["name"] for row in [*shown, *folded]) == sorted(
        row["name"] for row in crowded["plan"]["candidates"]
    )


def row(name: str, p50_ms: float, passes: bool = True) -> dict[str, Any]:
    return {"name": name, "p50_ms": p50_ms, "passes": passes}


def test_front_holds_what_no_other_passing_plan_beats() -> None:
    rows = [row("slow", 3.0), row("fast", 1.0), row("beaten", 2.0), row("beyond", 0.5, passes=False), row("tie", 1.0)]
    accuracy = {"slow": 50.0, "fast": 40.0, "beaten": 39.0, "beyond": 90.0, "tie": 41.0}
    assert front(rows, accuracy) == ["tie", "slow"]
    assert front([row("beyond", 1.0, passes=False)], {"beyond": 1.0}) == []


@pytest.mark.parametrize(
    ("graph", "inference", "name"),
    [
        ("float", "f32", "float"),
        ("float", "bf16", "bf16"),
        ("int8", "f32", "int8"),
        ("int8-residuals", "bf16", "int8+bf16 residuals"),
        ("int8+fp16", "f32", "int8+fp16"),
        ("fp16", "bf16", "fp16 bf16"),
    ],
)
def test_a_way_is_called_as_its_candidate_is(graph: str, inference: str, name: str) -> None:
    assert way_name(graph, inference) == name


def test_each_cell_is_the_best_number_of_threads_and_one_way_is_the_fastest(planned: dict[str, Any]) -> None:
    ways = read_ways(planned["plan"])
    assert ways is not None and ways.planned == "int8+bf16 parts" and ways.planned in ways.names
    times = planned["plan"]["part_times"]
    for part, cells in ways.rows:
        assert [cell.fastest for cell in cells if cell is not None].count(True) == 1
        best = min(item["p50_ms"] for item in times if item["part"] == part)
        assert min(cell.p50_ms for cell in cells if cell is not None) == best
    assert all(
        cell.other_threads == (cell.threads != 2) for _, cells in ways.rows for cell in cells if cell is not None
    )


def test_a_part_that_lacks_a_way_has_a_hole_and_the_way_no_sum(planned: dict[str, Any]) -> None:
    times = planned["plan"]["part_times"]
    planned["plan"]["part_times"] = [t for t in times if (t["part"], t["inference"]) != ("camera", "bf16")]
    ways = read_ways(planned["plan"])
    assert ways is not None
    assert [value is None for value in ways.sums] == [cell is None for cell in ways.rows[0][1]]
    assert None in ways.sums


def test_error_shares_follow_from_the_decibels_and_the_worst_comes_first(planned: dict[str, Any]) -> None:
    losses = read_losses(planned["plan"])
    assert losses is not None and losses.drops and losses.blocks == ()
    assert [unit.name for unit in losses.parts] == ["trunk", "camera", "microphone"]
    noises = [10 ** (-unit.sqnr_db / 10) for unit in losses.parts]
    assert [unit.error_share for unit in losses.parts] == pytest.approx([noise / sum(noises) for noise in noises])
    assert sum(unit.macs_share or 0 for unit in losses.parts) == pytest.approx(1)


def test_blocks_stand_apart_in_the_models_order_with_shares_of_all_blocks(crowded: dict[str, Any]) -> None:
    losses = read_losses(crowded["plan"])
    assert losses is not None
    [(part, units)] = losses.blocks
    assert part == "camera" and [unit.place for unit in units] == [str(number) for number in range(1, 13)]
    assert sum(unit.error_share for unit in units) == pytest.approx(1) and len(losses.parts) == 3


def test_extreme_errors_and_unknown_macs_have_shares_too(planned: dict[str, Any]) -> None:
    for unit, found_db in zip(planned["plan"]["sensitivity"], (300.0, -300.0, 300.0)):
        unit |= {"sqnr_db": found_db, "macs": 0, "drop": None}
    losses = read_losses(planned["plan"])
    assert losses is not None and not losses.drops
    assert [unit.error_share for unit in losses.parts] == pytest.approx([1.0, 0.0, 0.0])
    assert [unit.macs_share for unit in losses.parts] == [None] * 3


def test_what_was_not_measured_is_left_out(report: dict[str, Any]) -> None:
    assert read_ways(report["plan"]) is None and read_losses(report["plan"]) is None
