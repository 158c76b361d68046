"""From a robot's own recording: a rosbag2's MCAP through the mapping, with what was lost on the way counted."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.calibration import Recorded
from edgefuse.calibration.build import build_set
from edgefuse.calibration.recorded import Order
from edgefuse.calibration.show import show
from edgefuse.progress import Steps
from edgefuse.recipe import Recipe
from edgefuse.recordings.mapping import read_sources
from edgefuse.spec import ModelSpec, TensorSpec
from edgefuse.stream.policy import StreamPolicy
from tests.recordings.files import MS, START
from tests.recordings.writers import drive, image, write_mcap_ros2, write_rosbag2

INPUTS = (
    TensorSpec("image", (1, 3, 8, 8), modality="image", stream="camera", rate_hz=10.0),
    TensorSpec("imu", (1, 5, 3), modality="imu", stream="imu", rate_hz=50.0),
)
POLICIES = {"imu": StreamPolicy(kind="window", sample_hz=50.0), "camera": StreamPolicy(max_age_ms=150.0)}
TABLES = {
    "image": {"topic": "/camera", "transforms": [{"scale": 1 / 255}, {"layout": "HWC->CHW"}]},
    "imu": {"topic": "/imu", "field": [f"angular_velocity.{axis}" for axis in "xyz"]},
    "label": {"topic": "/wheel", "field": "speed"},
}
SOURCES = read_sources(TABLES, "recording")
ORDER = Order(ModelSpec(INPUTS, ()), Recorded(SOURCES, POLICIES), "speed", samples=30, golden=40)
RECIPE = Recipe("r", None, inputs=INPUTS, streams=POLICIES, recording=SOURCES)


def topics():
    """20 s; one picture in ten is of another size, which no transform makes fit."""
    found = drive(20.0)
    found["/camera"][::10] = [
        (stamp, arrival, image(np.zeros((6, 8, 3), np.uint8))) for stamp, arrival, _ in found["/camera"][::10]
    ]
    return found


@pytest.mark.parametrize("write", [write_mcap_ros2, write_rosbag2])
def test_a_set_is_made_of_it_with_every_loss_counted(tmp_path, write):
    path = write(tmp_path / "drive.mcap", topics())
    report = build_set([path], ORDER, tmp_path / "set", Steps(quiet=True))
    [facts] = report["recordings"]
    assert facts["unreadable"]["camera"] and sum(facts["unreadable"]["camera"].values()) > 5
    assert report["dropped"]["camera could not be read"] > 5 and report["split"]["golden"] > 30
    with np.load(tmp_path / "set" / "golden" / "samples.npz") as archive:
        given = {name: archive[name] for name in archive.files}
    number = (given["stamp_ns"] - START) // (100 * MS)
    assert np.allclose(given["image"][:, 0, 0, 0, 0], (number % 256) / 255, atol=1e-6)
    assert np.array_equal(given["imu"][:, 0, :, 0], (number * 5)[:, np.newaxis] + np.arange(-4, 1))
    assert np.array_equal(given["speed"].reshape(-1), number // 2 / 2)


def test_a_file_that_was_cut_short_gives_what_is_there_and_says_so(tmp_path):
    path = write_mcap_ros2(tmp_path / "drive.mcap", drive(20.0), chunk_size=2048)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    report = build_set([path], ORDER, tmp_path / "set", Steps(quiet=True))
    assert report["recordings"][0]["damage"] and any("drive.mcap: " in note for note in report["notes"])


def test_a_recording_is_shown_by_its_topics_and_by_the_recipe(tmp_path):
    path = write_mcap_ros2(tmp_path / "drive.mcap", topics())
    found = {row["topic"]: row for row in show(path, None)["topics"]}
    assert found["/imu"]["count"] == 1000 and found["/imu"]["rate_hz"] == pytest.approx(50)
    assert found["/camera"]["type"] == "sensor_msgs/msg/Image"
    shown = show(path, RECIPE)
    assert shown["recording"]["streams"]["camera"]["deliveries"] == 200
    assert shown["recording"]["dropped"]["camera could not be read"] == 19
    assert shown["inputs"]["imu"]["high"] == 995.0 and shown["labels"]["dimensions"][0]["high"] == 49.5
