"""The page holds the whole report, needs nothing but itself, and says nothing that the user's names could forge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgefuse.report.html import Figure, headline, judged_stages, render, straight_line, write_html
from tests.report.page import Page

KINDS = (
    "report",
    "failed",
    "undecided",
    "unlabelled",
    "portable",
    "finished",
    "elsewhere",
    "checked",
    "planned",
    "crowded",
)


@pytest.mark.parametrize("kind", KINDS)
def test_page_is_well_formed_small_and_loads_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    text = render(request.getfixturevalue(kind))
    page = Page(text)
    assert page.open == []
    assert len(text.encode()) < 300_000
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert all(target.startswith("#") for target in [*page.all("href"), *page.all("xlink:href"), *page.all("src")])
    assert "@import" not in text and set(re.findall(r"url\((.)", text)) <= {"#"}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_unique_and_every_reference_is_met(kind: str, request: pytest.FixtureRequest) -> None:
    text = render(request.getfixturevalue(kind))
    ids = Page(text).all("id")
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)) <= {(i, "") for i in ids} | {("", i) for i in ids}


@pytest.mark.parametrize("kind", KINDS)
def test_colours_come_from_the_page_so_that_dark_mode_reaches_the_pictures(
    kind: str, request: pytest.FixtureRequest
) -> None:
    text = render(request.getfixturevalue(kind))
    figures = "".join(re.findall(r"<figure>.*?</figure>", text, re.DOTALL))
    assert figures and not re.findall(r"#[0-9a-fA-F]{6}\b(?=[;\"])", figures)
    used, defined = set(re.findall(r"var\((--\w+)\)", text)), set(re.findall(r"(--\w+):", text))
    assert used <= defined
    dark = text[text.index("prefers-color-scheme: dark") :]
    assert used - {"--font"} <= set(re.findall(r"(--\w+):", dark))


def test_same_report_gives_the_same_page(report: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_html(tmp_path / name, report)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_page_holds_the_figures_and_names(report: dict[str, Any]) -> None:
    text = Page(render(report)).text
    for expected in (
        "digits",
        "host",
        "97.66 %",
        "0.977 pt",
        "133.8 dB",
        "int8+bf16, chosen",
        "1×1×8×8",
        "microphone",
        "30 Hz",
        "256 calibrate, 941 are held out",
        "Float reference",
        "AMD EPYC",
        "2.48 MB",
        "logits",
    ):
        assert expected in text, expected


def test_user_supplied_names_are_escaped(report: dict[str, Any]) -> None:
    evil = "<script>alert('x')</script>&\"$x_1$"
    report["name"] = report["target"] = evil
    report["model"]["inputs"][0] |= {"name": evil, "stream": evil}
    report["model"] |= {"outputs": [evil], "notes": [evil]}
    report["accuracy"][0] |= {"metric": evil, "output": evil}
    report["fidelity"][0]["output"] = evil
    report["plan"]["candidates"].append({"name": evil, "precision": evil, "passes": False, "failed": evil})
    page = Page(render(report))
    assert "script" not in page.tags and page.open == []
    assert page.text.count("<script>") >= 9


def test_what_was_not_measured_is_said_with_its_reason(failed: dict[str, Any]) -> None:
    failed["fidelity"][0]["sqnr_centered_db"] = None
    text = Page(render(failed)).text
    for reason in (
        "the bundle holds no float graph",
        "no float latency",
        "needs 662 runs, had 64",
        "needs several samples of one shape",
    ):
        assert f"not measured: {reason}" in text


def test_report_without_quantiles_says_that_the_distribution_is_missing(report: dict[str, Any]) -> None:
    for arm in ("float", "compiled"):
        del report["latency"][arm]["quantiles_ms"]
    assert "not measured: this report holds no quantiles_ms" in Page(render(report)).text


def test_report_of_a_check_claims_neither_a_target_nor_graphs(checked: dict[str, Any]) -> None:
    text = Page(render(checked)).text
    assert "int8+bf16, chosen" in text and "measured on AMD EPYC" in text and "2 threads" in text
    assert not [word for word in ("Graphs", "NVIDIA", "pending", "emulated", "Finish", "for host") if word in text]


def test_openvino_report_says_nothing_of_graphs_for_nvidia(report: dict[str, Any]) -> None:
    answer = {"verdict": "not run", "text": "not run: only for TensorRT; openvino compiles the graph itself"}
    graph = {"graph": "int8", "file": "model.onnx", "size_bytes": 1, "lint": [], "toolchain": answer}
    assert render(report | {"graphs": [graph], "finish": None}) == render(report)


def test_report_of_a_check_has_fewer_sections_and_still_a_page(report: dict[str, Any]) -> None:
    kept = {key: report[key] for key in ("verdict", "accuracy", "fidelity", "latency")}
    text = Page(render(kept)).text
    assert "97.66 %" in text and "The straight line" not in text and "Candidates" not in text


def test_failed_candidates_are_listed_with_the_reason(failed: dict[str, Any]) -> None:
    assert "CrashError: died of signal 11" in Page(render(failed)).text


def test_nonfinite_outputs_are_pointed_out(report: dict[str, Any]) -> None:
    report["fidelity"][0]["nonfinite_mismatches"] = 3
    assert "NaN or infinity in 3 places" in Page(render(report)).text.replace("  ", " ")


def test_straight_line_has_a_box_for_each_model_and_a_gate_for_each_arrow(report: dict[str, Any]) -> None:
    stages = straight_line(report)
    assert [stage.name for stage in stages] == ["float model", "ONNX", "INT8 ONNX", "compiled int8+bf16"]
    assert [stage.gate and stage.gate["name"] for stage in stages] == [None, "export", "quantize", "compile"]
    assert [stage.detail for stage in stages] == [
        "state-dict",
        "by torch-dynamo",
        "Q/DQ in the graph",
        "openvino 2026.4.1",
    ]


def test_headline_carries_the_verdict_only_where_there_is_a_limit(report: dict[str, Any]) -> None:
    report["latency"] |= {"limit_p90_ms": None, "verdict": None}
    assert headline(report) == [
        Figure("top1", "97.66 %", "float 97.66 %; drop 0 pt, limit 0.977 pt", "pass"),
        Figure("p90 latency", "2.63 ms", "no limit given"),
        Figure("speed-up", "1.13×", "p50 0.500 → 0.441 ms"),
        Figure("bundle", "2.48 MB", "graph, artifact and held-out samples"),
    ]
    render(report)


def test_plan_is_told_with_its_parts_its_ways_and_where_the_accuracy_goes(planned: dict[str, Any]) -> None:
    text = Page(render(planned)).text
    for expected in (
        "Which plan",
        "int8+bf16 parts (chosen)",
        "32 (glance)",
        "microphone 10 Hz",
        "62 operations (72 %), 620 KB of weights, INT8 13 of 13",
        "1×128 float32, 512 B",
        "kept for streams: at the declared rates",
        "12.1 ms of computing a second as a whole",
        "Each part in each way to run it",
        "Where does the accuracy go?",
        "38.9 dB",
    ):
        assert expected in text, expected
    assert "<details" not in render(planned)


def test_long_tables_are_folded_and_blocks_too(crowded: dict[str, Any]) -> None:
    html = render(crowded)
    text = Page(html).text
    assert "12 more" in text and "camera, block by block (12)" in text and html.count("<details") == 2
    assert "ended the search" in text and "CrashError: died" in text and "not kept: " in text
    assert "<b>language" in text and "goal_ input" in text and "size not fixed , to imu, trunk" in text


@pytest.mark.parametrize("kind", ["report", "portable", "elsewhere", "finished"])
def test_report_without_parts_has_no_empty_sections(kind: str, request: pytest.FixtureRequest) -> None:
    text = Page(render(request.getfixturevalue(kind))).text
    assert not [title for title in ("Branches", "Each part", "Where does the accuracy") if title in text]


def test_part_without_a_time_says_why(planned: dict[str, Any]) -> None:
    planned["plan"]["parts"][0] |= {"latency_p50_ms": None, "latency_reason": "the vendor refused it"}
    assert "not measured: the vendor refused it" in Page(render(planned)).text


def test_what_a_call_runs_is_what_the_accuracy_spans(planned: dict[str, Any], portable: dict[str, Any]) -> None:
    assert [stage.detail for stage in straight_line(planned)][-2:] == ["openvino 2026.4.1", "4 parts"]
    assert (judged_stages(planned), judged_stages(portable)) == (4, 3)
    planned["plan"]["cut"]["calls"] = "parts"
    assert judged_stages(planned) == 5
