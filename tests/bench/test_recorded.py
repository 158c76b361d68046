"""A bench against those recorded before it."""

from __future__ import annotations

import pytest

from edgefuse.bench.recorded import LAST, judge_recorded


def test_fewer_than_five_recorded_runs_say_nothing(report, lines) -> None:
    for count in (0, 4):
        found = judge_recorded(report(9.0), lines(count))
        assert found["verdict"] == "inconclusive" and found["comparison"]["p90_ratio"] is None
        assert f"{count} of the 5" in found["comparison"]["why"]


def test_as_fast_as_ever_passes_and_much_slower_fails(report, lines) -> None:
    same = judge_recorded(report(2.0), lines(10))
    assert same["verdict"] == "pass" and same["comparison"]["kind"] == "recorded"
    assert same["comparison"]["runs"] == 10 and same["comparison"]["spread"] < 1.06
    slow = judge_recorded(report(2.4), lines(10))
    assert slow["verdict"] == "fail" and slow["comparison"]["p90_ratio"] == pytest.approx(1.2, abs=0.02)
    assert judge_recorded(report(2.1), lines(10))["verdict"] == "inconclusive", "just at the limit"


def test_runs_that_differ_much_among_themselves_decide_little(report, lines) -> None:
    found = judge_recorded(report(2.4), lines(10, spread=0.1))
    assert found["verdict"] == "inconclusive" and "differ that much" in found["comparison"]["why"]
    assert found["comparison"]["more_runs"] is None, "more calls today do not mend the yardstick"


def test_the_baseline_is_the_median_distribution_of_the_newest_runs(report, lines) -> None:
    recorded = judge_recorded(report(2.0), lines(30))["comparison"]
    assert recorded["runs"] == LAST and recorded["left_out"] == 10
    known = recorded["recorded"]
    assert len(known["quantiles_ms"]) == 101 and known["quantiles_ms"][90] == pytest.approx(2.0, rel=0.02)
    assert known["first"] < known["last"] and known["hashes"] == 1


def test_a_regression_does_not_become_normal_by_being_recorded(report, lines) -> None:
    failed = [{**line, "verdict": "fail", "latency": report(2.6)["candidate"]["latency"]} for line in lines(20)]
    assert judge_recorded(report(2.6), [*lines(10), *failed])["verdict"] == "fail"


def test_noisy_runs_are_no_baseline_and_a_noisy_run_is_not_judged(report, lines) -> None:
    doubt = {"p90_ratio": 1.2, "ci95": [1.1, 1.3], "rounds": 99, "block_rounds": 5.0, "doubt": "differs from itself"}
    assert judge_recorded(report(2.0), lines(10, canary=doubt))["comparison"]["p90_ratio"] is None
    found = judge_recorded(report(2.0, canary=doubt), lines(10))
    assert found["verdict"] == "inconclusive" and "differs from itself" in found["comparison"]["why"]


def test_what_changed_since_the_last_run_is_said(report, lines) -> None:
    environment = {**report()["environment"], "packages": {"tensorrt": "10.7", "numpy": "2.1"}}
    candidate = {**report()["candidate"], "hash": "b" * 64}
    found = judge_recorded(report(environment=environment, candidate=candidate), lines(6))["comparison"]["changed"]
    assert found == ["the bundle was compiled again", "numpy absent → 2.1", "tensorrt 10.3 → 10.7"]


def test_an_accuracy_that_fails_fails_the_bench(report, lines) -> None:
    accuracy = {**report()["accuracy"], "verdict": "fail"}
    assert judge_recorded(report(2.0, accuracy=accuracy), lines(10))["verdict"] == "fail"
