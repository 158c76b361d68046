"""Absent sensors: the numbers are those of a computation by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.golden import GoldenSample
from edgefuse.proportions import independent_pairs
from edgefuse.robustness.subsets import measure_subsets, subsets_to_measure
from edgefuse.spec import TensorSpec
from tests.robustness.robots import SPEC, WEIGHTS, Linear, clipped, judge, make_bundle, make_feeds, measure, unit

STREAMS = {"camera": SPEC.inputs[:1], "imu": SPEC.inputs[1:]}


class Blank(Linear):
    """NaN where the picture is all zero."""

    def __call__(self, feed):
        found = super().__call__(feed)
        return found if feed["image"].any() else {"logits": found["logits"] * np.nan}


def samples(count=60, group=False, model=None):
    model = model or Linear()
    for index, feed in enumerate(make_feeds(count)):
        outputs = model(feed)
        yield GoldenSample(feed, outputs, np.asarray(outputs["logits"].argmax()), index // 10 if group else None)


def test_values_drops_and_intervals_are_those_computed_by_hand():
    rows = measure_subsets(
        samples(), {"float": Linear()}, judge(), STREAMS, {"camera": 0.5}, [frozenset(["camera"]), frozenset(["imu"])]
    )
    feeds = list(make_feeds(60))
    whole = np.array([Linear()(feed)["logits"].argmax() for feed in feeds])
    motion = np.array([unit(feed["motion"]) @ WEIGHTS["motion"] for feed in feeds])[:, 0]
    image = np.array([unit(feed["image"]) @ WEIGHTS["image"] for feed in feeds])[:, 0]
    grey = unit(np.full((1, 16), 0.5)) @ WEIGHTS["image"]
    for row, logits in zip(rows, (motion + grey, image)):  # nothing of the motion is nothing added
        right = logits.argmax(axis=1) == whole
        found = row["runners"]["float"]
        assert found["value"] == right.mean() and found["clean"] == 1.0
        assert found["drop"] == pytest.approx(1 - right.mean())
        assert found["ci95"] == list(independent_pairs(1.0 - right).interval()) and found["nonfinite"] == 0
    assert [(row["absent"], row["present"], row["fills"], row["samples"]) for row in rows] == [
        (["camera"], ["imu"], {"camera": 0.5}, 60),
        (["imu"], ["camera"], {"imu": 0.0}, 60),
    ]


def test_every_runner_is_asked_once_for_each_set_and_sample():
    runners, told = {"float": Linear(), "compiled": clipped()}, []
    both = frozenset(["camera", "imu"])
    rows = measure_subsets(samples(12), runners, judge(), STREAMS, {}, [both], lambda: told.append(1))
    assert [runner.calls for runner in runners.values()] == [24, 24] and len(told) == 12
    assert rows[0]["present"] == [] and set(rows[0]["runners"]) == {"float", "compiled"}


def test_all_inputs_of_a_stream_are_absent_together_and_keep_their_dtype():
    streams = {"camera": (*SPEC.inputs[:1], TensorSpec("flag", (1,), "bool", None, "camera"))}
    seen = []

    def runner(feed):
        seen.append({name: array.copy() for name, array in feed.items()})
        return {"logits": np.zeros((1, 4), np.float32)}

    feed = {"image": np.ones((1, 1, 4, 4), np.float32), "flag": np.array([False])}
    sample = GoldenSample(feed, {"logits": np.zeros((1, 4), np.float32)}, np.asarray(0), None)
    measure_subsets([sample], {"only": runner}, judge(), streams, {"camera": 1.0}, [frozenset(["camera"])])
    assert seen[1]["flag"].dtype == bool and seen[1]["flag"].all() and (seen[1]["image"] == 1.0).all()
    assert not feed["flag"].any()


def test_recordings_widen_the_interval_and_few_have_none():
    plain, grouped = (
        measure_subsets(samples(200, group), {"float": Linear()}, judge(), STREAMS, {}, [frozenset(["camera"])])
        for group in (False, True)
    )
    (low, high), (wide_low, wide_high) = (rows[0]["runners"]["float"]["ci95"] for rows in (plain, grouped))
    assert wide_low < low and high < wide_high
    few = measure_subsets(samples(60, True), {"float": Linear()}, judge(), STREAMS, {}, [frozenset(["camera"])])
    found = few[0]["runners"]["float"]
    assert found["ci95"] is None and found["ci95_reason"] == "needs 8 recordings, had 6" and found["drop"] > 0


def test_nan_without_a_sensor_is_a_wrong_answer_and_counted():
    rows = measure_subsets(samples(20), {"float": Blank()}, judge(), STREAMS, {}, [frozenset(["camera"])])
    assert rows[0]["runners"]["float"] | {"ci95": None} == {
        "value": 0.0, "clean": 1.0, "drop": 1.0, "ci95": None, "ci95_reason": None, "nonfinite": 20
    }  # fmt: skip


def test_without_labels_the_distance_to_the_float_model_is_all_there_is():
    rows = measure_subsets(samples(20), {"float": Linear()}, judge("sqnr"), STREAMS, {}, [frozenset(["imu"])])
    found = rows[0]["runners"]["float"]
    assert found["clean"] == 300.0 and 0 < found["value"] < 30 and found["drop"] is None and found["ci95_reason"]


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 2), (3, 6), (4, 14), (5, 5 + 10 + 5), (7, 7 + 21 + 7)])
def test_all_subsets_of_few_streams_and_the_telling_ones_of_many(count, expected):
    names = [f"s{number}" for number in range(count)]
    found = subsets_to_measure(names)
    assert len(found) == len(set(found)) == expected and all(0 < len(absent) < count for absent in found)
    if count > 1:
        assert {frozenset([name]) for name in names} <= set(found)
        assert {frozenset(names) - {name} for name in names} <= set(found)


def test_contribution_is_what_is_lost_alone_and_with_anothers_data(tmp_path):
    """A model that looks at the camera alone."""
    blind = {"image": WEIGHTS["image"], "motion": np.zeros_like(WEIGHTS["motion"])}
    bundle = make_bundle(tmp_path, 120, Linear(weights=blind))
    found = measure(bundle, Linear(weights=blind), Linear(weights=blind), severities=(3,), modalities=("imu",))
    camera, imu = found["contribution"]
    for model in ("float", "compiled"):
        assert imu["absent"][model]["drop"] == imu["permuted"][model]["drop"] == 0.0
        assert camera["permuted"][model]["drop"] == pytest.approx(0.75, abs=0.15), "four classes, another sample's"
        low, high = camera["permuted"][model]["ci95"]
        assert low < camera["permuted"][model]["drop"] < high
        row = next(row for row in found["subsets"] if row["absent"] == ["camera"])
        assert camera["absent"][model]["drop"] == row["runners"][model]["drop"]
    assert [row["absent"] for row in found["subsets"]] == [["camera"], ["imu"]]
    assert all(row["interaction"]["value"] == 0 for row in found["subsets"])
