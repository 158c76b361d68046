"""A calibration sample is what the runtime would feed the model at that instant, bit for bit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgefuse.calibration.reading import take_samples
from edgefuse.calibration.recorded import Recorded, open_sources
from edgefuse.replay.events import RecordedClock, TickRule, drive, in_order, ticks
from edgefuse.stream.policy import StreamPolicy
from tests.calibration.robot import SPEC, WINDOW, robot
from tests.recordings.files import MS, START, write
from tests.stream.robots import STATE, session


def policies(**imu):
    """As strict as they can be: nothing from the future, so that a replay without transport time sees the same."""
    changes = {"imu": {**WINDOW, **imu}, "goal": {"kind": "latched"}, "lidar": {"max_age_ms": 150.0}, "camera": {}}
    return {name: {**keys, "max_early_ms": 0.0} for name, keys in changes.items()}


def opened(path, changes):
    given = {name: StreamPolicy(**keys) for name, keys in changes.items()}
    [source] = open_sources([path], SPEC, Recorded(policies=given, state=STATE), None, None)
    return source


def samples(source, chosen=None):
    dropped = Counter()
    chosen = np.arange(len(source.aligned)) if chosen is None else np.asarray(chosen)
    args = (source.recording, source.tracks, source.aligned, chosen, source.labels is not None, dropped)
    return {int(source.aligned.times_ns[taken.instant]): taken for taken in take_samples(*args)}, dropped


def fed(path, changes):
    """What a session feeds the model at each delivery of the camera, by the time of the step."""
    with session(changes) as stream:
        recording = opened(path, changes).recording
        found = {}
        for step in drive(stream, in_order(recording, ticks(TickRule("camera"), recording)), RecordedClock()):
            if step.result.outputs is not None:
                found[step.now_ns] = {name: array.copy() for name, array in stream.feed().items()}
    return found


@pytest.mark.parametrize("gap", ["hold", "zero", "restart"])
def test_samples_are_what_a_session_feeds_the_model_in_a_replay(tmp_path, gap):
    path = write(tmp_path / "r.npz", robot(seconds=6.0, bad=0.05, lost=0.05))
    found, dropped = samples(opened(path, policies(gap=gap)))
    expected = fed(path, policies(gap=gap))
    assert len(found) > 60 and dropped["camera: not finite"] > 0
    for now_ns, taken in found.items():
        for name, array in taken.feed.items():
            assert array.dtype == expected[now_ns][name].dtype
            assert np.array_equal(array, expected[now_ns][name]), (name, now_ns)


def test_a_chosen_sample_is_the_same_as_among_all(tmp_path):
    """Windows are made anew from a few hundred deliveries: none differs from one with the whole past."""
    path = write(tmp_path / "r.npz", robot(seconds=20.0, lost=0.05))
    source = opened(path, policies())
    everything, _ = samples(source)
    some, dropped = samples(source, [40, 41, 300, 500])
    assert len(some) == 4 and not dropped
    for now_ns, taken in some.items():
        assert all(np.array_equal(array, everything[now_ns].feed[name]) for name, array in taken.feed.items())


def test_what_cannot_be_used_makes_no_window_of_other_times(tmp_path):
    """One in six samples of the gyro is NaN, and each window is far from the one before."""
    arrays = robot(seconds=20.0, lost=0.0)
    arrays["gyro"][::6] = np.nan
    changes = policies(sample_hz=None)
    source = opened(write(tmp_path / "r.npz", arrays), changes)
    everything, _ = samples(source)
    some, dropped = samples(source, range(20, 500, 40))
    assert len(some) > 6 and set(dropped) <= {"imu: not finite", "window of imu not full"}
    for now_ns, taken in some.items():
        assert np.array_equal(taken.feed["gyro"], everything[now_ns].feed["gyro"])
    arrays["gyro"][200:230] = np.nan  # more than a window and its reserve
    source = opened(write(tmp_path / "s.npz", arrays), changes)
    after = int(np.searchsorted(source.aligned.times_ns, arrays["gyro.stamp_ns"][232]))
    some, dropped = samples(source, [10, after])
    assert len(some) == 1 and dropped == {"window of imu not full": 1}


def push_until(stream, arrays, now_ns):
    """Everything that a sensor with these policies had acquired by *now_ns*; the camera's stamps are 20 ms late."""
    for stream_name, names, ahead in [
        ("camera", ["image"], 20),
        ("imu", ["gyro"], 5),
        ("lidar", ["points", "power"], 0),
        ("goal", ["words"], 0),
    ]:
        for row, stamp in enumerate(arrays[f"{names[0]}.stamp_ns"].tolist()):
            if stamp <= now_ns + ahead * MS:
                given = {name: arrays[name][row] for name in names}
                if stream_name in ("lidar", "goal"):
                    given = {name: array[np.newaxis] for name, array in given.items()}
                assert stream.push(stream_name, given, stamp)


def test_stamps_a_little_ahead_count_as_now_and_offsets_are_added(tmp_path):
    changes = policies()
    changes["imu"] |= {"max_early_ms": 5.0}
    changes["camera"] |= {"offset_ms": -20.0}
    path = write(tmp_path / "r.npz", arrays := robot(seconds=3.0, lost=0.0))
    found, _ = samples(opened(path, changes))
    assert len(found) > 70
    with session(changes) as stream:
        for now_ns, taken in list(found.items())[::7]:
            stream.reset()
            push_until(stream, arrays, now_ns)
            assert stream.step(now_ns).outputs is not None
            assert all(np.array_equal(array, stream.feed()[name]) for name, array in taken.feed.items())


def test_only_what_is_needed_is_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "r.npz", robot(seconds=20.0, lost=0.0))
    source, asked = opened(path, policies()), {}
    read = type(source.recording).messages
    monkeypatch.setattr(
        type(source.recording),
        "messages",
        lambda self, streams, chosen: asked.update(chosen) or read(self, streams, chosen),
    )
    found, _ = samples(source, [100, 400])
    assert len(found) == 2 and {name: len(asked[name]) for name in ("camera", "lidar")} == {"camera": 2, "lidar": 2}
    assert 2 * 8 <= len(asked["imu"]) <= 2 * (8 + 1 + 256)


def test_labels_are_the_newest_that_are_not_later(tmp_path):
    path = write(tmp_path / "r.npz", robot(seconds=6.0, labels=np.arange(6)))
    found, _ = samples(opened(path, policies()))
    assert {int(taken.label) == (now - START) // 10**9 for now, taken in found.items()} == {True}
