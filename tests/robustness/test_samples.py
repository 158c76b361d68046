"""Which samples a case takes, and what stands in for others."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.robustness.cases import NO_AGE, NO_TIMES, permuted_cases
from edgefuse.robustness.corruptions.timing import NOBODY, TIMINGS, stand_ins
from edgefuse.robustness.samples import Evenly, temporary_rows
from tests.robustness.robots import SPEC, Linear, cases_of, clipped, make_bundle, measure

HALF_S, COUNT = 500_000_000, 200


def test_samples_without_times_and_latched_streams_are_told_and_not_guessed(tmp_path):
    plain = make_bundle(tmp_path, 40)
    found = measure(plain, Linear())
    assert {item["reason"] for item in found["unmeasured"]} == {NO_TIMES} and len(found["unmeasured"]) == 6
    assert not cases_of(found, name="delayed")
    timed = make_bundle(tmp_path, 40, stamps_ns=np.arange(40) * HALF_S, streams={"imu": {"kind": "latched"}})
    found = measure(timed, Linear())
    assert [(item["stream"], item["reason"]) for item in found["unmeasured"]] == [("imu", NO_AGE)] * 3
    assert cases_of(found, stream="camera", name="delayed")


def test_recordings_are_the_independent_units(tmp_path):
    """Of few recordings nothing can be said, however many samples they have."""
    groups = np.arange(COUNT) // 40
    found = measure(make_bundle(tmp_path, COUNT, groups=groups), clipped(), severities=(3,))
    assert found["recordings"] == 5 and found["verdict"] is None
    assert {case["verdict"] for case in found["cases"]} == {None}
    groups = np.arange(COUNT) // 5
    found = measure(make_bundle(tmp_path, COUNT, groups=groups), clipped(), severities=(3,))
    assert found["recordings"] == 40 and found["verdict"] == "fail"
    large = cases_of(found, stream="camera", name="values too large", severity=3)[0]
    assert "by group" in large["interaction"]["method"] and large["verdict"] == "fail"


def test_fewer_samples_are_spread_over_recordings_and_their_length(tmp_path):
    groups = np.repeat([7, 3, 9], [100, 200, 100])
    bundle = make_bundle(tmp_path, 400, groups=groups)
    chosen = Evenly(bundle.path / "golden.npz", 40)
    assert len(chosen) == 40 and [int((groups[list(chosen.chosen)] == group).sum()) for group in (7, 3, 9)] == [
        10,
        20,
        10,
    ]
    assert max(np.diff(chosen.chosen)) <= 12 and len(list(chosen)) == 40
    assert len(Evenly(bundle.path / "golden.npz", 1000)) == 400
    compiled = Linear()
    found = measure(bundle, compiled, samples=24, severities=(2, 3))
    assert found["samples"] == 24 and found["of_samples"] == 400
    rounds = len(found["cases"]) + 2 + 1  # permuted, clean
    assert compiled.calls <= 24 * (rounds + len(found["subsets"]) + 1) + 24, "each case once per sample"


def by_hand(name, stamps, groups, amount, period_ns):
    """The rules of docs/robustness.md, sample by sample."""
    found = []
    for stamp, group in zip(stamps, groups):
        same = [other for other in range(len(stamps)) if groups[other] == group]
        older = [other for other in same if stamps[other] < stamp]
        if name == "delayed":
            wanted = stamp - amount * period_ns
            found.append(min(older, key=lambda other: (abs(stamps[other] - wanted), stamps[other]), default=NOBODY))
        else:
            start = min(stamps[other] for other in same)
            stretch = [
                other
                for other in same
                if (stamps[other] - start) // (amount * 1e9) == (stamp - start) // (amount * 1e9)
            ]
            first = min(stretch, key=lambda other: stamps[other])
            found.append(first if stamps[first] < stamp else NOBODY)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_stand_ins_are_those_that_a_search_by_hand_finds(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 3, 60)
    stamps = rng.permutation(60) * 137_000_000 + rng.integers(0, 50_000_000, 60)  # in no order, unevenly spaced
    for timing in TIMINGS[:2]:
        for amount in (0.5, 2.0, 10.0):
            got = stand_ins(timing, amount, stamps, groups, 1e8, rng)
            expected = by_hand(timing.name, stamps.tolist(), groups.tolist(), amount, 1e8)
            assert (
                stamps[got].tolist() == stamps[expected].tolist()
                and ((got == NOBODY) == (np.array(expected) == NOBODY)).all()
            )


def test_dropped_frames_hold_the_last_one_of_the_same_recording():
    stamps, groups = np.arange(1000) * HALF_S, np.arange(1000) // 100
    held = stand_ins(TIMINGS[2], 0.6, stamps, groups, 1e8, np.random.default_rng(0))
    own = held == np.arange(1000)
    there = held != NOBODY
    assert own.mean() == pytest.approx(0.4, abs=0.06) and (held <= np.arange(1000)).all()
    assert (groups[held[there]] == groups[there]).all() and own[held[there]].all()
    for place in np.flatnonzero(there & ~own):
        assert not own[held[place] + 1 : place + 1].any()


def test_a_permuted_stream_shows_another_recording_where_there_are_several():
    streams = {"camera": SPEC.inputs[:1], "imu": SPEC.inputs[1:]}
    groups, chosen = np.arange(300) // 50, tuple(range(0, 300, 2))
    cases = permuted_cases(streams, chosen, 300, groups, 0)
    for case in cases:
        others = case.stand_ins[list(chosen)]
        assert (groups[others] != groups[list(chosen)]).all() and len(set(others.tolist())) > 30
        assert (np.delete(case.stand_ins, chosen) == NOBODY).all()
    assert not np.array_equal(cases[0].stand_ins, cases[1].stand_ins)
    (alone,) = permuted_cases({"camera": SPEC.inputs[:1]}, (4,), 300, None, 0)
    assert alone.stand_ins[4] == NOBODY


def test_rows_come_back_as_they_were():
    arrays = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.array([[True]])}
    with temporary_rows() as rows:
        rows.put(7, arrays)
        rows.put(3, {"a": arrays["a"] * 2})
        assert np.array_equal(rows.get(7, "a"), arrays["a"]) and rows.get(7, "b").dtype == bool
        assert np.array_equal(rows.get(3, "a"), arrays["a"] * 2)
