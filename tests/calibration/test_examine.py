"""The figures of a set, against numpy's over all of it; how many samples are enough; what is suspicious."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgefuse.calibration import Recorded, open_calibration
from edgefuse.calibration.examine import check_set, examine
from edgefuse.calibration.measure import channel_axis
from edgefuse.errors import CalibrationError
from edgefuse.recipe import CalibrationSource
from edgefuse.spec import ModelSpec, TensorSpec, parse_dim

INPUTS = {
    "image": TensorSpec("image", (1, 3, 8, 8), modality="image"),
    "imu": TensorSpec("imu", (1, 20, 6), modality="imu"),
    "words": TensorSpec("words", (1, 5), "int64", "text"),
}


def samples(count, seed=0):
    """As a set should be."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.random((count, 1, 3, 8, 8), np.float32),
        "imu": np.clip(rng.normal(size=(count, 1, 20, 6)), -2.9, 2.9).astype(np.float32),
        "words": rng.integers(0, 9, (count, 1, 5)),
        "label": np.arange(count) % 4,
    }


def opened(path, calibrate, golden, finite=True):
    for name, arrays in (("calibrate", calibrate), ("golden", golden)):
        (path / name).mkdir()
        np.savez(path / name / "a.npz", **arrays)
    spec = ModelSpec(tuple(INPUTS[name] for name in calibrate if name in INPUTS), ())
    found = open_calibration(CalibrationSource(path, samples=10**6), spec, "label" if "label" in calibrate else None)
    if finite:
        return found
    return replace(found, golden=replace(found.golden, finite=False))


def findings(path, calibrate, golden, finite=True):
    found = examine(opened(path, calibrate, golden, finite))["findings"]
    return [(item["level"], item["input"], item["text"]) for item in found]


def test_a_good_set_has_no_findings(tmp_path):
    found = examine(opened(tmp_path, samples(400), samples(300, 1)))
    assert found["findings"] == []
    assert found["likeness"] == {"repeated": {"calibrate": 0, "golden": 0}, "shared": 0,
                                 "near": {"calibrate": 0.0, "golden": 0.0}, "near_shared": 0.0}  # fmt: skip


def test_the_figures_are_those_of_all_values(tmp_path):
    given = samples(100)
    found = examine(opened(tmp_path, given, samples(50, 1)))
    for name in ("image", "imu"):
        values, item = given[name].astype(np.float64), found["inputs"][name]
        assert (item["low"], item["high"]) == (values.min(), values.max())
        assert item["mean"] == pytest.approx(values.mean()) and item["std"] == pytest.approx(values.std())
        axis = 2 if name == "image" else 3
        rest = tuple(a for a in range(values.ndim) if a != axis)
        for key, expected in (("low", values.min(rest)), ("mean", values.mean(rest)), ("std", values.std(rest))):
            assert np.allclose([channel[key] for channel in item["channels"]], expected)
        assert np.allclose(item["percentiles"], np.percentile(values, [0.1, 99.9]), atol=0.05)
        assert sum(item["histogram"]["shares"]["calibrate"]) == pytest.approx(1.0)
    assert found["labels"]["classes"]["2"] == {"calibrate": 25, "golden": 12}
    assert found["splits"]["golden"]["samples"] == 50 and found["inputs"]["words"]["channels"] is None


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ([1, 3, 48, 64], "float32", 1), ([1, 48, 64, 3], "float32", 3), ([1, 1, 8, 8], "float32", None),
        ([1, 100, 6], "float32", 2), ([1, 6, 100], "float32", 1), ([1, 32, 24], "float32", None),
        ([1, 12], "float32", 1), ([1, 180], "float32", None), ([1, 8], "int64", None), ([4], "float32", None),
        (["1..8", 64, 4], "float32", 2),
    ],
)  # fmt: skip
def test_channels_are_what_a_shape_can_tell(shape, dtype, expected):
    assert channel_axis(TensorSpec("x", tuple(parse_dim(dim) for dim in shape), dtype)) == expected


def test_a_range_that_is_seen_at_once_has_settled_and_one_with_a_rare_peak_has_not(tmp_path):
    given = samples(256)
    given["imu"][77, 0, 3, 4] = 60.0
    settled = {name: item["settling"] for name, item in examine(opened(tmp_path, given, samples(9)))["inputs"].items()}
    assert settled["image"]["n"] == [8, 16, 32, 64, 128, 256] and settled["words"] is None
    assert settled["image"]["enough"] and settled["image"]["change"] < 0.001
    found = settled["imu"]
    assert not found["enough"] and found["worst_channel"]["channel"] == 4
    assert 0.1 < found["change"] < 0.9, "the peak is in a random half of the samples, or not"
    assert found["percentile_change"] < 0.05 and found["high"][-1] == 60.0
    assert all(np.diff(found["high"]) >= 0) and all(np.diff(found["low"]) <= 0)


def changed(name, change):
    """Both splits with *change* made to the array *name*, in place."""

    def both():
        given = samples(400), samples(300, 1)
        for split in given:
            change(split[name])
        return given

    return both


def put(place, value):
    return lambda array: array.__setitem__(place, value)


def scaled(place, factor):
    return lambda array: array.__setitem__(place, array[place] * np.float32(factor))


