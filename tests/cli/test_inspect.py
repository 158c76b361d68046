"""What ``edgefuse inspect`` draws: the branches of a bundle with what was measured, and those of a model without."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from edgefuse.cli.branches_table import print_branches
from tests.report.conftest import crowded, planned, report  # noqa: F401


def printed(facts, capsys, width=80):
    print_branches(Console(width=width, highlight=False), facts)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_model_is_shown_with_its_branches_and_nothing_is_measured(cli, tiny_recipe):
    found = cli("inspect", tiny_recipe)
    assert found.code == 0
    for expected in ("camera ", "state ", "trunk ", "not measured", "1x8 float32, 32 B"):
        assert expected in found.out, expected
    facts = json.loads(cli("inspect", tiny_recipe, "--json").out)
    assert [part["name"] for part in facts["parts"]] == ["camera", "state", "trunk"]
    assert [part["latency_p50_ms"] for part in facts["parts"]] == [None] * 3
    assert [item["from"] for item in facts["boundary"]] == ["camera", "state"] and facts["cut"] is None


def test_an_onnx_file_has_a_branch_for_each_input(cli, tiny_onnx):
    facts = json.loads(cli("inspect", tiny_onnx, "--json").out)
    assert [part["name"] for part in facts["parts"]] == ["image", "state", "trunk"]


def test_a_bundle_of_one_asked_precision_shows_its_parts_and_streams(cli, tiny_bundle):
    found = cli("inspect", tiny_bundle)
    assert found.code == 0 and "not measured" not in found.out and "trunk" in found.out
    assert "streams    as they come" in found.out
    facts = json.loads(cli("inspect", tiny_bundle, "--json").out)
    assert [part["kind"] for part in facts["parts"]] == ["branch", "branch", "trunk"]


def test_what_cannot_be_cut_is_noted_and_the_rest_is_shown(cli, tiny_onnx, monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("shape inference [gave] up")

    monkeypatch.setattr("edgefuse.compile.parts.find_parts", refuse)
    found = cli("inspect", tiny_onnx)
    assert found.code == 0 and "logits" in found.out
    assert "not found: RuntimeError: shape inference [gave] up" in found.out
    assert json.loads(cli("inspect", tiny_onnx, "--json").out)["parts"] == []


def test_a_measured_plan_shows_times_precisions_tensors_and_the_split(planned, capsys):  # noqa: F811
    lines = printed(planned["plan"], capsys)
    assert lines[1].split() == ["part", "operations", "weights", "INT8", "p50", "precision"]
    assert lines[2].split() == ["camera", "11", "13", "%", "406", "KB", "0/4", "0.0561", "ms", "16", "%", "bf16"]
    assert lines[3].split() == ["└→", "1x128", "float32,", "512", "B", "relu_3"]
    assert lines[8].startswith("trunk") and lines[9].startswith("split      kept for streams")


@pytest.mark.parametrize("width", [80, 120])
def test_long_names_are_folded_and_never_cut(crowded, capsys, width):  # noqa: F811
    lines = printed(crowded["plan"], capsys, width)
    assert max(map(len, lines)) <= width and "…" not in "".join(lines)
    text = "".join("".join(lines).split())
    assert "front_left_camera_recti" in text and "MatMul_output_0toimu,trunk" in text and "sizenotfixed" in text


def test_a_plan_that_knows_no_parts_prints_nothing(report, capsys):  # noqa: F811
    assert printed(report["plan"], capsys) == []
