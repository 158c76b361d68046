"""The summary says the verdict first and then why; the terminal shows the same rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgefuse.report.text import commands, lint_rows, print_report, summary_rows
from tests.report.test_graphs import finding


def row(report: dict[str, Any], name: str) -> str:
    return dict(summary_rows(report))[name]


def test_summary_of_a_passing_report(report: dict[str, Any]) -> None:
    assert [name for name, _ in summary_rows(report)] == ["plan", "accuracy", "latency"]
    assert row(report, "plan").endswith("calibration samples; 2 threads")
    assert row(report, "accuracy") == (
        "top1 97.66 → 97.66, drop 0 pt (95 %: -0.407 … 0.407), limit 0.977 pt, 941 samples: pass"
    )
    assert "float p50 0.500 ms (1.13x); limit p90 20 ms: pass" in row(report, "latency")


def test_failing_arrow_names_itself(failed: dict[str, Any]) -> None:
    assert row(failed, "arrow") == "ONNX → INT8 ONNX failed (quantize): drop 31.0 pt, 3.1 dB SQNR"


def test_precisions_that_auto_left_out_are_named_with_the_reason(failed: dict[str, Any]) -> None:
    assert [text for name, text in summary_rows(failed) if name == "left out"] == [
        "bf16 failed: CrashError: died of signal 11",
        "int8 is beyond the limit on the calibration samples (top1 drops by 31.0 pt, 3.1 dB SQNR)",
    ]


def test_precisions_that_fail_alike_share_a_row(portable: dict[str, Any]) -> None:
    rows = portable["plan"]["candidates"]
    portable["plan"] |= {"name": "fp16", "precision": "fp16", "candidates": rows[:2]}
    rows[2:] = [
        {"name": name, "precision": name, "passes": False, "failed": "ModelError: …"} for name in ("int8", "int8+fp16")
    ]
    portable["plan"]["candidates"] = rows
    assert row(portable, "left out") == "int8, int8+fp16 failed: ModelError: …"


def test_branches_and_split_have_a_row_each(planned: dict[str, Any]) -> None:
    assert [name for name, _ in summary_rows(planned)] == ["plan", "branches", "split", "accuracy", "latency"]
    assert row(planned, "branches").startswith("camera 0.0561 ms bf16 · ")
    assert row(planned, "split").endswith("on 3 of 256 samples, at most 0.0594 apart")


def test_a_search_that_was_cut_short_says_so_once(planned: dict[str, Any]) -> None:
    early = "the time budget of 9 s ended the search"
    planned["plan"]["ended_early"] = early
    assert row(planned, "plan").count(early) == 1
    planned["plan"]["reason"] += f" ({early})"
    assert row(planned, "plan").count(early) == 1


def test_threads_are_not_said_twice(planned: dict[str, Any]) -> None:
    planned["plan"] |= {"name": "int8, 1 thread", "threads": 1, "reason": "int8, 1 thread: the fastest"}
    assert row(planned, "plan") == "int8, 1 thread: the fastest"


def test_many_plans_beyond_the_limit_share_a_row_and_threads_do_not_count(planned: dict[str, Any]) -> None:
    for candidate in planned["plan"]["candidates"]:
        candidate |= {"passes": False, "drop": None}
    assert row(planned, "left out") == (
        "int8 (39.5 dB), int8 parts (39.4 dB), bf16 (51.3 dB) and 2 more are beyond the limit on the calibration "
        "samples"
    )


def test_a_plan_within_the_limit_that_was_not_taken_says_why(failed: dict[str, Any]) -> None:
    """The search wants the limit kept with standard errors to spare: "beyond the limit" would be a contradiction."""
    candidate = next(item for item in failed["plan"]["candidates"] if item["name"] == "int8")
    candidate["drop"] = failed["accuracy"][0]["limit"] / 2
    assert [text for name, text in summary_rows(failed) if name == "left out"][-1].startswith(
        "int8 is within the limit on the calibration samples, but not by a safe margin (top1 drops by 0.488 pt"
    )


def test_check_says_nothing_of_what_the_compilation_left_out(failed: dict[str, Any]) -> None:
    kept = {key: failed[key] for key in ("verdict", "plan", "accuracy", "latency")}
    assert "left out" not in dict(summary_rows(kept))


def test_latency_without_float_or_limit_claims_neither(failed: dict[str, Any]) -> None:
    failed["latency"] |= {"limit_p90_ms": None, "verdict": None}
    text = row(failed, "latency")
    assert "float" not in text and "limit" not in text


def test_open_accuracy_says_how_many_samples_are_missing(undecided: dict[str, Any]) -> None:
    assert "inconclusive, needs about 4,400 more samples" in row(undecided, "accuracy")


def test_open_latency_says_how_noisy_the_machine_is(report: dict[str, Any]) -> None:
    report["latency"] |= {"verdict": "inconclusive", "canary_p90_ratio": 0.82}
    assert "differs from itself by 18%" in row(report, "latency")


def test_accuracy_without_labels_is_called_agreement(report: dict[str, Any]) -> None:
    report["accuracy"][0]["labels"] = False
    assert row(report, "accuracy").startswith("top1 (agreement with the float model)")


def test_sqnr_is_given_in_decibels_with_its_floor(unlabelled: dict[str, Any]) -> None:
    text = row(unlabelled, "accuracy")
    assert text.startswith("37.1 dB SQNR of the worst output") and "at least 30 dB" in text and text.endswith("pass")


def test_report_of_a_check_has_no_plan(report: dict[str, Any]) -> None:
    kept = {key: report[key] for key in ("verdict", "accuracy", "latency")}
    assert [name for name, _ in summary_rows(kept)] == ["accuracy", "latency"]


def test_verdict_is_printed_first_and_the_bundle_last(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(report, Path("rover.edgefuse"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["verdict", "PASS"]
    assert "rover.edgefuse/report.html" in lines[-1].replace("\\", "/")


def printed(report: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    print_report(report, Path("digits.edgefuse"))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("kind", ["planned", "crowded"])
def test_no_line_of_a_terminal_is_longer_than_it_is_wide(
    kind: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(map(len, printed(request.getfixturevalue(kind), capsys, monkeypatch))) <= 80


def test_pending_says_what_waits_for_which_device_and_why(
    portable: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(portable, capsys, monkeypatch)
    text = " ".join(" ".join(lines).split())
    assert lines[0] == "verdict   PENDING: what can be judged without the device passed"
    assert "accuracy top1 (emulated) 97.66 → 97.66" in text
    assert (
        "latency not measured yet, only the device can measure it: edgefuse compile digits.edgefuse; limit p90 20"
        in text
    )
    assert (
        "pending compilation, accuracy on the device and latency wait for jetson-orin-nano-8gb: there is no NVIDIA "
        "driver here that works" in text
    )


def test_commands_stand_on_lines_of_their_own_and_are_never_broken(
    portable: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    portable["finish"]["trtexec"] += " --minShapes=image:car:1x3x96x96,[b]:1"  # neither an emoji nor markup
    lines = printed(portable, capsys, monkeypatch)
    for command in (portable["finish"]["command"], portable["finish"]["trtexec"]):
        assert f"  {command}" in lines
    assert max(len(line) for line in lines if "trtexec" not in line) <= 80


@pytest.mark.parametrize("kind", ["portable", "elsewhere"])
def test_no_figure_of_the_device_is_made_up(
    kind: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "\n".join(printed(request.getfixturevalue(kind), capsys, monkeypatch))
    assert not re.search(r"0\.0|None|\bnan\b|\dx\b", text)
    assert set(re.findall(r"[\d.]+\s+ms", text)) == {"20 ms"}


def test_finished_report_is_no_longer_pending(
    finished: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(printed(finished, capsys, monkeypatch))
    assert "PASS" in text and "(1.13x)" in text and "TensorRT-RTX" in text
    assert not [word for word in ("pending", "emulated", "trtexec", "finish", "threads") if word in text.lower()]


def test_cpu_report_says_nothing_of_nvidia(elsewhere: dict[str, Any]) -> None:
    text = str([*summary_rows(elsewhere), *lint_rows(elsewhere), *commands(elsewhere)])
    assert "edgefuse compile digits.edgefuse" in text and not re.search("(?i)nvidia|tensorrt|trtexec|int8.onnx", text)


def test_lint_warnings_are_told_once_with_the_cure_and_many_are_counted(portable: dict[str, Any]) -> None:
    for graph in portable["graphs"]:
        graph["lint"] = [finding(), *(finding("W5", f"concat{index}", cure="Share it.") for index in range(5))]
    rows = lint_rows(portable)
    assert [name for name, _ in rows] == ["lint W6", *["lint W5"] * 4]
    assert rows[0][1].startswith("/nms/<b>x: NonZero, which makes 'y'") and rows[0][1].endswith("(JetPack does).")
    assert rows[1][1].endswith("Share it.") and not rows[2][1].endswith("Share it.")
    assert rows[-1][1] == "2 more of this kind: in the report"


def test_failed_bundle_of_a_device_that_is_away_does_not_call_it_finished(portable: dict[str, Any]) -> None:
    assert commands(portable | {"verdict": "fail"})[0][0] == "left for jetson-orin-nano-8gb"
    portable["finish"]["command"] += ".zip"
    assert "in the unzipped bundle" in commands(portable)[1][0]


def test_outputs_that_are_not_judged_are_marked_as_emulated(portable: dict[str, Any]) -> None:
    portable["fidelity"].append({**portable["fidelity"][0], "output": "heading"})
    assert row(portable, "not judged") == "heading (43.9 dB SQNR, emulated)"


def test_an_estimate_is_a_bound_and_says_what_it_assumes(portable, capsys):
    estimate = {"at_least_ms": {"float": 0.0183, "int8": 0.0124}, "assumes": "roofline (unverified figures)"}
    print_report({**portable, "estimate": estimate})
    said = " ".join(capsys.readouterr().out.split())
    assert "estimate at least 0.0183 ms (float), 0.0124 ms (int8): roofline (unverified figures)" in said


def test_kernels_and_notes_of_an_engine_are_told(report, capsys):
    plan = {**report["plan"], "kernels": {"int8": 16, "fp16": 20}}
    latency = {**report["latency"], "notes": ["no CUDA graph: dynamic shapes"]}
    print_report({**report, "plan": plan, "latency": latency})
    said = " ".join(capsys.readouterr().out.split())
    assert "kernels: 16 int8, 20 fp16" in said and "note no CUDA graph: dynamic shapes" in said


def test_where_edgefuse_cannot_run_only_trtexec_is_named(portable, capsys):
    print_report({**portable, "finish": {**portable["finish"], "command": None}})
    said = capsys.readouterr().out
    assert "without Python" not in said and "on jetson-orin-nano-8gb, in the bundle's folder" in said
