"""The gate's edges: NaN, labels that fit nothing, agreement without labels, how verdicts combine."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.check import REFERENCE, check_labels, compare_stages, judge_accuracy, judge_parity, make_judge
from edgefuse.errors import CalibrationError, ModelError, RecipeError
from edgefuse.golden import GoldenSample
from edgefuse.metrics import METRICS
from edgefuse.recipe import Accuracy
from edgefuse.report import overall_verdict
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
    assert [verdict.exit_code for verdict in Verdict] == [0, 1, 3]


def test_an_arrows_doubt_does_not_spoil_a_proven_whole_but_its_failure_does():
    passed, latency = {"verdict": "pass"}, {"verdict": None}
    assert overall_verdict([{"verdict": "inconclusive"}], passed, latency) is Verdict.PASS
    assert overall_verdict([{"verdict": "fail"}], passed, latency) is Verdict.FAIL
    assert overall_verdict([], passed, {"verdict": "inconclusive"}) is Verdict.INCONCLUSIVE