ALL = np.s_[...]
LINT = {
    "beyond FP16": (changed("imu", scaled(np.s_[..., 0], 3e4)), "warning", "imu", "FP16 ends at 65504"),
    "whole numbers": (
        changed("imu", lambda a: a.__setitem__(ALL, np.rint(a * 1000))),
        "warning", "imu", "FP16 tells them apart up to 2048",
    ),
    "subnormal": (changed("imu", scaled(np.s_[..., 2], 1e-6)), "warning", "imu", "channel 2 below"),
    "dead channel": (changed("imu", put(np.s_[..., 5], 9.81)), "warning", "imu", "channel 5 always 9.81"),
    "0 to 255": (changed("image", scaled(ALL, 255)), "warning", "image", "pixels as they are stored"),
    "scaled twice": (changed("image", scaled(ALL, 1 / 255)), "warning", "image", "divided by 255 twice?"),
    "one channel far wider": (changed("imu", scaled(np.s_[..., 1], 40)), "warning", "imu", "channel 1 varies 4"),
    "a sensor at its end": (
        changed("imu", lambda a: np.clip(a, -1.5, 1.5, out=a)), "warning", "imu", "are exactly 1.5",
    ),
    "a bright picture": (changed("image", lambda a: np.clip(a, 0, 0.9, out=a)), "note", "image", "are exactly 0.9"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LINT)
def test_what_is_suspicious_is_said_of_that_input(kind, tmp_path):
    make, level, name, said = LINT[kind]
    found = findings(tmp_path, *make())
    assert [item for item in found if item[0] == level and item[1] == name and said in item[2]], found
    assert {item[1] for item in found} == {name}


def test_a_black_background_is_no_saturation(tmp_path):
    make = changed("image", lambda a: a.__setitem__(a < 0.4, 0.0))
    assert findings(tmp_path, *make()) == []


def test_values_that_are_not_finite_are_errors_with_their_number(tmp_path):
    golden = samples(300, 1)
    golden["imu"][3, 0, 0, 0], golden["imu"][4, 0, 0, :2] = np.nan, np.inf
    found = findings(tmp_path, samples(400), golden, finite=False)
    assert ("error", "imu", "1 NaN and 2 infinite of 36000 values") in found


def test_a_sample_in_both_splits_stops_a_compilation(tmp_path):
    golden = samples(300, 1)
    for name, array in samples(400).items():
        golden[name][7] = array[5]
    found = opened(tmp_path, samples(400), golden)
    with pytest.raises(CalibrationError, match="1 of 300 held-out samples equal samples that calibrate") as caught:
        check_set(found)
    assert "golden" in caught.value.where


def test_words_alone_may_be_said_twice(tmp_path):
    given = {"words": samples(50)["words"]}
    found = opened(tmp_path, given, given)
    assert check_set(found).rule["findings"][0]["level"] == "note"


def test_repeated_and_neighbouring_samples_are_told(tmp_path):
    given, golden = samples(400), samples(300, 1)
    for name, array in given.items():
        array[:100] = array[100:200]
        golden[name][:200] = array[200:400]
    golden["imu"] += np.float32(1e-4)
    found = findings(tmp_path, given, golden)
    assert ("warning", "", "100 of 400 samples in calibrate equal another one there") in found
    assert [text for level, _, text in found if level == "note" and "almost equal to one that calibrates" in text]


def test_rare_classes_are_told(tmp_path):
    given = samples(400)
    given["label"][:] = np.repeat([0, 1], [380, 20])
    found = findings(tmp_path, given, samples(300, 1))
    assert found == [("warning", "label", "class 0 has 380 samples, class 1 20")]


def test_held_out_values_outside_the_range_are_told_with_their_share(tmp_path):
    golden = samples(300, 1)
    golden["imu"][:30, 0, 0, :] = np.repeat([10.0, -10.0], 3)  # 180 of 36000
    found = findings(tmp_path, samples(400), golden)
    assert len(found) == 1 and found[0][:2] == ("warning", "imu")
    assert found[0][2].startswith("0.5 % of the held-out values lie outside its range, by up to 122 %")


def test_splits_that_differ_are_told(tmp_path):
    golden = samples(300, 1)
    golden["image"] **= 2
    [found] = findings(tmp_path, samples(400), golden)
    assert found[:2] == ("warning", "image") and "distance 0.25" in found[2]


def test_the_models_state_is_no_input(tmp_path):
    spec = ModelSpec((*(INPUTS[name] for name in ("image", "imu")), TensorSpec("h", (1, 4))), ())
    for split, seed in (("calibrate", 0), ("golden", 1)):
        given = samples(300, seed)
        (tmp_path / split).mkdir()
        np.savez(
            tmp_path / split / "a.npz", image=given["image"], imu=given["imu"], h=np.zeros((300, 1, 4), np.float32)
        )
    found = open_calibration(CalibrationSource(tmp_path), spec, None, Recorded(state={"h": "h_out"}))
    [finding] = check_set(found, ["h"]).rule["findings"]
    assert finding["input"] == "h" and finding["level"] == "note" and "h" not in examine(found, ["h"])["inputs"]


def test_labels_too_large_for_figures_are_said_to_be_there(tmp_path):
    large = {name: {**samples(60, seed), "label": np.zeros((60, 8, 3))} for seed, name in enumerate(("one", "other"))}
    found = findings(tmp_path, large["one"], large["other"])
    assert [text for level, name, text in found if name == "label"] == [
        "has 24 numbers a sample; labels are shown in figures where they have at most 5"
    ]
