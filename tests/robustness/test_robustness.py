"""Models whose truth is known: what equals float passes, what is made fragile fails and is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgefuse.errors import UsageError
from edgefuse.report.robustness_text import summary_rows, worst_cases
from edgefuse.robustness.cases import CORRUPTIONS, DROPPED
from tests.robustness.robots import (
    WEIGHTS,
    Fails,
    Linear,
    cases_of,
    clipped,
    judge,
    make_bundle,
    measure,
)

HALF_S, COUNT = 500_000_000, 200


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """200 samples, one each half second."""
    return make_bundle(tmp_path_factory.mktemp("robot"), COUNT, stamps_ns=np.arange(COUNT) * HALF_S)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """40 samples: for what needs no statistics."""
    return make_bundle(tmp_path_factory.mktemp("few"), 40, stamps_ns=np.arange(40) * HALF_S)


@pytest.fixture(scope="module")
def equal(bundle):
    return measure(bundle, Linear())


@pytest.fixture(scope="module")
def fragile(bundle):
    return measure(bundle, clipped(), modalities=("camera",))


def test_a_model_that_equals_float_passes_everything_with_no_interaction_at_all(equal):
    assert equal["verdict"] == "pass" and equal["certain"] == 0
    judged = [case for case in equal["cases"] if not case["reason"]]
    assert len(judged) > 60 and {case["verdict"] for case in judged} == {"pass"}
    assert {case["interaction"]["value"] for case in judged} == {0.0}
    assert {case["flips"] for case in judged} == {0.0} and {case["sqnr_db"] for case in judged} == {300.0}
    assert {mean["value"] for mean in equal["means"]} == {0.0}
    assert any(case["float"]["drop"] > 0.2 for case in judged), "the corruptions do something"
    assert all(case["float"] == case["compiled"] for case in judged)
    assert equal["counts"]["fail"] == 0 and equal["expected_by_chance"] == pytest.approx(0.025 * len(judged))


def test_a_model_that_clips_its_input_fails_where_values_are_large_and_nowhere_else(fragile):
    assert fragile["verdict"] == "fail"
    certain = {
        case["name"] for case in fragile["cases"] if case["verdict"] == "fail" and case["interaction"]["certain"]
    }
    assert "values too large" in certain
    assert certain <= {"values too large", "gain", "offset", "noise", "bias", "spikes"}, "what leaves the range"
    worst = worst_cases(fragile)[0]
    assert worst["name"] == "values too large" and worst["interaction"]["value"] > 0.1
    assert max(worst["outside"].values()) > 0.5, "and says why"
    sentence = dict(summary_rows(fragile))["worst"]
    assert "values are too large" in sentence and "of its values lie outside the range" in sentence
    for case in cases_of(fragile, name="values too small") + cases_of(fragile, name="dark"):  # within the range
        assert case["interaction"]["value"] == 0 and case["verdict"] == "pass"


def test_the_interaction_is_the_difference_of_the_two_models_losses(bundle, fragile):
    case = cases_of(fragile, stream="camera", name="values too large", severity=1)[0]
    with np.load(bundle.path / "golden.npz") as archive:
        image, motion, label = (archive[name] for name in ("inputs.image", "inputs.motion", "label"))
    large = image.astype(np.float32) * np.float32(9.81)

    def direction(array, limit):
        rows = np.clip(array, -limit, limit).reshape(COUNT, -1).astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def top1(limit, picture):
        logits = direction(picture, limit) @ WEIGHTS["image"] + direction(motion, limit) @ WEIGHTS["motion"]
        return (logits.argmax(axis=1) == label).mean()

    float_drop = top1(np.inf, image) - top1(np.inf, large)
    compiled_drop = top1(2.5, image) - top1(2.5, large)
    assert case["float"]["drop"] == pytest.approx(float_drop) and case["compiled"]["drop"] == pytest.approx(
        compiled_drop
    )
    assert case["interaction"]["value"] == pytest.approx(compiled_drop - float_drop)
    assert case["float"]["resistance"] == pytest.approx(top1(np.inf, large) / top1(np.inf, image))
    ratio = case["compiled"]["resistance"] / case["float"]["resistance"]
    assert case["relative_resistance"] == pytest.approx(ratio) and ratio < 1
    low, high = case["interaction"]["ci95"]
    wide_low, wide_high = case["interaction"]["ci_family"]
    assert wide_low < low < case["interaction"]["value"] < high < wide_high
    assert case["outside"]["image"] == pytest.approx((np.abs(large) > np.abs(image).max()).mean(), abs=0.02)


def test_the_same_seed_gives_the_same_result_and_the_result_is_plain_json(few):
    first, again, other = (measure(few, clipped(), seed=seed, severities=(3,)) for seed in (0, 0, 7))
    assert json.dumps(again, allow_nan=False) == json.dumps(first)
    pairs = zip(other["cases"], first["cases"])
    changed = {case["name"] for case, before in pairs if case["sqnr_db"] != before["sqnr_db"]}
    assert "noise" in changed and not changed & {"missing", "dark", "blur", "values too large", "delayed"}


def test_a_filter_leaves_the_other_cases_numbers_as_they_are(few):
    every = measure(few, clipped())
    some = measure(few, clipped(), modalities=("image",), severities=(3,))
    assert {case["stream"] for case in some["cases"]} == {"camera"} and {
        case["severity"] for case in some["cases"]
    } == {3}
    for case in some["cases"]:
        (same,) = cases_of(every, stream="camera", name=case["name"], severity=3)
        assert case["float"] == same["float"] and case["compiled"] == same["compiled"]
    assert [mean["stream"] for mean in some["means"]] == ["camera"]
    by_stream = measure(few, clipped(), modalities=("imu",), severities=(1,))
    assert {case["stream"] for case in by_stream["cases"]} == {"imu"}


def test_a_modality_that_the_model_does_not_have_is_told_with_the_nearest(few):
    with pytest.raises(UsageError, match="'cameras'") as error:
        measure(few, Linear(), modalities=("cameras",))
    assert "'camera'" in error.value.hint


def test_a_case_in_which_the_vendors_library_fails_is_reported_and_the_others_go_on(few):
    found = measure(few, Fails(), judged=judge("top1", "50%"), modalities=("camera",))
    failed = cases_of(found, name="values too large")
    assert [case["error"] for case in failed[1:]] == ["ToolchainError: illegal value"] * 2
    assert all(case["verdict"] is None and case["reason"] for case in failed[1:])
    assert found["counts"]["error"] == 2 and cases_of(found, name="blur")[0]["verdict"] == "pass"
    assert any("illegal value" in text for name, text in summary_rows(found) if name == "left out")


def test_nan_that_the_runtime_would_drop_is_measured_and_not_judged(bundle, equal, tmp_path):
    for case in cases_of(equal, name="NaN burst"):
        assert case["verdict"] is None and case["reason"] == DROPPED
        assert case["nonfinite"] == {"float": COUNT, "compiled": COUNT, "compiled_only": 0}
        assert case["float"]["value"] == 0.0, "an answer with NaN is a wrong one"
    taken = make_bundle(tmp_path, 40, streams={"camera": {"check_finite": False}})
    found = measure(taken, Linear())
    camera, imu = (cases_of(found, stream=name, name="NaN burst") for name in ("camera", "imu"))
    assert all(case["reason"] is None for case in camera) and all(case["reason"] == DROPPED for case in imu)


def test_answers_that_are_nan_in_the_compiled_model_alone_fail_their_case(bundle):
    overflows = Linear(lambda name, array: np.where(np.abs(array) > 300, np.nan, array))
    found = measure(bundle, overflows, modalities=("camera",), severities=(3,))
    case = cases_of(found, name="values too large", severity=3)[0]
    assert case["nonfinite"]["compiled_only"] > 0 and case["nonfinite"]["float"] == 0
    assert case["verdict"] == "fail" and case["interaction"]["certain"] and "NaN" in case["interaction"]["method"]
    assert found["verdict"] == "fail"


def test_without_labels_there_is_no_verdict_but_distances(few):
    found = measure(few, clipped(), judged=judge("sqnr"), modalities=("camera",))
    assert found["verdict"] is None and "no labels" in found["reason"] and found["limit"] is None
    case = cases_of(found, stream="camera", name="values too large", severity=3)[0]
    assert case["verdict"] is None and case["sqnr_db"] < 10 < found["sqnr_db"] and case["flips"] is None
    assert case["outside"]["image"] > 0.5 and json.dumps(found, allow_nan=False)
    rows = dict(summary_rows(found))
    assert "no verdict" in rows["robustness"] and "dB" in rows["SQNR"]


def test_agreement_with_the_float_models_clean_answer_needs_no_labels(bundle):
    found = measure(bundle, clipped(), judged=judge("top1", "5%", None), modalities=("camera",))
    assert found["labels"] is False and found["float"] == 1.0 and found["verdict"] == "fail"


def test_every_case_applies_to_its_stream_and_each_is_there_once(equal):
    keys = [(case["stream"], case["name"], case["severity"]) for case in equal["cases"]]
    assert len(keys) == len(set(keys)) and keys == sorted(keys, key=lambda key: ["camera", "imu"].index(key[0]))
    names = {corruption.name for corruption in CORRUPTIONS if "imu" in corruption.modalities}
    assert names <= {name for stream, name, _ in keys if stream == "imu"}
    assert ("imu", "samples lost", 1) in keys and ("camera", "dark", 2) in keys and ("camera", "typos", 1) not in keys


def test_old_data_come_from_older_samples_of_the_recording_and_their_age_is_told(bundle, equal):
    delayed = cases_of(equal, stream="camera", name="delayed")
    assert [case["amount"] for case in delayed] == [1.0, 3.0, 10.0] and {case["samples"] for case in delayed} == {
        COUNT - 1
    }
    # A period is 100 ms, and samples are 500 ms apart: the nearest older one.
    assert [case["mean_delay_ms"] for case in delayed] == pytest.approx([500.0, 500.0, 997.5], rel=2e-3)
    frozen = cases_of(equal, stream="camera", name="frozen")
    assert [case["samples"] for case in frozen] == [100, 166, 190]
    assert [case["mean_delay_ms"] for case in frozen] == pytest.approx([500.0, 1500.0, 5000.0], rel=0.01)
    dropped = cases_of(equal, stream="imu", name="frames dropped")
    assert dropped[0]["mean_delay_ms"] < dropped[1]["mean_delay_ms"] < dropped[2]["mean_delay_ms"]
    assert all(case["float"]["drop"] > 0 for case in delayed)
