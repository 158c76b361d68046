"""Two bad days: other work on the cores, and a camera that stops."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from peers.tables import make_table
from rich.table import Table

from edgefuse.model import Model
from edgefuse.stream import StepResult
from streaming.arms import Arm, EdgeFuseArm, WholeArm
from streaming.play import play
from streaming.recording import MS, SECOND, START_NS, TICKING, Delivery, Recording
from streaming.tables import counts_text

DEADLINE_MS = 5
MAX_AGE_MS = 100
STALL = (1.0, 2.0)
STALL_SECONDS = 4
WITH_DEADLINE = "EdgeFuse stream, with the deadline"
BURN = "while True: pass"


@dataclass
class Lived:
    """A recording in real time: from the newest IMU sample's arrival to its answer, ms; and what steps said."""

    taken_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    results: list[StepResult] = field(default_factory=list)


def live(arms: Sequence[Arm], recording: Recording, seconds: int) -> list[Lived]:
    """Every arm lives through each second in real time, in a fresh random order."""
    found, shuffle = [Lived() for _ in arms], random.Random(0)
    for second in range(seconds):
        order = list(range(len(arms)))
        shuffle.shuffle(order)
        for index in order:
            cpu = time.process_time()
            _live_second(arms[index], list(recording.second(second)), START_NS + second * SECOND, found[index])
            found[index].cpu_s += time.process_time() - cpu
    return found


def _live_second(arm: Arm, waiting: Sequence[Delivery], start_ns: int, into: Lived) -> None:
    """Deliver when it is time, then tick if an IMU sample has come: a loop that has fallen behind answers for the
    newest sample and not for those before."""
    offset, index = start_ns - time.perf_counter_ns(), 0
    while index < len(waiting):
        time.sleep(max(waiting[index].at_ns - offset - time.perf_counter_ns(), 0) / 1e9)
        now, due = time.perf_counter_ns() + offset, None
        while index < len(waiting) and waiting[index].at_ns <= now:
            item = waiting[index]
            arm.deliver(item.stream, item.value, item.stamp_ns)
            due, index = (item.at_ns if item.stream == TICKING else due), index + 1
        if due is not None:
            if isinstance(arm, EdgeFuseArm):
                arm.deadline_ns = due + DEADLINE_MS * MS if arm.title == WITH_DEADLINE else None
            arm.tick(time.perf_counter_ns() + offset)
            into.taken_ms.append((time.perf_counter_ns() + offset - due) / MS)
            if isinstance(arm, EdgeFuseArm):
                into.results.append(arm.last)


@contextmanager
def burning(count: int) -> Iterator[None]:
    """*count* processes that do nothing but use a core each."""
    started = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def busy_table(model: Model, recording: Recording, inputs: Mapping[str, str], seconds: int) -> Table:
    """*recording* in real time, with 0, 1 and 2 cores busy."""
    table = make_table(
        "cores busy", "arm", "answers a second", "CPU ms a second", "p50 ms", "p90 ms", "p99 ms", "after the deadline",
        "statuses", "branches held for it", "oldest camera ms",
    )  # fmt: skip
    for count in (0, 1, 2):
        with burning(count):
            arms = list(_busy_arms(model, recording, inputs))
            for arm, lived in zip(arms, live(arms, recording, seconds)):
                table.add_row(str(count), *_busy_row(arm, lived, seconds))
                arm.close()
    return table


def _busy_arms(model: Model, recording: Recording, inputs: Mapping[str, str]) -> Iterator[Arm]:
    for title in (WITH_DEADLINE, "EdgeFuse stream without one"):
        yield EdgeFuseArm(model, recording, title, camera={"max_age_ms": MAX_AGE_MS})
    yield WholeArm(model, recording, inputs, "whole graph")


def _busy_row(arm: Arm, found: Lived, seconds: int) -> tuple[str, ...]:
    ms = np.array(found.taken_ms)
    late = f"{100 * np.mean(ms > DEADLINE_MS):.1f} %"
    row = (f"{len(ms) / seconds:.0f}", f"{1e3 * found.cpu_s / seconds:.0f}")
    row += tuple(f"{np.percentile(ms, q):.2f}" for q in (50, 90, 99))
    statuses = Counter(result.status for result in found.results)
    skipped = Counter(name for result in found.results for name in result.skipped if result.status == "ok")
    ages = [result.streams["camera"].age_ns or 0 for result in found.results]
    oldest = f"{max(ages) / MS:.0f}" if ages else ""
    return (arm.title, *row, late, counts_text(statuses), counts_text(skipped), oldest)


def stall_table(model: Model, recording: Recording) -> Table:
    """The camera is silent for a second: by second of the recording what steps say, its age, and the CPU time."""
    table = make_table("on_stale", "second", "CPU ms", "statuses", "camera is", "its age ms, p50, max", "stale ticks")
    silent = recording.without("camera", *STALL)
    for on_stale in ("fail", "hold", "fallback"):
        arm = EdgeFuseArm(model, silent, camera={"max_age_ms": MAX_AGE_MS, "on_stale": on_stale})
        results: list[StepResult] = []
        played = play([arm], silent, STALL_SECONDS, lambda arm, to=results: to.append(arm.last))[0]
        begin = 0
        for second, cpu_s in enumerate(played.cpu_s):
            count = sum(1 for item in silent.second(second) if item.stream == TICKING)
            table.add_row(on_stale, str(second), f"{1e3 * cpu_s:.0f}", *_stall_row(results[begin : begin + count]))
            begin += count
        arm.close()
    return table


def _stall_row(results: list[StepResult]) -> tuple[str, ...]:
    seen = [result.streams["camera"] for result in results]
    ages = [state.age_ns / MS for state in seen if state.age_ns is not None]
    age = f"{np.median(ages):.0f}, {max(ages):.0f}" if ages else "–"
    stale = str(sum(state.stale for state in seen))
    return (
        counts_text(Counter(result.status for result in results)),
        counts_text(Counter(state.source for state in seen)),
        age,
        stale,
    )
