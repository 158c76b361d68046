"""Which sensors a stream may do without."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.errors import UsageError
from edgefuse.spec import DimRange, TensorSpec
from edgefuse.stream.absent import absences_to_measure, check_absences, measured_absences
from edgefuse.stream.policy import StreamPolicy
from tests.stream.robots import push_all, session

MS = 1_000_000

OPTIONAL = StreamPolicy(required=False, on_stale="fallback")


def streams(count, *dynamic):
    return {
        name: (TensorSpec(name, (1, DimRange(1, 3) if name in dynamic else 3)),)
        for name in (f"s{number}" for number in range(count))
    }


def test_every_stream_is_measured_alone_and_those_with_a_fallback_together():
    policies = {"s0": OPTIONAL, "s2": StreamPolicy(on_stale="fallback"), "s1": StreamPolicy(on_stale="hold")}
    found = absences_to_measure(policies, streams(3))
    assert found == [{"s0"}, {"s1"}, {"s2"}, {"s0", "s2"}]


def test_all_streams_are_never_absent_and_a_dynamic_one_has_no_fallback():
    assert absences_to_measure({"s0": OPTIONAL, "s1": OPTIONAL}, streams(2)) == [{"s0"}, {"s1"}]
    assert absences_to_measure({}, streams(1)) == []
    assert absences_to_measure({}, streams(3, "s1")) == [{"s0"}, {"s2"}]


def test_of_many_streams_with_a_fallback_pairs_are_the_largest_combinations():
    found = absences_to_measure(dict.fromkeys((f"s{n}" for n in range(5)), OPTIONAL), streams(6))
    assert max(map(len, found)) == 2 and len(found) == 6 + 10


def test_what_was_measured_with_another_number_does_not_count():
    rows = [{"absent": ["s0"], "fills": {"s0": 0.0}}, {"absent": ["s0", "s1"], "fills": {"s0": 0.0, "s1": 0.5}}]
    assert measured_absences(rows, {"s0": OPTIONAL, "s1": OPTIONAL}) == {frozenset(["s0"])}
    found = measured_absences(rows, {"s0": OPTIONAL, "s1": StreamPolicy(fallback=0.5)})
    assert found == {frozenset(["s0"]), frozenset(["s0", "s1"])}
    with pytest.raises(UsageError, match=r"nobody has measured.* 0\.25 in the place of 's0'"):
        changed = {"s0": StreamPolicy(required=False, on_stale="fallback", fallback=0.25)}
        check_absences(measured_absences(rows, changed), changed)


def sources(result):
    return {name: state.source for name, state in result.streams.items()}


def test_a_step_has_no_answer_while_more_is_absent_than_was_measured():
    rng = np.random.default_rng(0)
    policy = {"camera": {"max_age_ms": 50, "on_stale": "fallback"}, "lidar": {"required": False}}
    stream = session(policy, absences=[frozenset(["camera"]), frozenset(["lidar"])])
    push_all(stream, rng, 0, ("camera", "imu", "goal"))
    first = stream.step(0)
    assert first.ok and sources(first)["lidar"] == "fallback"
    both = stream.step(90 * MS)
    assert both.status == "waiting" and both.outputs is None
    assert both.reason.startswith("camera and lidar are absent together")
    push_all(stream, rng, 91 * MS, ("lidar",))
    one = stream.step(92 * MS)
    assert one.ok and sources(one)["camera"] == "fallback"
    assert stream.step(700 * MS).status == "stale", "the lidar was there once, and is too old"
