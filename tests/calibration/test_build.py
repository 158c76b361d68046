"""Sets out of recordings, whole: what lies in them, what they say, and when they are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgefuse.calibration import Recorded, open_calibration
from edgefuse.calibration import build as building
from edgefuse.calibration.build import build_set
from edgefuse.calibration.built import described, is_built_set
from edgefuse.calibration.instants import Anchor
from edgefuse.calibration.recorded import Order
from edgefuse.errors import CalibrationError, InputError, UsageError
from edgefuse.progress import Steps
from edgefuse.recipe import CalibrationSource
from edgefuse.recordings.mapping import Source
from edgefuse.samples import SampleWriter
from edgefuse.stream.policy import StreamPolicy
from tests.calibration.robot import SPEC, WINDOW, robot
from tests.recordings.files import MS, write
from tests.stream.robots import STATE

POLICIES = {
    "camera": StreamPolicy(),
    "imu": StreamPolicy(**WINDOW, max_age_ms=50.0),
    "lidar": StreamPolicy(max_age_ms=150.0),
    "goal": StreamPolicy(kind="latched"),
}
ORDER = Order(SPEC, Recorded(policies=POLICIES, state=STATE), None, samples=40, golden=60)


@pytest.fixture
def recording(tmp_path):
    return write(tmp_path / "drive.npz", robot(seconds=20.0, labels=np.arange(20) % 4))


def build(paths, out, order=ORDER, steps=None):
    return build_set(paths, order, out, steps or Steps(quiet=True))


def arrays(out, split):
    with np.load(out / split / "samples.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_a_set_holds_the_inputs_labels_groups_and_stamps(recording, tmp_path):
    report = build([recording], tmp_path / "set")
    for split, count in (("calibrate", 40), ("golden", 60)):
        found = arrays(tmp_path / "set", split)
        assert found.keys() == {*SPEC.names, "label", "group", "stamp_ns"}
        for item in SPEC.inputs:
            assert found[item.name].shape == (count, *item.shape) and found[item.name].dtype == item.dtype
        assert found["group"].dtype == found["stamp_ns"].dtype == np.int64 and not found["h"].any()
    golden = arrays(tmp_path / "set", "golden")
    assert (np.diff(golden["stamp_ns"]) > 0).all() and len(np.unique(golden["group"])) >= 8
    assert report == json.loads((tmp_path / "set" / "report.json").read_text())
    assert report["split"] | {"calibrate": 40, "golden": 60, "seed": 0} == report["split"]
    assert report["state"] == ["h"] and any("zero" in note for note in report["notes"])


def test_no_delivery_is_in_both_splits(recording, tmp_path):
    build([recording], tmp_path / "set")
    one, other = (arrays(tmp_path / "set", split) for split in ("calibrate", "golden"))
    assert not set(one["group"]) & set(other["group"])
    for name in ("image", "points"):
        assert not {row.tobytes() for row in one[name]} & {row.tobytes() for row in other[name]}
    samples = [{row.tobytes() for row in found["gyro"].reshape(-1, 4)} for found in (one, other)]
    assert not samples[0] & samples[1]


def test_classes_calibrate_in_equal_numbers_and_are_held_out_as_they_come(tmp_path):
    labels = np.random.default_rng(1).permutation([0] * 42 + [1] * 9 + [2] * 9)
    path = write(tmp_path / "r.npz", robot(seconds=60.0, labels=labels))
    build([path], tmp_path / "set", replace(ORDER, samples=45, golden=200))
    counts = np.bincount(arrays(tmp_path / "set", "calibrate")["label"])
    assert counts.tolist() == [15, 15, 15]
    held_out = np.bincount(arrays(tmp_path / "set", "golden")["label"], minlength=3) / 200
    assert held_out[0] > 0.5


def test_the_same_seed_gives_the_same_bytes_and_another_others(recording, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build([recording], tmp_path / name, replace(ORDER, seed=seed))
    files = [
        [(tmp_path / name / split / "samples.npz").read_bytes() for split in ("calibrate", "golden")] for name in "abc"
    ]
    assert files[0] == files[1] and files[0] != files[2]


def test_those_that_calibrate_are_not_the_first_and_stand_in_no_order(recording, tmp_path, monkeypatch):
    choose = building.farthest
    monkeypatch.setattr(building, "farthest", lambda *given: sorted(choose(*given)))
    build([recording], tmp_path / "set")
    stamps = arrays(tmp_path / "set", "calibrate")["stamp_ns"]
    assert (stamps - stamps.min()).max() > 15e9 and 10 < (np.diff(stamps) < 0).sum() < 30


def test_what_was_left_out_is_counted_by_reason(tmp_path):
    given = robot(seconds=20.0, bad=0.2)
    path = write(tmp_path / "r.npz", given)
    sources = {"points": Source("/scan", tolerance_ms=60.0), "power": Source("/scan", tolerance_ms=90.0)}
    order = replace(ORDER, recorded=replace(ORDER.recorded, sources=sources))
    report = build([path], tmp_path / "set", order)
    dropped = report["dropped"]
    assert dropped["no lidar within 60 ms"] > 100 and dropped["window of imu not full"] >= 1
    assert dropped["camera: not finite"] > 0
    streams = report["recordings"][0]["streams"]
    assert streams["lidar"]["tolerance_ms"] == 60.0 and streams["goal"]["tolerance_ms"] is None
    text = described(report)
    assert text.startswith(" from r.npz; ") and f"{dropped['no lidar within 60 ms']} no lidar within 60 ms" in text


def test_equal_pictures_do_not_calibrate_what_they_judge(tmp_path):
    """A simulator that stands still: whatever the stretch, the samples are the same."""
    given = robot(seconds=20.0)
    for name in ("image", "gyro", "points", "power", "words"):
        half = len(given[name]) // 2
        given[name][:half] = given[name][0]
    build([write(tmp_path / "r.npz", given)], tmp_path / "set", replace(ORDER, samples=200, golden=100))
    one, other = (arrays(tmp_path / "set", split) for split in ("calibrate", "golden"))
    seen = [
        {b"".join(found[n][i].tobytes() for n in SPEC.names) for i in range(len(found["h"]))} for found in (one, other)
    ]
    assert not seen[0] & seen[1] and len(seen[0]) == len(one["h"])


def test_labels_have_the_metrics_name_and_must_be_there(recording, tmp_path):
    build([recording], tmp_path / "set", replace(ORDER, label="digit"))
    assert "digit" in arrays(tmp_path / "set", "golden") and "label" not in arrays(tmp_path / "set", "golden")
    unlabelled = write(tmp_path / "w.npz", robot(seconds=20.0))
    build([unlabelled], tmp_path / "w")
    assert "label" not in arrays(tmp_path / "w", "golden")
    with pytest.raises(CalibrationError, match="no labels, and the metric needs 'digit'"):
        build([unlabelled], tmp_path / "x", replace(ORDER, label="digit"))


def test_time_whose_label_nobody_knows_gives_no_samples(tmp_path):
    labels = np.where(np.arange(40) % 4 == 1, np.nan, 2.0)
    report = build([write(tmp_path / "r.npz", robot(seconds=40.0, labels=labels))], tmp_path / "set")
    assert 0.2 < report["dropped"]["label unknown (NaN)"] / report["recordings"][0]["instants"] < 0.3
    assert set(arrays(tmp_path / "set", "golden")["label"].tolist()) == {2.0}


def test_several_recordings_are_one_set(recording, tmp_path):
    other = write(tmp_path / "second.npz", robot(seconds=10.0, seed=1, labels=np.arange(10)))
    report = build([recording, other], tmp_path / "set")
    assert [item["path"] for item in report["recordings"]] == ["drive.npz", "second.npz"]
    assert described(report).startswith(" from 2 recordings")
    groups = arrays(tmp_path / "set", "calibrate")["group"]
    assert groups.min() < 20 <= groups.max()


def test_an_anchor_can_be_asked_for(recording, tmp_path):
    report = build([recording], tmp_path / "set", replace(ORDER, anchor=Anchor(rate_hz=10.0)))
    assert report["recordings"][0]["anchor"] == "10 Hz"
    stamps = arrays(tmp_path / "set", "golden")["stamp_ns"]
    assert set((np.diff(stamps) % (100 * MS)).tolist()) == {0}


def test_a_short_recording_says_what_its_set_is_not_good_for(tmp_path):
    report = build([write(tmp_path / "r.npz", robot(seconds=4.0))], tmp_path / "set")
    notes = " ".join(report["notes"])
    assert "samples are held out; a metric without bounds needs 300" in notes and "a verdict needs 8" in notes


def without(*names):
    return lambda given: {key: array for key, array in given.items() if key.partition(".")[0] not in names}


def old_lidar(given):
    for name in ("points", "power"):
        given[f"{name}.stamp_ns"] = given[f"{name}.stamp_ns"] - 10**12
    return given


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("image"), "nothing of the stream 'camera' (image)"),
        (old_lidar, "no lidar within 150 ms"),
        (lambda given: {key: array[:1] for key, array in given.items()}, "not full"),
    ],
)
def test_what_gives_no_samples_is_one_error_and_no_folder(tmp_path, change, said):
    path = write(tmp_path / "r.npz", change(robot(seconds=4.0)))
    with pytest.raises(InputError) as caught:
        build([path], tmp_path / "set")
    assert said in str(caught.value) and [item.name for item in tmp_path.iterdir()] == ["r.npz"]


def test_an_older_set_is_replaced_and_nothing_else(recording, tmp_path):
    out = tmp_path / "set"
    build([recording], out)
    build([recording], out, replace(ORDER, samples=10))
    assert len(arrays(out, "calibrate")["h"]) == 10 and is_built_set(out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.json").write_text('{"kind": "mine"}')
    with pytest.raises(UsageError, match="is no calibration set that EdgeFuse has built"):
        build([recording], tmp_path / "mine")


def test_a_failure_in_the_middle_leaves_the_older_set(recording, tmp_path, monkeypatch):
    out = tmp_path / "set"
    build([recording], out)
    before = {path: path.read_bytes() for path in out.rglob("*.npz")}

    def fail(self, row, at=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(SampleWriter, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        build([recording], out, replace(ORDER, seed=5))
    assert before == {path: path.read_bytes() for path in out.rglob("*.npz")}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["drive.npz", "set"]


def test_a_recording_can_stand_for_the_set(recording, tmp_path):
    recorded = replace(ORDER.recorded, work=tmp_path / "work")
    found = open_calibration(CalibrationSource(recording, samples=30, golden=40), SPEC, "label", recorded)
    assert (len(found.calibrate), len(found.golden)) == (30, 40)
    assert found.rule["by"] == "stretches of time" and found.rule["built"]["recordings"][0]["path"] == "drive.npz"
    assert found.text.startswith("30 calibrate, 40 held out from drive.npz; ")
    assert all(sample.stamp_ns and sample.group is not None for sample in found.golden)
    with pytest.raises(CalibrationError, match="is a recording; expected samples"):
        open_calibration(CalibrationSource(recording), SPEC, "label")


def test_a_built_set_is_opened_as_any_other_and_says_where_it_is_from(recording, tmp_path):
    build([recording], tmp_path / "set")
    found = open_calibration(CalibrationSource(tmp_path / "set"), SPEC, "label", ORDER.recorded)
    assert (len(found.calibrate), len(found.golden)) == (40, 60)
    assert found.rule["by"] == "folders" and found.rule["built"]["dropped"]
    with pytest.raises(CalibrationError, match="'h'"):
        open_calibration(CalibrationSource(tmp_path / "set"), SPEC, "label")
