"""Which time calibrates and which is held out: whole stretches, with a gap between them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefuse.calibration.instants import Aligned
from edgefuse.calibration.stretches import Cut, assign
from edgefuse.errors import CalibrationError
from tests.recordings.files import MS, START


def cut(seconds=60.0, rate_hz=30.0, reach_ms=100, age_ms=20, changes_s=(), start_ns=START):
    times = start_ns + np.round(np.arange(int(seconds * rate_hz)) * 1e9 / rate_hz).astype(np.int64)
    changes = start_ns + np.round(np.array(changes_s) * 1e9).astype(np.int64)
    aligned = Aligned(times, {}, np.zeros(len(times), np.int64), times - age_ms * MS, Counter())
    return Cut(aligned, changes, reach_ms * MS, 5 * MS)


@settings(max_examples=50, deadline=None)
@given(
    st.floats(2.0, 200.0),
    st.sampled_from([10, 100, 700]),
    st.integers(0, 3),
    st.lists(st.floats(0.0, 200.0), max_size=30),
)
def test_no_data_are_in_both_splits(seconds, reach_ms, seed, changes):
    given = cut(seconds, reach_ms=reach_ms, age_ms=reach_ms, changes_s=sorted(changes))
    try:
        [found] = assign([given], seed)
    except CalibrationError:
        assert seconds < 4 * reach_ms / 1e3
        return
    times, held_out = given.aligned.times_ns[found.kept], found.held_out[found.kept]
    starts, ends = given.aligned.since_ns[found.kept], times + given.early_ns
    for one, other in [(True, False), (False, True)]:
        ordered = np.sort(ends[held_out == one])
        for start, time in zip(starts[held_out == other], times[held_out == other]):
            before = ordered[ordered < time]
            assert not len(before) or before[-1] < start, "data of the stretch before"


def test_stretches_alternate_and_both_splits_get_about_half():
    [found] = assign([cut(200.0)], 0)
    turns = [int(found.held_out[found.stretch == stretch][0]) for stretch in np.unique(found.stretch)]
    assert turns == [0, 1] * 20 and found.kept.mean() > 0.95
    assert 0.45 < found.held_out[found.kept].mean() < 0.55
    [other] = assign([cut(200.0)], 1)
    assert (other.held_out != found.held_out).all()


@pytest.mark.parametrize(
    ("seconds", "reach_ms", "stretches"), [(200, 100, 40), (80, 100, 22), (30, 400, 16), (10, 400, 16), (10, 2000, 2)]
)
def test_there_are_as_many_stretches_as_the_gaps_allow(seconds, reach_ms, stretches):
    [found] = assign([cut(seconds, reach_ms=reach_ms)], 0)
    assert len(np.unique(found.stretch)) == stretches


def test_a_scene_stays_in_one_split():
    changes = np.arange(1, 60)
    [found] = assign([cut(60.0, changes_s=changes)], 0)
    times = (cut(60.0).aligned.times_ns - START) / 1e9
    for second in range(60):
        scene = (times >= second + 1e-6) & (times < second + 1 - 1e-6)
        assert len(np.unique(found.held_out[scene])) == 1


def test_too_little_time_is_told_with_what_a_sample_needs():
    with pytest.raises(CalibrationError, match="too short") as caught:
        assign([cut(1.0, reach_ms=3000)], 0)
    assert "3" in caught.value.what and "tolerance_ms" in caught.value.hint


def test_two_recordings_share_the_stretches_and_groups_are_their_own():
    found = assign([cut(50.0), cut(150.0)], 0)
    counts = [len(np.unique(item.stretch)) for item in found]
    assert counts == [10, 30] and not set(found[0].group) & set(found[1].group)
    assert not set(found[0].stretch) & set(found[1].stretch)
    assert all(0.3 < item.held_out.mean() < 0.7 for item in found)


@pytest.mark.parametrize("count", [4, 5, 9])
def test_of_many_recordings_whole_ones_are_held_out(count):
    found = assign([cut(20.0) for _ in range(count)], 3)
    kinds = [set(item.held_out.tolist()) for item in found]
    assert all(len(kind) == 1 for kind in kinds) and sum(kind == {True} for kind in kinds) == count // 2
    assert all(item.kept.all() for item in found)
    assert kinds == [set(item.held_out.tolist()) for item in assign([cut(20.0)] * count, 3)]


def test_a_group_lasts_about_a_second_lies_in_one_stretch_and_ends_where_the_label_changes():
    changes = np.arange(1, 120)
    given = cut(120.0, changes_s=changes)
    [found] = assign([given], 0)
    seconds = (given.aligned.times_ns - START) / 1e9
    spans = [np.ptp(seconds[found.group == group]) for group in np.unique(found.group)]
    assert 0.8 < np.median(spans) < 1.05 and max(spans) < 2.05
    assert all(len(np.unique(found.stretch[found.group == group])) == 1 for group in np.unique(found.group))
    [wide] = assign([cut(120.0, reach_ms=2000)], 0)
    assert np.median([np.ptp(seconds[wide.group == group]) for group in np.unique(wide.group)]) > 1.9


def test_of_many_held_out_recordings_each_is_a_group():
    found = assign([cut(5.0) for _ in range(40)], 0)
    assert [len(np.unique(item.group)) for item in found] == [1] * 40
    assert len(np.unique(np.concatenate([item.group for item in found]))) == 40
