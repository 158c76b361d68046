"""Which deliveries the runtime would take, and after which a window is full, from the times alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefuse.calibration.recorded import Recorded, open_sources
from edgefuse.calibration.tracks import taken
from edgefuse.errors import CalibrationError
from edgefuse.stream.inbox import Inbox
from edgefuse.stream.policy import StreamPolicy
from tests.calibration.robot import SPEC, robot
from tests.recordings.files import MS, START, times, write
from tests.stream.robots import STATE

RESET = 1000 * MS


def kept(stamps):
    return np.flatnonzero(taken(np.array(stamps, np.int64) * MS, RESET)).tolist()


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([], []),
        ([5], [0]),
        ([10, 20, 20, 15, 30], [0, 1, 4]),  # repeated and late ones, as the inbox
        ([10, 20, 90_000, 30, 40, 50], [0, 1, 3, 4, 5]),  # a wrong stamp in the future
        ([10, 20, 30, 50_000, 50_010, 60, 70, 80], [0, 1, 2, 5, 6, 7]),  # and one that lasts for a while
        ([0, 10, 20, 5000, 5010, 5020, 5030], [0, 1, 2, 3, 4, 5, 6]),  # a pause is none
        ([3000, 3010, 3020, 0, 10, 20, 30], [3, 4, 5, 6]),  # the clock starts again: the longer run
        ([3000, 3010, 3020, 3030, 0, 10, 20], [0, 1, 2, 3]),
    ],
)
def test_a_stream_has_one_time(stamps, expected):
    assert kept(stamps) == expected


@given(st.lists(st.integers(0, 900), max_size=30))
def test_without_jumps_it_is_the_inboxes_rule(offsets):
    stamps = [START + value * MS for value in offsets]
    [item] = [item for item in SPEC.inputs if item.name == "image"]
    inbox = Inbox("camera", (item,), StreamPolicy())
    accepted = [bool(inbox.push(np.zeros((1, 2, 8, 8), np.float32), stamp)) for stamp in stamps]
    assert taken(np.array(stamps, np.int64), RESET).tolist() == accepted


def tracks(path, **imu):
    policies = {"imu": StreamPolicy(kind="window", **imu)}
    [source] = open_sources([path], SPEC, Recorded(policies=policies, state=STATE), None, None)
    return source.tracks


def test_a_window_is_full_where_the_runtimes_is(tmp_path):
    arrays = robot(seconds=3.0, lost=0.0)
    keep = np.ones(len(arrays["gyro"]), bool)
    keep[100:140] = False  # 400 ms, longer than the window of 80 ms
    arrays |= {name: arrays[name][keep] for name in ("gyro", "gyro.stamp_ns")}
    track = tracks(write(tmp_path / "r.npz", arrays), sample_hz=100.0)["imu"]
    assert np.flatnonzero(~track.full).tolist() == [*range(7), *range(100, 107)]
    assert track.first[107] == 100 and track.first[99] == 0
    assert track.since_ns[50] == track.times_ns[42] and track.reach_ns >= 8 * 9 * MS


@pytest.mark.parametrize("chunk", [2, 3, 8, 20])
def test_deliveries_of_several_samples_fill_it_sooner(tmp_path, chunk):
    arrays = robot(seconds=3.0, lost=0.0)
    count = len(arrays["gyro"]) // chunk
    arrays["gyro"] = arrays["gyro"][: count * chunk].reshape(count, 1, chunk, 4)
    arrays["gyro.stamp_ns"] = times(count, 100 / chunk)
    track = tracks(write(tmp_path / "r.npz", arrays))["imu"]
    assert np.flatnonzero(track.full)[0] == -(-8 // chunk) - 1


def test_what_goes_back_is_counted_and_offsets_are_added(tmp_path):
    arrays = robot(seconds=3.0, lost=0.0)
    arrays["image.stamp_ns"][20] = arrays["image.stamp_ns"][10]
    path = write(tmp_path / "r.npz", arrays)
    policies = {"imu": StreamPolicy(kind="window"), "camera": StreamPolicy(offset_ms=-7.0)}
    [source] = open_sources([path], SPEC, Recorded(policies=policies, state=STATE), None, None)
    track = source.tracks["camera"]
    assert track.backwards == 1 and 20 not in track.numbers
    assert track.times_ns[0] == arrays["image.stamp_ns"][0] - 7 * MS


def test_a_clock_that_was_set_on_the_way_gives_no_samples_of_that_time(tmp_path):
    """As where a robot's clock is set by NTP: the sensors' stamps jump by a day, the labels' do not."""
    arrays = robot(seconds=6.0, lost=0.0, labels=np.arange(60))
    for name in ("image", "gyro", "points", "power"):
        stamps = arrays[f"{name}.stamp_ns"]
        arrays[f"{name}.arrival_ns"] = arrays["points.arrival_ns"] if name == "power" else stamps.copy()
        stamps += np.where(stamps > START + 4000 * MS, 86_400_000 * MS, 0) * (name != "power")
    path = write(tmp_path / "r.npz", arrays)
    recorded = Recorded(policies={"imu": StreamPolicy(kind="window")}, state=STATE)
    [source] = open_sources([path], SPEC, recorded, None, None)
    assert source.tracks["camera"].strayed == 60 and source.tracks["camera"].backwards == 0
    assert len(source.aligned) > 100 and source.aligned.times_ns.max() <= START + 4000 * MS
    assert source.to_json()["streams"]["camera"]["other_clock"] == 60


def test_a_stream_with_a_clock_of_its_own_is_an_error_that_says_what_mends_it(tmp_path):
    arrays = robot(seconds=6.0, lost=0.0)
    arrays["image.arrival_ns"] = arrays["image.stamp_ns"].copy()
    arrays["image.stamp_ns"] += 86_400_000 * MS
    recorded = Recorded(policies={"imu": StreamPolicy(kind="window")}, state=STATE)
    with pytest.raises(CalibrationError, match="all 180 stamps of the stream 'camera' are more than 1 h away") as error:
        open_sources([write(tmp_path / "r.npz", arrays)], SPEC, recorded, None, None)
    assert "[streams.camera] offset_ms" in (error.value.hint or "")


def test_an_offset_mends_a_clock_that_differs_by_a_constant(tmp_path):
    arrays = robot(seconds=3.0, lost=0.0)
    arrays["image.arrival_ns"] = arrays["image.stamp_ns"].copy()
    arrays["image.stamp_ns"] += 86_400_000 * MS
    policies = {"imu": StreamPolicy(kind="window"), "camera": StreamPolicy(offset_ms=-86_400_000.0)}
    path = write(tmp_path / "r.npz", arrays)
    [source] = open_sources([path], SPEC, Recorded(policies=policies, state=STATE), None, None)
    assert source.tracks["camera"].strayed == 0 and len(source.aligned) > 60
