"""A million steps of a stream on a bad day: does memory grow?

    python benchmarks/soak.py BUNDLE [--steps 1000000]

Random arrivals, drops, wrong deliveries of every kind, silences beyond ``max_age_ms``, deadlines that are too near, a
clock that jumps, resets, sessions that are closed and made anew, ``health()``, and a second thread that pushes all
the while. Prints the process's resident memory every 5 %; exits with status 1 if it has grown by more than 1 MiB over
the second half (by the least-squares line through 50 points). Standard library, numpy and the bundle's vendor alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import edgefuse
from edgefuse.bundle import open_bundle
from edgefuse.errors import FeedError
from edgefuse.golden import read_golden
from edgefuse.model import Model
from edgefuse.spec import Array, TensorSpec
from edgefuse.stream import Session
from edgefuse.stream.policy import sensor_inputs

MS = 1_000_000
POINTS = 100
LIMIT_MIB = 1.0
SESSION_STEPS = 50_000
HOUR_NS = 3600 * 1000 * MS
START_NS = 1000 * HOUR_NS
POLICIES: tuple[dict[str, Any], ...] = (
    {"kind": "latest", "max_age_ms": 60, "on_stale": "hold", "priority": 1},
    {"kind": "latest", "max_age_ms": 80, "on_stale": "fail"},
    {"kind": "latest", "max_age_ms": 50, "on_stale": "fallback", "required": False},
    {"kind": "latched"},
)
"""Taken in turns by the model's streams, whatever the bundle says."""


class Robot:
    """A stream, the deliveries that it may get, and what goes wrong; everything is drawn from one seed, but for the
    second thread."""

    def __init__(self, model: Model, path: Path, seed: int) -> None:
        with open_bundle(path) as bundle:
            self.feeds = [sample.feed for sample in itertools.islice(read_golden(bundle.path / "golden.npz"), 16)]
            state = dict(bundle.partition.state) if bundle.partition else {}
        self.model, self.rng = model, np.random.default_rng(seed)
        self.inputs = sensor_inputs(model.spec, state)
        self.policy = {name: {**POLICIES[i % 4], **_window(self.inputs[name])} for i, name in enumerate(self.inputs)}
        self.now_ns, self.silent = START_NS, dict.fromkeys(self.inputs, 0)
        self.said: Counter[str] = Counter()
        self.session = self._open()

    def _open(self) -> Session:
        return self.model.stream(self.policy)

    def renew(self) -> None:
        """What has been said is kept, the session is not."""
        health = self.session.health()
        self.said.update({f"step {name}": count for name, count in health.steps.items()})
        for name, counts in health.streams.items():
            self.said.update({f"{name} {reason}": count for reason, count in counts.items()})
        self.said.update({f"skipped {name}": count for name, count in health.skipped.items()})
        old, self.session = self.session, self._open()
        old.close()
        assert old.push(next(iter(self.inputs)), None, 0).reason == "closed"  # type: ignore[arg-type]

    def value(self, name: str) -> Array | dict[str, Array]:
        """A right delivery; of a window one to three samples, now and then all."""
        feed = self.feeds[int(self.rng.integers(len(self.feeds)))]
        if self.policy[name].get("kind") == "window":
            axis, item = self.policy[name]["axis"], self.inputs[name][0]
            count = item.smallest()[axis] if self.rng.random() < 0.05 else int(self.rng.integers(1, 4))
            return np.take(feed[item.name], range(count), axis)
        found = {item.name: feed[item.name] for item in self.inputs[name]}
        return found if len(found) > 1 else next(iter(found.values()))

    def step(self) -> None:
        self.now_ns += int(self.rng.integers(1, 12)) * MS
        for name in self.inputs:
            self._sense(name)
        self._mishap()
        near = self.rng.random() < 0.3
        deadline = self.now_ns + int(self.rng.integers(20_000, 3 * MS)) if near else None
        result = self.session.step(self.now_ns, deadline)
        if (result.outputs is None) != (result.status in ("waiting", "stale")):
            raise AssertionError(f"{result.status} with outputs {result.outputs}")

    def _sense(self, name: str) -> None:
        if self.silent[name] > 0:
            self.silent[name] -= 1
            return
        if self.rng.random() < 0.003:
            self.silent[name] = int(self.rng.integers(5, 60))
        if self.rng.random() < 0.6:
            self.session.push(name, self.value(name), self.now_ns - int(self.rng.integers(0, 4 * MS)))
        if self.rng.random() < 0.05:
            self._push_wrong(name)

    def _push_wrong(self, name: str) -> None:
        item, stamp = self.inputs[name][0], self.now_ns
        good = self.feeds[0][item.name]
        bad: tuple[tuple[Any, Any], ...] = (
            (good.astype(np.complex64), stamp), (np.zeros((3, 1, 4, 1, 5), item.dtype), stamp), ("nothing", stamp),
            ({"nobody": good}, stamp), (good, -1), (good, 1.5), (good, stamp - 300 * MS),
            (good, stamp + 3 * MS), (good, stamp + 2 * HOUR_NS), (np.full_like(good, np.nan), stamp)
            if good.dtype.kind == "f" else (None, stamp),
        )  # fmt: skip
        value, when = bad[int(self.rng.integers(len(bad)))]
        self.session.push(name, value, when)

    def _mishap(self) -> None:
        """Rare ones."""
        chance = self.rng.random()
        if chance < 0.0005:
            self.session.reset()
        elif chance < 0.0007:
            self.now_ns -= 500 * MS
        elif chance < 0.0009:
            self.now_ns -= 2000 * MS
        elif chance < 0.0019:
            self.model.health().to_json()
        elif chance < 0.0024:
            try:
                self.session.push("nobody", None, 0)  # type: ignore[arg-type]
            except FeedError:
                self.said["no such stream"] += 1


