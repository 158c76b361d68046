"""The gate's edges: NaN, labels that fit nothing, agreement without labels, how verdicts combine."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.check import (
    REFERENCE,
    check_labels,
    compare_stages,
    judge_accuracy,
    judge_parity,
    likely_passes,
    make_judge,
)
from edgefuse.errors import CalibrationError, ModelError, RecipeError
from edgefuse.golden import GoldenSample
from edgefuse.metrics import METRICS, load_metric
from edgefuse.recipe import Accuracy
from edgefuse.report import overall_verdict
from edgefuse.report.text import summary_rows
from edgefuse.verdict import Verdict, combine

PAIR = (REFERENCE, "candidate")


def golden(count=200, label=True):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(count, 1, 4)).astype(np.float32)
    return [
        GoldenSample({"x": np.array([[i]])}, {"y": out}, np.asarray(out.argmax()) if label else None, None)
        for i, out in enumerate(outputs)
    ]


def compare(samples, change, metric="top1", label="label"):
    def candidate(feed):
        return {"y": change(int(feed["x"][0, 0]), samples[int(feed["x"][0, 0])].reference["y"].copy())}

    judge = make_judge(Accuracy(metric=metric, label=label), METRICS.get(metric), ("y",))
    comparison = compare_stages(samples, {"candidate": candidate}, judge, [PAIR])[PAIR]
    return comparison, judge_accuracy(comparison, PAIR, judge)


def with_nan(index, output):
    if index == 7:
        output[0, 0] = np.nan
    return output


@pytest.mark.parametrize("metric", ["top1", "mae", "sqnr"])
def test_one_nan_in_200_answers_fails_the_gate_whatever_the_metric(metric):
    samples = golden()
    if metric == "mae":
        samples = [GoldenSample(s.feed, s.reference, s.reference["y"] + 0.1, None) for s in samples]
    _, entry = compare(samples, with_nan, metric)
    assert entry["verdict"] == "fail"
    assert all(np.isfinite(entry[key]) for key in ("candidate", "limit") if entry[key] is not None)


def test_nothing_but_nan_is_an_error_that_says_so():
    samples = [GoldenSample(s.feed, s.reference, s.reference["y"], None) for s in golden()]
    with pytest.raises(ModelError, match="NaN"):
        compare(samples, lambda i, y: y * np.nan, "mae")


def test_without_labels_top1_is_agreement_with_the_float_model():
    _, entry = compare(golden(label=False), lambda i, y: y if i % 2 else -y, label=None)
    assert entry["reference"] == 1.0 and 0.4 < entry["candidate"] < 0.6 and not entry["labels"]


def test_labels_that_fit_nothing_are_refused_before_any_tool_is_started():
    samples = [GoldenSample(s.feed, s.reference, np.asarray(99), None) for s in golden()]
    with pytest.raises(CalibrationError, match="scores 0 in 'top1' on all 200"):
        check_labels(samples, make_judge(Accuracy(metric="top1", label="label"), METRICS["top1"], ("y",)))


def test_a_metric_that_needs_labels_or_an_output_says_so():
    with pytest.raises(RecipeError, match="needs labels"):
        make_judge(Accuracy(metric="mae"), METRICS["mae"], ("y",))
    with pytest.raises(RecipeError, match="2 outputs"):
        make_judge(Accuracy(metric="top1", label="label"), METRICS["top1"], ("y", "z"))


def test_parity_allows_rounding_and_nothing_else():
    exact, _ = compare(golden(), lambda i, y: y * np.float32(1 + 1e-6))
    other, _ = compare(golden(), lambda i, y: y * np.float32(1.01))
    assert judge_parity(exact) is Verdict.PASS and judge_parity(other) is Verdict.FAIL


def test_one_failure_fails_the_whole_and_one_doubt_leaves_it_open():
    assert combine([Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]) is Verdict.FAIL
    assert combine([Verdict.PASS, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert combine([Verdict.PASS, Verdict.PENDING]) is Verdict.PENDING
    assert combine([Verdict.PENDING, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "pass": 0,
        "fail": 1,
        "inconclusive": 3,
        "pending": 0,
    }


def test_an_arrows_doubt_does_not_spoil_a_proven_whole_but_its_failure_does():
    passed, latency = {"verdict": "pass"}, {"verdict": None}
    assert overall_verdict([{"verdict": "inconclusive"}], passed, latency) is Verdict.PASS
    assert overall_verdict([{"verdict": "fail"}], passed, latency) is Verdict.FAIL
    assert overall_verdict([], passed, {"verdict": "inconclusive"}) is Verdict.INCONCLUSIVE
    assert overall_verdict([{"verdict": "pending"}], passed, latency) is Verdict.PENDING


def test_fidelity_of_fewer_than_16_samples_proves_nothing_but_can_disprove():
    _, few = compare(golden(5), lambda i, y: y, "sqnr")
    assert few["verdict"] == "inconclusive" and few["more_samples"] == 11
    _, bad = compare(golden(5), lambda i, y: -y, "sqnr")
    assert bad["verdict"] == "fail"
    assert compare(golden(16), lambda i, y: y, "sqnr")[1]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("noise_db", "verdict"), [(-40, "pass"), (-30.2, "inconclusive"), (-29.8, "inconclusive"), (-20, "fail")]
)
def test_sqnr_close_to_the_floor_is_in_doubt(noise_db, verdict):
    noise = 10 ** (noise_db / 20) * np.random.default_rng(1).normal(size=(60, 1, 4)).astype(np.float32)
    comparison, entry = compare(golden(60), lambda i, y: y + noise[i], "sqnr")
    low, high = entry["ci95"]
    assert entry["verdict"] == verdict and low < entry["candidate"] < high
    assert (entry["more_samples"] is not None) == (verdict == "inconclusive")
    expected = likely_passes(comparison, PAIR, make_judge(Accuracy("sqnr"), None, ("y",)))
    assert expected or verdict != "pass"
    assert not expected or verdict != "fail"


def test_a_search_shuns_a_plan_whose_answers_turn_to_nan():
    samples = golden()
    judge = make_judge(Accuracy(metric="top1", label="label"), METRICS["top1"], ("y",))
    assert likely_passes(compare(samples, lambda i, y: y)[0], PAIR, judge)
    assert not likely_passes(compare(samples, with_nan)[0], PAIR, judge)
    assert not likely_passes(compare(samples, lambda i, y: -y)[0], PAIR, judge)


def test_a_custom_metric_of_zeros_and_ones_is_judged_as_such(tmp_path):
    """A bootstrap of 300 equal samples has no width, and would pass any limit."""
    (tmp_path / "m.py").write_text("def hit(output, label): return 1.0\nhit.higher_is_better = True\n")
    judge = make_judge(Accuracy(metric="m.py:hit", label="label"), load_metric("m.py:hit", tmp_path), ("y",))
    samples = golden(300)
    runner = {"candidate": lambda feed: samples[int(feed["x"][0, 0])].reference}
    entry = judge_accuracy(compare_stages(samples, runner, judge, [PAIR])[PAIR], PAIR, judge)
    assert entry["method"].startswith("Tango") and entry["verdict"] == "inconclusive"


def test_a_custom_error_that_grows_is_a_drop(tmp_path):
    (tmp_path / "m.py").write_text(
        "def worst(output, label): return abs(output - label).max()\nworst.higher_is_better = False\n"
    )
    metric = load_metric("m.py:worst", tmp_path)
    judge = make_judge(Accuracy(metric="m.py:worst", label="label"), metric, ("y",))
    samples = [GoldenSample(s.feed, s.reference, s.reference["y"] + np.float32(0.1), None) for s in golden()]
    runner = {"candidate": lambda feed: {"y": samples[int(feed["x"][0, 0])].reference["y"] - np.float32(0.05)}}
    comparison = compare_stages(samples, runner, judge, [PAIR])[PAIR]
    entry = judge_accuracy(comparison, PAIR, judge)
    assert entry["drop"] == pytest.approx(0.05, rel=1e-3) and entry["verdict"] == "fail"


def test_the_summary_names_outputs_that_nothing_judges():
    report = {
        "accuracy": [{"metric": "mae", "output": "velocity", "labels": True, "reference": 1.0, "candidate": 1.0,
                      "drop": 0.0, "ci95": [0, 0], "limit": 0.1, "samples": 100, "verdict": "pass",
                      "more_samples": None}],
        "fidelity": [{"output": "velocity", "sqnr_db": 50.0, "sqnr_centered_db": 45.0},
                     {"output": "risk", "sqnr_db": 40.0, "sqnr_centered_db": 25.5}],
        "latency": {"compiled": {"p50_ms": 1, "p90_ms": 2, "runs": 100}, "float": None, "verdict": None},
    }  # fmt: skip
    assert ("not judged", "risk (25.5 dB SQNR)") in summary_rows(report)
