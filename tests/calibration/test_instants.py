"""When samples are taken, and what each has: nothing from the future, nothing too old, nothing made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefuse.calibration.instants import Anchor, align, instants, parse_anchor, settle_anchor
from edgefuse.calibration.labels import Labels
from edgefuse.errors import UsageError
from tests.calibration.robot import track
from tests.recordings.files import MS

TIMES = st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True).map(sorted)


def labels(stamps_ms, values=None):
    values = np.arange(len(stamps_ms), dtype=float) if values is None else np.array(values, float)
    known = ~np.isnan(values)
    return Labels(np.array(stamps_ms, np.int64) * MS, known, values[:, np.newaxis], False)


def ms(values):
    return np.array(values, np.int64) * MS


@given(TIMES, TIMES, st.sampled_from([None, 5, 50]), st.sampled_from([0, 5]))
def test_a_sample_has_the_newest_data_that_are_neither_late_nor_too_old(asked, stamps, limit, early):
    camera = track(ms(stamps), limit_ms=limit, early_ms=early)
    found = align(ms(asked), {"camera": camera}, None)
    expected = {}
    for now in asked:
        past = [index for index, stamp in enumerate(stamps) if stamp <= now + early]
        if past and (limit is None or now - stamps[past[-1]] <= limit):
            expected[now * MS] = past[-1]
    assert dict(zip(found.times_ns.tolist(), found.used["camera"].tolist())) == expected
    assert len(found) + found.dropped.total() == len(asked)


def test_each_reason_is_counted_once_and_in_words():
    camera, lidar = track(ms(range(0, 1000, 100))), track(ms([250, 260, 700]), "lidar", limit_ms=150)
    goal = track(ms([150]), "goal", kind="latched")
    imu = track(ms(range(0, 1000, 10)), "imu", limit_ms=50, kind="window", full=[False] * 35 + [True] * 65)
    found = align(camera.times_ns, {item.name: item for item in (camera, lidar, goal, imu)}, labels([0, 800]), 90)
    assert found.dropped == {
        "no lidar within 150 ms": 3 + 3,
        "window of imu not full": 1,
        "no label within 90 ms": 2,
    }
    assert (found.times_ns // MS).tolist() == [800]


def test_latched_data_may_be_of_any_age_and_there_is_nothing_before_the_first():
    goal = track(ms([300]), "goal", kind="latched")
    found = align(ms(range(0, 10_000, 100)), {"goal": goal}, None)
    assert found.dropped == {"no goal yet": 3} and len(found) == 97


def test_a_label_that_nobody_knows_is_none():
    camera = track(ms([5, 15, 25, 35]))
    found = align(camera.times_ns, {"camera": camera}, labels([10, 20, 30], [1, np.nan, 3]))
    assert found.dropped == {"no label yet": 1, "label unknown (NaN)": 1} and found.label.tolist() == [0, 2]


def test_the_fastest_stream_of_whole_deliveries_is_the_anchor():
    given = {
        "camera": track(ms(range(0, 900, 33)), rate_hz=30),
        "lidar": track(ms(range(0, 900, 10)), "lidar", rate_hz=10),
        "imu": track(ms(range(0, 900, 5)), "imu", rate_hz=200, kind="window"),
    }
    assert settle_anchor(None, given, None, None) == Anchor(stream="camera")
    undeclared = {name: track(item.times_ns, name) for name, item in given.items() if name != "imu"}
    assert settle_anchor(None, undeclared, None, None) == Anchor(stream="lidar")
    assert settle_anchor(None, {"imu": given["imu"]}, None, None) == Anchor(stream="imu")


def test_labels_of_single_instants_are_the_anchor_where_they_are_fewer():
    given, few = {"camera": track(ms(range(0, 900, 33)))}, labels([100, 600])
    assert settle_anchor(None, given, few, 20.0) == Anchor(stream="label")
    assert settle_anchor(None, given, few, None) == Anchor(stream="camera"), "they hold until the next"
    assert settle_anchor(None, given, labels(range(0, 900, 10)), 20.0) == Anchor(stream="camera")
    assert instants(Anchor(stream="label"), given, few).tolist() == (few.stamps_ns).tolist()


def test_a_rate_covers_the_recording():
    found = instants(Anchor(rate_hz=20.0), {"camera": track(ms([1000, 1999]))}, None)
    assert found[0] == 1000 * MS and set(np.diff(found)) == {50 * MS} and len(found) == 20


@pytest.mark.parametrize(("text", "expected"), [("20hz", Anchor(rate_hz=20.0)), ("lidar", Anchor(stream="lidar"))])
def test_an_anchor_is_a_rate_or_a_stream(text, expected):
    assert parse_anchor(text) == expected


def test_a_wrong_anchor_is_refused():
    with pytest.raises(UsageError, match="0 Hz"):
        parse_anchor("0hz")
    with pytest.raises(UsageError, match="no stream 'camra'") as caught:
        settle_anchor(Anchor(stream="camra"), {"camera": track(ms([1]))}, None, None)
    assert "camera" in caught.value.hint
    with pytest.raises(UsageError, match="would take"):
        instants(Anchor(rate_hz=100.0), {"camera": track([0, 10**18])}, None)
