"""The promise: what a step computes from held features equals a full recompute of the same parts, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.stream.results import FALLBACK, FRESH, HELD
from tests.stream.robots import STATE, WINDOW, assembled, delivery, graph, session

MS = 1_000_000
STEPS = 2_600
"""Times four configurations: more than 10,000 random steps in every run of the tests."""

POLICIES = [
    {},
    {"camera": {"max_age_ms": 60, "on_stale": "hold", "priority": 1}, "lidar": {"max_age_ms": 150}},
    {"camera": {"max_age_ms": 50, "on_stale": "fallback", "fallback": 0.5}, "lidar": {"required": False}},
    {"goal": {"kind": "latched"}, "imu": {"kind": "window", "max_age_ms": 40, "priority": 5}},
]


class Recompute:
    """Everything anew at every step, from a diary of what was delivered."""

    def __init__(self, parts, spec, policy):
        self.parts, self.policy = parts, policy
        self.specs = {item.name: item for item in spec.inputs}
        self.start()

    def start(self):
        self.state, self.diary, self.samples = np.zeros((1, 6), np.float32), {}, []

    def note(self, name, value, stamp_ns):
        if name == "imu":
            self.samples.append((stamp_ns, value))
        else:
            self.diary[name, stamp_ns] = value

    def feed(self, streams):
        feed = {"h": self.state}
        for name, inputs in {"camera": ["image"], "lidar": ["points", "power"], "goal": ["words"]}.items():
            seen = streams[name]
            if seen.source == FALLBACK:
                number = self.policy.get(name, {}).get("fallback", 0.0)
                feed |= {key: np.full(self.specs[key].shape, number, self.specs[key].dtype) for key in inputs}
            else:
                value = self.diary[name, seen.stamp_ns]
                feed |= value if isinstance(value, dict) else {inputs[0]: value}
        upto = [value for stamp, value in self.samples if stamp <= streams["imu"].stamp_ns]
        feed["gyro"] = np.concatenate(upto[-WINDOW:], axis=1)
        return feed

    def answer(self, streams):
        found = self.parts(self.feed(streams))
        self.state = found[STATE["h"]]
        return found


@pytest.mark.parametrize("precision", ["float", "int8"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_step_equals_a_full_recompute_bit_for_bit(backend, precision):
    answered, prepared, statuses, sources, ran = 0, 0, set(), set(), set()
    parts, spec = assembled(backend, precision)
    whole, _ = assembled(backend, precision)
    for number, policy in enumerate(POLICIES):
        stream, oracle = session(policy, parts), Recompute(whole, spec, policy)
        rng, now, last = np.random.default_rng(number), 0, None
        for _ in range(STEPS // len(POLICIES)):
            now += int(rng.integers(1, 12)) * MS
            for name, chance in (("camera", 0.3), ("imu", 0.9), ("lidar", 0.15), ("goal", 0.02)):
                if rng.random() < chance or (now < 40 * MS and rng.random() < 0.5):
                    value, stamp = delivery(name, rng), now - int(rng.integers(0, 3)) * MS
                    if stream.push(name, value, stamp):
                        oracle.note(name, value, stamp)
            if rng.random() < 0.3:
                prepared += len(stream.prepare(now, now + 5 * MS if rng.random() < 0.3 else None))
                value = delivery("camera", rng)
                if rng.random() < 0.2 and stream.push("camera", value, now):
                    oracle.note("camera", value, now)
            if rng.random() < 0.004:
                stream.reset()
                oracle.start()
                last = None
            result = stream.step(now, now + int(rng.integers(1, 9)) * MS if rng.random() < 0.5 else None)
            statuses.add(result.status)
            ran.add(result.ran)
            if result.status == "ok":
                sources |= {state.source for state in result.streams.values()}
                wanted, answered = oracle.answer(result.streams), answered + 1
                for name in spec.outputs:
                    assert result[name].tobytes() == wanted[name].tobytes(), (number, result)
                last = wanted
            elif result.status == "late":
                assert last is not None and result.late
                assert all(np.array_equal(result[name], last[name]) for name in spec.outputs)
            else:
                assert result.outputs is None and result.reason
    parts.close()
    whole.close()
    assert answered > STEPS / 2, "the test must not be empty"
    assert prepared > STEPS / 20
    assert statuses == {"ok", "late", "waiting", "stale"} and sources == {FRESH, HELD, FALLBACK} and len(ran) > 8


def test_the_robot_has_the_parts_that_these_tests_are_about():
    stream = session()
    parts = stream.parts.partition
    assert [part.name for part in parts.parts] == ["camera", "imu", "lidar", "goal", "trunk"]
    assert parts.runs_always(parts["imu"]) and "seen" in parts["camera"].outputs
    assert graph()[1].outputs == ("velocity", "seen", "h_out")
