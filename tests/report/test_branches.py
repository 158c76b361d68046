"""What is said of the parts is what the report holds: shares add up, a missing time is no zero."""

from __future__ import annotations

from typing import Any

import pytest

from edgefuse.parts import Part, Partition
from edgefuse.report.branches import (
    branches_text,
    calls_text,
    costs_text,
    equality_text,
    kept_text,
    picture_rows,
    read_parts,
    unmeasured,
)
from edgefuse.spec import TensorSpec


def test_parts_have_shares_that_add_up_and_their_own_tensors(planned: dict[str, Any]) -> None:
    parts = read_parts(planned["plan"])
    assert [part.name for part in parts] == ["camera", "microphone", "keyboard", "trunk"]
    assert [part.trunk for part in parts] == [False, False, False, True]
    assert sum(part.operations_share for part in parts) == pytest.approx(1)
    assert sum(part.time_share or 0 for part in parts) == pytest.approx(1)
    assert [(item.name, item.form, item.size) for item in parts[0].tensors] == [("relu_3", "1×128 float32", "512 B")]
    assert (parts[0].int8, parts[0].quantized, parts[1].int8, parts[2].int8) == ("0 of 4", False, "13 of 13", "")
    assert parts[3].answers == ("logits",) and parts[3].own_inputs == ()


def test_a_part_that_was_not_measured_leaves_no_shares(planned: dict[str, Any]) -> None:
    planned["plan"]["parts"][1] |= {"latency_p50_ms": None, "latency_reason": "refused"}
    parts = read_parts(planned["plan"])
    assert [part.time_share for part in parts] == [None] * 4
    assert (parts[1].time, parts[1].reason) == ("not measured", "refused")


@pytest.mark.parametrize("kind", ["report", "portable", "finished", "elsewhere", "unlabelled"])
def test_a_report_that_knows_no_parts_has_none(kind: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(kind)
    assert read_parts(report["plan"]) == [] and branches_text(report["plan"]) is None
    assert picture_rows(report) == ([], None)


def test_picture_has_a_row_for_each_branch_and_for_each_stream_that_the_trunk_reads(crowded: dict[str, Any]) -> None:
    lanes, trunk = picture_rows(crowded)
    assert [lane.part.name if lane.part else None for lane in lanes][-2:] == ["<b>language", None]
    assert [source.stream for source in lanes[-1].sources] == ["goal"] and lanes[-1].sources[0].inputs == (
        "goal_input",
    )
    assert trunk is not None and lanes[0].sources[0].rate == "30 Hz"
    assert lanes[0].part and lanes[0].part.tensors[0].readers == ("imu", "trunk")
    assert lanes[0].part.tensors[0].size == "size not fixed"


def test_streams_that_never_meet_are_branches_without_a_trunk(planned: dict[str, Any]) -> None:
    plan = planned["plan"]
    plan |= {"parts": plan["parts"][:2], "boundary": []}
    lanes, trunk = picture_rows(planned)
    assert len(lanes) == 2 and trunk is None
    assert branches_text(plan) == "camera 0.0561 ms bf16 · microphone 0.172 ms int8+bf16"


def test_one_sentence_names_a_common_precision_once(planned: dict[str, Any]) -> None:
    assert branches_text(planned["plan"]) == (
        "camera 0.0561 ms bf16 · microphone 0.172 ms int8+bf16 · keyboard 0.0916 ms bf16 → trunk 0.0295 ms int8+bf16"
    )
    for part in planned["plan"]["parts"]:
        part["precision"] = "bf16"
    assert str(branches_text(planned["plan"])).endswith("keyboard 0.0916 ms → trunk 0.0295 ms (all bf16)")


def test_whether_parts_are_kept_is_said_with_the_reason(planned: dict[str, Any]) -> None:
    cut = planned["plan"]["cut"]
    assert kept_text(cut).startswith("kept for streams: at the declared rates it takes 2.8 times less")
    assert kept_text(cut | {"calls": "parts"}).startswith("kept, for calls too: ")
    assert kept_text(cut | {"kept": False, "reason": "no gain"}) == "not kept: no gain"
    assert equality_text(cut) == "equal to the whole bit for bit on 3 of 256 samples, at most 0.0594 apart"
    assert equality_text(cut | {"equal": 256}) == "equal to the whole bit for bit on all 256 samples"
    assert costs_text(cut) == "12.1 ms of computing a second as a whole, 4.38 ms part by part"
    assert costs_text(cut | {"stream_ms_per_s": None}) is None
    assert "at the same time" in calls_text(cut) and "same time" not in calls_text(cut | {"parallel_p50_ms": None})


def test_a_partition_that_was_not_measured_reads_like_a_plan() -> None:
    feature = TensorSpec("f", (1, 4), "uint8", None, "a")
    found = Partition((Part("a", ("a",), ("x",), ("f",), (), 1, 8, 16), Part("trunk", ("a", "b"), ("f", "y"), ("z",))),
                      (feature,))  # fmt: skip
    branch, trunk = read_parts(unmeasured(found, "nobody looked"))
    assert (branch.time, branch.reason, branch.tensors[0].size) == ("not measured", "nobody looked", "4 B")
    assert trunk.trunk and trunk.own_inputs == ("y",) and trunk.answers == ("z",)