def _window(inputs: tuple[TensorSpec, ...]) -> Mapping[str, Any]:
    """Sound and motion are windows where they have one input with an axis of time."""
    item = inputs[0]
    axis = {"audio": len(item.shape) - 1, "imu": 1}.get(item.modality or "")
    if axis is None or len(inputs) > 1 or item.dynamic or len(item.shape) < 3:
        return {}
    return {"kind": "window", "axis": axis, "sample_hz": 200.0, "gap": "restart"}


def push_all_the_while(robot: Robot, ended: threading.Event) -> None:
    """The second thread: the first stream, about 2,000 times a second."""
    name = next(iter(robot.inputs))
    array = {item.name: robot.feeds[0][item.name] for item in robot.inputs[name]}
    while not ended.wait(0.0005):
        robot.session.push(name, array, robot.now_ns)


def resident_kib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def soak(robot: Robot, steps: int) -> list[tuple[int, float]]:
    """(steps, KiB) at ``POINTS`` points, of which every fifth is printed."""
    found, every, started = [], max(steps // POINTS, 1), time.perf_counter()
    for number in range(1, steps + 1):
        robot.step()
        if number % SESSION_STEPS == 0:
            robot.renew()
        if number % every == 0:
            found.append((number, resident_kib()))
            if len(found) % 5 == 0:
                rate = number / (time.perf_counter() - started)
                print(f"{number:>9,} steps  {found[-1][1] / 1024:8.2f} MiB  {rate:6.0f} steps/s", flush=True)
    return found


def slope_kib(points: list[tuple[int, float]]) -> float:
    """KiB a step, by least squares."""
    steps, kib = np.array(points, float).T
    return float(np.polyfit(steps - steps.mean(), kib, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"before loading {resident_kib() / 1024:.2f} MiB")
    with edgefuse.load(options.bundle) as model:
        robot, ended = Robot(model, options.bundle, options.seed), threading.Event()
        thread = threading.Thread(target=push_all_the_while, args=(robot, ended))
        thread.start()
        try:
            points = soak(robot, options.steps)
        finally:
            ended.set()
            thread.join()
        robot.renew()
        errors = model.health().errors
    half = points[len(points) // 2 :]
    slope, grown = slope_kib(half), slope_kib(half) * (half[-1][0] - half[0][0]) / 1024
    print(*(f"{count:>10,}  {name}" for name, count in sorted(robot.said.items())), f"{errors:>10,}  errors", sep="\n")
    print(f"second half: {slope * 100_000:+.1f} KiB per 100,000 steps, {grown:+.2f} MiB in all (limit {LIMIT_MIB:g})")
    sys.exit(grown > LIMIT_MIB)


if __name__ == "__main__":
    main()
