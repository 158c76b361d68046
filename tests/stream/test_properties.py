"""The promise on random fusion graphs: whatever is delivered when, a step equals a full recompute of its parts bit for
bit."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgefuse.assembled import Assembled
from edgefuse.partition import split
from edgefuse.spec import TensorSpec
from edgefuse.stream.features import Engine
from edgefuse.stream.policy import override, sensor_inputs
from edgefuse.stream.results import FALLBACK
from edgefuse.stream.session import Session
from tests.partition import random_graphs
from tests.partition.graphs import build, node, open_parts, run, same
from tests.partition.random_graphs import ROWS, Growing, fusion_graphs

MS = 1_000_000
STEPS = 25
POLICIES = [
    {},
    {"max_age_ms": 20, "on_stale": "hold"},
    {"max_age_ms": 30, "priority": 1},
    {"max_age_ms": 50, "on_stale": "fallback", "fallback": 0.5},
    {"kind": "latched"},
]
many = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


class Part:
    """A part in ONNX Runtime; *fails* says which of its runs raise."""

    def __init__(self, session, outputs, fails=()):
        self.session, self.outputs, self.fails, self.runs = session, list(outputs), fails, 0

    def __call__(self, feed):
        self.runs += 1
        if self.runs in self.fails:
            raise KeyboardInterrupt
        return run(self.session, feed, self.outputs)

    def close(self):
        """Nothing is held."""


@st.composite
def graphs_that_read_shapes(draw):
    """One-row data of a sensor are made as long as another's, and folded again: such a branch reads a shape."""
    g = Growing(draw)
    inputs = {f"x{i}": TensorSpec(f"x{i}", (ROWS if i % 2 else 1, 2), stream=f"s{i}") for i in range(g.number(2, 4))}
    g.pool = [(name, *item.shape) for name, item in inputs.items()]
    for name in [name for name, item in inputs.items() if not item.dynamic]:
        other = draw(st.sampled_from([name for name, item in inputs.items() if item.dynamic]))
        long = g.temporary("Relu", g.temporary("Expand", f"{name} {g.temporary('Shape', other)}"))
        g.add("ReduceSum", f"{long} {g.constant(np.array([0]))}", 1, 2)
    for _ in range(g.number(0, 8)):
        draw(st.sampled_from(random_graphs.STEPS))(g)
    random_graphs.meet(g)
    made = g.pool[len(inputs) :]
    outputs = [name for name, _, _ in draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))]
    model, spec = build(g.nodes, inputs, outputs, **g.constants)
    return model, spec, {}


def value_of(item, rows, rng):
    return rng.normal(size=[dim if isinstance(dim, int) else rows for dim in item.shape]).astype(item.dtype)


class Robot:
    """A session on the parts of a random graph, and a diary of what was delivered."""

    def __init__(self, case, seed, fails=False):
        model, spec, state = case
        found, self.rng = split(model, spec, state), np.random.default_rng(seed)
        sessions, self.partition, self.spec = open_parts(found.models()), found.partition, spec
        self.parts = self._assembled(sessions)
        self.streams = sensor_inputs(spec, state)
        steady = [policy for policy in POLICIES if "fallback" not in policy]
        self.policy = {
            name: POLICIES[self.rng.integers(len(POLICIES))]
            if not any(item.dynamic for item in items)
            else steady[self.rng.integers(len(steady))]
            for name, items in self.streams.items()
        }
        times = {part.name: float(self.rng.uniform(0.1, 3)) for part in self.partition.parts}
        flaky = self._assembled(sessions, sorted(self.rng.integers(1, 20, 4)) if fails else ())
        engine = Engine(spec, flaky, threading.RLock(), times, lambda: None, lambda error: None)
        self.session = Session(engine, override({}, self.policy, self.streams), "estimated")
        self.diary, self.now, self.last = {}, 0, None
        self.start()

    def _assembled(self, sessions, fails=()):
        runners = {part.name: Part(sessions[part.name], part.outputs, fails) for part in self.partition.parts}
        return Assembled(self.partition, runners, self.spec)

    def start(self):
        known = {item.name: item for item in self.spec.inputs}
        self.state = {name: np.zeros(known[name].smallest(), known[name].dtype) for name, _ in self.partition.state}

    def deliver(self):
        self.now += int(self.rng.integers(1, 12)) * MS
        rows = int(self.rng.integers(2, 5))  # mostly alike, or they do not fit each other
        for name, items in self.streams.items():
            if self.rng.random() < (0.9 if self.now < 20 * MS else 0.35):
                rows = rows if self.rng.random() < 0.8 else int(self.rng.integers(2, 5))
                given = {item.name: value_of(item, rows, self.rng) for item in items}
                if self.session.push(name, given, self.now):
                    self.diary[name, self.now] = given

    def feed(self, states):
        feed = dict(self.state)
        for name, items in self.streams.items():
            if states[name].source == FALLBACK:
                number = self.policy[name].get("fallback", 0.0)
                feed |= {item.name: np.full(item.smallest(), number, item.dtype) for item in items}
            else:
                feed |= self.diary[name, states[name].stamp_ns]
        return feed

    def step(self):
        """Deliver something, step, compare; returns the step's status, or "failed"."""
        self.deliver()
        if self.rng.random() < 0.03:
            self.session.reset()
            self.start()
            self.last = None
        deadline = self.now + int(self.rng.integers(1, 9)) * MS if self.rng.random() < 0.4 else None
        try:
            result = self.session.step(self.now, deadline)
        except (Exception, KeyboardInterrupt):
            return "failed"
        if result.status == "ok":
            self.last = self.parts(self.feed(result.streams))
            self.state = {name: self.last[output] for name, output in self.partition.state}
        if result.outputs is not None:
            assert all(same(result[name], self.last[name]) for name in self.spec.outputs), (result, self.partition)
        return result.status


def drive(case, seed, fails=False):
    robot = Robot(case, seed, fails)
    if not robot.streams:
        return Counter()
    return Counter(robot.step() for _ in range(STEPS))


@given(fusion_graphs(), st.integers(0, 2**32))
@many
def test_static_graphs(case, seed):
    assert drive(case, seed)["failed"] == 0


@given(fusion_graphs(dynamic=True), st.integers(0, 2**32))
@many
def test_graphs_with_open_shapes(case, seed):
    drive(case, seed)  # rows that do not fit each other fail a step, and the next one is right again


@given(graphs_that_read_shapes(), st.integers(0, 2**32))
@many
def test_graphs_in_which_branches_read_the_shape_of_another_sensor(case, seed):
    drive(case, seed)


@given(st.one_of(fusion_graphs(), graphs_that_read_shapes()), st.integers(0, 2**32))
@many
def test_after_a_part_has_failed_the_next_step_is_right(case, seed):
    drive(case, seed, fails=True)


def test_an_output_that_is_an_input_of_the_state_is_what_the_step_read():
    """A delay line: ``h1`` is what ``h2`` was, whatever the order in which the state is carried on."""
    inputs = {name: TensorSpec(name, (1, 2), stream=name) for name in ("x", "h1", "h2")}
    nodes = [node("Add", "x h1", "y"), node("Add", "y h2", "z")]
    for state in ({"h2": "h1", "h1": "y"}, {"h1": "y", "h2": "h1"}):
        model, spec = build(nodes, inputs, ["y", "z", "h1"])
        assert drive((model, spec, state), 0)["ok"] > STEPS / 2
