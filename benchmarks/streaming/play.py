"""Plays a recording to the arms in turns and takes CPU and wall time. Standard library and numpy only."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgefuse.spec import Array
from streaming.arms import Arm
from streaming.recording import TICKING, Delivery, Recording

PAUSE_S = 0.05
"""Between two arms: threads of the last one may spin a little before they sleep."""
TURN = 5
"""Ticks, of which the first is not counted: it finds the caches as another arm has left them."""


@dataclass
class Played:
    """One arm's run. ``cpu_s`` of each second of recording, all threads together. By tick: wall time of the IMU's
    delivery and the answer; CPU time of these and of all deliveries before; outputs; who delivered."""

    cpu_s: list[float] = field(default_factory=list)
    tick_ms: list[float] = field(default_factory=list)
    tick_cpu_ms: list[float] = field(default_factory=list)
    outputs: list[Mapping[str, Array]] = field(default_factory=list)
    fresh: list[frozenset[str]] = field(default_factory=list)

    @property
    def cpu_ms_per_s(self) -> float:
        return 1e3 * float(np.mean(self.cpu_s))

    def percentile(self, q: float, only: str | None = None) -> float:
        """Of a tick's wall time, ms; of those in which *only* that stream had delivered."""
        ticks = [ms for ms, fresh in zip(self.tick_ms, self.fresh) if only is None or fresh == {only}]
        return float(np.percentile(ticks, q))

    def output(self, name: str) -> Array:
        return np.stack([found[name] for found in self.outputs])


def play(
    arms: Sequence[Arm], recording: Recording, seconds: int, after: Callable[[Arm], None] | None = None
) -> list[Played]:
    """Every arm plays each second of the recording, in a fresh random order."""
    found, shuffle = [Played() for _ in arms], random.Random(0)
    for second in range(seconds):
        ticks = _ticks(recording, second)
        for index in _shuffled(arms, shuffle):
            time.sleep(PAUSE_S)
            cpu = time.process_time()
            for deliveries in ticks:
                _tick(arms[index], deliveries, found[index])
                if after is not None:
                    after(arms[index])
            found[index].cpu_s.append(time.process_time() - cpu)
    return found


def race(arms: Sequence[Arm], recording: Recording, seconds: int) -> list[Played]:
    """The same in turns of ``TURN`` ticks, so that tick can be compared with tick on a machine that drifts."""
    found, unused, shuffle = [Played() for _ in arms], Played(), random.Random(0)
    for second in range(seconds):
        ticks = _ticks(recording, second)
        for begin in range(0, len(ticks), TURN):
            for index in _shuffled(arms, shuffle):
                for number, deliveries in enumerate(ticks[begin : begin + TURN]):
                    _tick(arms[index], deliveries, found[index] if number else unused)
    return found


def _shuffled(arms: Sequence[Arm], shuffle: random.Random) -> list[int]:
    order = list(range(len(arms)))
    shuffle.shuffle(order)
    return order


def _ticks(recording: Recording, second: int) -> list[list[Delivery]]:
    """What arrives up to each tick, the IMU's sample last."""
    found: list[list[Delivery]] = [[]]
    for item in recording.second(second):
        found[-1].append(item)
        if item.stream == TICKING:
            found.append([])
    if found[-1]:  # after the last tick; they come a little early then, for every arm alike
        found[-2] = [*found[-1], *found[-2]]
    return found[:-1]


def _tick(arm: Arm, deliveries: Sequence[Delivery], into: Played) -> None:
    cpu = time.process_time()
    for item in deliveries[:-1]:
        arm.deliver(item.stream, item.value, item.stamp_ns)
    last, started = deliveries[-1], time.perf_counter()
    arm.deliver(last.stream, last.value, last.stamp_ns)
    outputs = arm.tick(last.at_ns)
    into.tick_ms.append(1e3 * (time.perf_counter() - started))
    into.tick_cpu_ms.append(1e3 * (time.process_time() - cpu))
    into.outputs.append(outputs)
    into.fresh.append(frozenset(item.stream for item in deliveries))
