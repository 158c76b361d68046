"""The page of a portable bundle says what waits for the device, and invents nothing in its place."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edgefuse.report.html import Figure, headline, render, straight_line
from tests.report.page import Page
from tests.report.test_graphs import finding


def words(report: dict[str, Any]) -> str:
    """The page's text without its pictures, whose axes have numbers of their own."""
    return Page(re.sub(r"<svg.*?</svg>", "", render(report), flags=re.DOTALL)).text


@pytest.mark.parametrize("kind", ["portable", "elsewhere"])
def test_no_figure_of_the_device_is_made_up(kind: str, request: pytest.FixtureRequest) -> None:
    text = words(request.getfixturevalue(kind))
    assert not re.search(r"0\.0|\bNone\b|\bnan\b|speed-up|×\s|\b0 threads", text)
    assert set(re.findall(r"[\d.]+ ms", text)) == {"20 ms"}


def test_badge_and_last_arrow_are_pending_and_the_figures_are_emulated(portable: dict[str, Any]) -> None:
    page = render(portable)
    assert 'class="badge pending"' in page and 'class="arrow pending"' in page and 'class="stage pending"' in page
    text = words(portable)
    assert "for jetson-orin-nano-8gb , asked for as jetson, tensorrt, made on AMD EPYC" in text
    assert "no figure yet" in text and "tensorrt on jetson-orin-nano-8gb" in text
    assert "So far , emulated, on 941 held-out samples" in text and "End to end" not in text
    assert "not on the device" in text and "emulated drop in top1" in Page(page).text
    assert "Not measured yet; only the device can measure it: edgefuse compile digits.edgefuse." in text


def test_commands_stand_in_code_blocks(portable: dict[str, Any]) -> None:
    portable["finish"]["trtexec"] += " '--onnx=<b>.onnx'"
    blocks = re.findall(r"<pre>(.*?)</pre>", render(portable), re.DOTALL)
    assert [Page(block).text.replace("  ", " ") for block in blocks] == [
        portable["finish"]["command"],
        portable["finish"]["trtexec"],
    ]


def test_cpu_has_one_command_and_no_graphs(elsewhere: dict[str, Any]) -> None:
    text = words(elsewhere)
    assert "Finish it on arm-cpu" in text and "As many threads as the device has cores" in text
    assert not re.search("(?i)nvidia|tensorrt|trtexec|graphs/", text)


def test_headline_has_the_limit_that_waits_and_how_much_is_int8(portable: dict[str, Any]) -> None:
    assert headline(portable) == [
        Figure("top1, emulated", "97.66 %", "float 97.66 %; drop 0 pt, limit 0.977 pt", "pass"),
        Figure("p90 latency", "–", "limit 20 ms; not measured yet", "pending"),
        Figure("operations in INT8", "16 of 16", "of all 86 operations, 16 are eligible"),
        Figure("bundle", "5.88 MB", "4 graphs and samples, no artifact yet"),
    ]
    portable["latency"] |= {"limit_p90_ms": None, "verdict": None}
    assert headline(portable)[1] == Figure("p90 latency", "–", "no limit given; not measured yet")
    assert "No limit was given." in words(portable)


def test_sqnr_is_emulated_too(portable: dict[str, Any], unlabelled: dict[str, Any]) -> None:
    portable["accuracy"] = [unlabelled["accuracy"][0] | {"emulated": True}]
    for row in [*portable["gates"], *portable["plan"]["candidates"]]:
        row["drop"] = None
    assert headline(portable)[0].name == "SQNR, worst output, emulated"
    assert "emulated SQNR of the worst output" in Page(render(portable)).text


def test_candidates_have_no_latency_columns_and_failed_ones_their_reason(portable: dict[str, Any]) -> None:
    reason = "ToolchainError: TensorRT-RTX runs <b>x as float"
    portable["plan"]["candidates"][3] |= {"failed": reason, "passes": False}
    text = words(portable)
    table = text[text.index("Which plan") : text.index("Plan part")]
    assert "p50" not in table and "p90" not in table and "int8 (first)" in table and reason in table
    assert "44.7 dB" in table and "Emulated, on the calibration samples" in table


def test_graphs_are_listed_with_nvidias_own_words_and_their_nodes(portable: dict[str, Any]) -> None:
    portable["graphs"][1]["float32_nodes"] = ["/head/<b>exp"]
    page = Page(render(portable))
    for expected in (
        "graphs/int8+fp16.onnx , 0.750 MB",
        "parsed and built with TensorRT-RTX 1.7.1.116 for SM86, 16 of 16 in INT8",
        "node_MatMul_112",
        "Operations in INT8 (16)",
        "Operations in FP32 (1) /head/<b>exp",
        "They say nothing of the device's own TensorRT",
        "Nothing found.",
    ):
        assert expected in page.text, expected
    assert "details" in page.tags and "tested on" not in page.text.lower()


def test_page_claims_no_parser_check_that_was_not_run(portable: dict[str, Any]) -> None:
    for graph in portable["graphs"]:
        graph["toolchain"] = {"verdict": "not run", "text": "not run: TensorRT-RTX is not installed"}
    text = words(portable)
    assert "not run: TensorRT-RTX is not installed" in text and "they prove" not in text


def test_findings_are_escaped_and_many_are_folded_away(portable: dict[str, Any]) -> None:
    for graph in portable["graphs"]:
        graph["lint"] = [finding(), *(finding("W5", f"concat{index}") for index in range(9))]
    portable["graphs"][0]["lint"] = [finding()]
    html = render(portable)
    page = Page(html)
    assert "<b>x" not in html and "W6 /nms/<b>x (NonZero, warning, in all graphs)" in page.text
    assert "in fp16, int8, int8+fp16" in page.text and "Keep it if the target has that library" in page.text
    assert "6 more" in page.text and "concat8" in page.text


def test_failed_portable_bundle_is_left_for_its_device(portable: dict[str, Any]) -> None:
    portable["verdict"] = portable["gates"][1]["verdict"] = portable["accuracy"][0]["verdict"] = "fail"
    text = words(portable)
    assert "Left for jetson-orin-nano-8gb" in text and "What failed here is judged again there." in text


def test_finished_report_has_the_devices_figures_and_both_machines(finished: dict[str, Any]) -> None:
    text = words(finished)
    for expected in (
        "measured on NVIDIA Jetson Orin Nano Developer Kit (aarch64, 6 cores, JetPack 6.2)",
        "Measured on",
        "36.4.3",
        "Exported on",
        "AMD EPYC",
        "End to end",
        "tensorrt 10.3.0.30",
        "int8 chosen",
        "speed-up 1.13×",
    ):
        assert expected in text, expected
    assert not [word for word in ("pending", "emulated", "trtexec", "6 threads") if word in text.lower()]
    assert headline(finished)[-1].detail == "4 graphs, artifact and held-out samples"


def test_boxes_of_the_straight_line_say_how_each_graph_was_made(portable: dict[str, Any]) -> None:
    assert [stage.detail for stage in straight_line(portable)] == [
        "state-dict",
        "by torch-dynamo",
        "Q/DQ in the graph",
        "tensorrt on jetson-orin-nano-8gb",
    ]
