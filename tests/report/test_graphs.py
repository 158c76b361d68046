"""What the report says of the graphs for TensorRT is NVIDIA's word and the linter's, each once."""

from __future__ import annotations

from typing import Any

import pytest

from edgefuse.report.graphs import graph_facts, lint_findings, parser_answers

BUILT = "parsed and built with TensorRT-RTX 1.7.1.116 for SM86"
AWAY = "not run: TensorRT-RTX is not installed (pip install 'edgefuse[trt-check]')"
PLUGIN = "not run: TensorRT-RTX has no plugins, and the graph uses NonZero"


def finding(rule: str = "W6", node: str = "/nms/<b>x", **changed: str) -> dict[str, Any]:
    """An entry of a graph's ``lint``."""
    found = {
        "rule": rule,
        "severity": "warning",
        "node": node,
        "op": "NonZero",
        "message": "NonZero, which makes 'y', is a plugin of TensorRT: it works where libnvinfer_plugin is loaded",
        "cure": "Keep it if the target has that library (JetPack does).",
    }
    return {**found, **changed}


def answered(graph: dict[str, Any], text: str) -> None:
    graph["toolchain"] = {"verdict": "not run", "text": text}


def test_one_row_holds_nvidias_answer_for_all_graphs(portable: dict[str, Any]) -> None:
    assert parser_answers(portable) == [f"{BUILT}: float, fp16, int8 (16 of 16 in INT8), int8+fp16 (16 of 16 in INT8)"]


def test_graph_with_another_answer_has_a_row_of_its_own(portable: dict[str, Any]) -> None:
    answered(portable["graphs"][0], PLUGIN)
    assert parser_answers(portable) == [
        f"{BUILT}: fp16, int8 (16 of 16 in INT8), int8+fp16 (16 of 16 in INT8)",
        f"float: {PLUGIN}",
    ]


def test_check_that_was_not_run_is_said_once(portable: dict[str, Any]) -> None:
    for graph in portable["graphs"]:
        answered(graph, AWAY)
    assert parser_answers(portable) == [AWAY]


@pytest.mark.parametrize("kind", ["elsewhere", "checked", "report"])
def test_other_reports_have_no_graphs_to_speak_of(kind: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(kind)
    assert (graph_facts(report), parser_answers(report), lint_findings(report)) == ([], [], [])


def test_facts_count_every_precision_and_quote_nvidia(portable: dict[str, Any]) -> None:
    portable["graphs"][1]["float32_nodes"] = ["/exp"]
    found = {graph.name: graph for graph in graph_facts(portable)}
    assert found["float"].precisions == (("FP32", "all operations"),)
    assert found["fp16"].precisions == (("FP16", "all operations, less those in FP32"), ("FP32", "1 operation"))
    assert found["int8"].precisions == (("INT8", "16 of 16 eligible operations"), ("FP32", "the other 70 operations"))
    assert [name for name, _ in found["int8+fp16"].precisions] == ["INT8", "FP16", "FP32"]
    assert found["int8+fp16"].precisions[-1] == ("FP32", "nothing")
    assert found["int8"].answer == f"{BUILT}, 16 of 16 in INT8" and found["int8"].parsed
    assert len(found["int8"].int8_nodes) == 16 and found["fp16"].float32_nodes == ("/exp",)


def test_plans_graph_is_first_until_the_device_has_chosen(portable: dict[str, Any], finished: dict[str, Any]) -> None:
    assert [graph.mark for graph in graph_facts(portable)] == ["", "", "first", ""]
    finished["plan"] |= {"precision": "tf32", "graph": "float"}
    assert [graph.mark for graph in graph_facts(finished)] == ["chosen", "", "", ""]


def test_finding_of_several_graphs_is_one_with_their_names(portable: dict[str, Any]) -> None:
    portable["graphs"][0]["lint"] = [finding(), finding()]
    portable["graphs"][2]["lint"] = [finding(), finding("W5")]
    assert [(item["rule"], item["graphs"]) for item in lint_findings(portable)] == [
        ("W6", ["float", "int8"]),
        ("W5", ["int8"]),
    ]
