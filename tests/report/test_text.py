"""The summary says the verdict first and then why; the terminal shows the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgefuse.report.text import print_report, summary_rows


def row(report: dict[str, Any], name: str) -> str:
    return dict(summary_rows(report))[name]


def test_summary_of_a_passing_report(report: dict[str, Any]) -> None:
    assert [name for name, _ in summary_rows(report)] == ["plan", "accuracy", "latency"]
    assert row(report, "plan").endswith("1.39x float; 2 threads")
    assert row(report, "accuracy") == (
        "top1 97.66 → 97.66, drop 0 pt (95 %: -0.407 … 0.407), limit 0.977 pt, 941 samples: pass"
    )
    assert "float p50 0.500 ms (1.13x); limit p90 20 ms: pass" in row(report, "latency")


def test_failing_arrow_names_itself(failed: dict[str, Any]) -> None:
    assert row(failed, "arrow") == "ONNX → INT8 ONNX failed (quantize): drop 0.31, 3.1 dB SQNR"


def test_latency_without_float_or_limit_claims_neither(failed: dict[str, Any]) -> None:
    failed["latency"] |= {"limit_p90_ms": None, "verdict": None}
    text = row(failed, "latency")
    assert "float" not in text and "limit" not in text


def test_open_accuracy_says_how_many_samples_are_missing(undecided: dict[str, Any]) -> None:
    assert "inconclusive, needs about 4383 more samples" in row(undecided, "accuracy")


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
