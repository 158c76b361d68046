"""A multi-rate session: sensors push when they deliver, the control loop steps when it wants an answer.

    stream = model.stream({"camera": {"max_age_ms": 100}})
    stream.push("imu", sample, stamp_ns)          # any thread
    result = stream.step(now_ns, deadline_ns)     # one thread

A step runs only the branches whose sensor has delivered since the last one, then the trunk. Time is an argument
everywhere. Standard library and numpy only.
"""

from __future__ import annotations

import operator
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter_ns
from types import TracebackType

from edgefuse.assembled import Assembled
from edgefuse.errors import FeedError, ToolchainError, UsageError, nearest
from edgefuse.health import Meter, StreamHealth
from edgefuse.parts import Part
from edgefuse.spec import Array, TensorSpec
from edgefuse.stream.features import Engine, Features
from edgefuse.stream.policy import StreamPolicy, sensor_inputs
from edgefuse.stream.results import (
    LATE,
    MISSING,
    OK,
    STALE,
    WAITING,
    Pushed,
    StepResult,
)
from edgefuse.stream.schedule import Estimates, Waiting, choose
from edgefuse.stream.sensor import Sensor

RESET_NS = 1_000_000_000
"""A step whose time lies back by more starts again (a looped recording); by less, the clock was set back a little."""

CLOSED = Pushed(False, "closed", "the stream is closed")


class Session:
    """Made by ``model.stream(policy)``. ``push`` is safe from any thread; steps are serialised by a lock.

    ``streams``: what each sensor delivers, by the stream's name; ``policies``: how it is treated.

    With ``timing`` "measured" the parts' own durations decide about deadlines and ``late``; with "estimated" the
    bundle's figures do, so that a replay gives the same answers on every machine.
    """

    def __init__(self, engine: Engine, policies: Mapping[str, StreamPolicy], timing: str = "measured") -> None:
        if timing not in ("measured", "estimated"):
            raise UsageError(f"timing is {timing!r}", hint=nearest(timing, ["measured", "estimated"]))
        partition = engine.parts.partition
        self._engine, self._partition, self._measured = engine, partition, timing == "measured"
        inputs = sensor_inputs(engine.spec, dict(partition.state))
        self.streams: Mapping[str, tuple[TensorSpec, ...]] = inputs
        self.policies = dict(policies)
        self._sensors = {name: Sensor(name, inputs[name], policies[name]) for name in inputs}
        self._push = {name: sensor.inbox.push for name, sensor in self._sensors.items()}
        estimated = {part.name: engine.p90_ms.get(part.name) for part in partition.parts}
        in_ns = {name: None if ms is None else ms * 1e6 for name, ms in estimated.items()}
        self._estimates = Estimates(in_ns, engine.parts.lanes, self._measured)
        self._features = Features(engine)
        self._lock = threading.Lock()
        self._steps: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._meters = {part.name: Meter() for part in partition.parts}
        self._meter = Meter()
        self._closed, self._gave_up, self._seq, self._now_ns = False, False, 0, -1

    def _forget(self) -> None:
        """Nothing has run; inputs that are still in use (latched ones) stay."""
        kept = [name for sensor in self._sensors.values() if sensor.used_ns is not None for name in sensor.names]
        self._features.forget(kept)
        self._gave_up = False

    # -- for any thread

    def push(self, name: str, value: Array | Mapping[str, Array], stamp_ns: int) -> Pushed:
        """Deliver *value* for the stream *name*, acquired at *stamp_ns*; says whether it was taken, or why not.

        *value* is an array, or for a stream of several inputs a dict of them, of the inputs' dtype and shape; of a
        window one sample or several, the last of which was acquired at *stamp_ns*. It is copied. Never waits for the
        model. Raises :class:`FeedError` only where there is no such stream.
        """
        push = self._push.get(name)
        if push is None:
            raise self._unknown(name)
        return CLOSED if self._closed else push(value, stamp_ns)

    def _unknown(self, name: str) -> FeedError:
        streams = [item.stream or item.name for item in self._engine.spec.inputs if item.name == name]
        if name in self._features.initial:
            return FeedError(f"{name!r} is the model's state, which the stream carries itself")
        if streams:
            return FeedError(f"there is no stream {name!r}", hint=f"That input belongs to the stream {streams[0]!r}.")
        return FeedError(f"there is no stream {name!r}", hint=nearest(name, self._sensors))

    def health(self) -> StreamHealth:
        """Counters and times so far; waits for nobody."""
        return StreamHealth(
            state="closed" if self._closed else "ready",
            steps=dict(self._steps),
            streams={name: sensor.counts() for name, sensor in self._sensors.items()},
            skipped=dict(self._skipped),
            parts={name: meter.percentiles() for name, meter in self._meters.items()},
            step=self._meter.percentiles(),
        )

    @property
    def parts(self) -> Assembled:
        """What the session runs; called with a complete feed it computes everything anew."""
        return self._engine.parts

    def feed(self) -> dict[str, Array]:
        """The model's inputs in use, by name: what the last step used of each sensor, and the state that the next one
        reads. Not copies; incomplete before the first answer."""
        values = self._features.values
        return {name: values[name] for name in self._engine.spec.names if name in values}

    # -- for the control loop

    def step(self, now_ns: int, deadline_ns: int | None = None) -> StepResult:
        """The model's answer at *now_ns*, from what each stream has delivered.

        With *deadline_ns* branches of low priority are held where they would make the result late. The clock should be
        read right before: only the time inside the step counts towards ``late``. Raises ``ToolchainError`` where the
        vendor's library fails; the next step then computes everything anew.
        """
        started = perf_counter_ns()
        self._engine.check()
        with self._lock:
            if self._closed:
                raise ToolchainError("the stream is closed", hint="Make another with model.stream().")
            now = self._advance(operator.index(now_ns))
            self._seq += 1
            for sensor in self._sensors.values():
                sensor.look(now)
            result = self._unanswered(now) or self._answer(now, deadline_ns, started)
            self._steps[result.status] += 1
            if result.late and result.status == OK:
                self._steps["computed late"] += 1
            return result

    def reset(self) -> None:
        """A new episode: forgets all data, what was computed from them, and the model's state."""
        self._engine.check()  # before the lock, which may have been held when this process was forked
        with self._lock:
            for sensor in self._sensors.values():
                sensor.forget()
            self._now_ns = -1
            self._forget()

    def close(self) -> None:
        """Later pushes are refused and later steps raise; a second call does nothing, and none waits."""
        self._closed = True

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- one step

    def _advance(self, now_ns: int) -> int:
        """The step's time, which never goes back, unless everything starts again."""
        if now_ns < self._now_ns:
            if self._now_ns - now_ns <= RESET_NS:
                self._steps["clock went back"] += 1
                return self._now_ns
            self._steps["clock restarted"] += 1
            for sensor in self._sensors.values():
                sensor.restart(now_ns)
            self._forget()
        self._now_ns = now_ns
        return now_ns

    def _unanswered(self, now_ns: int) -> StepResult | None:
        """The result where a stream that is needed has nothing, or nothing recent enough."""
        missing = [name for name, sensor in self._sensors.items() if sensor.wanted == MISSING]
        stale = [name for name, sensor in self._sensors.items() if sensor.wanted == STALE]
        if not missing and not stale:
            return None
        if missing:
            ahead = " (its stamps are ahead of the step's time)"
            names = [f"{name}{ahead if self._sensors[name].inbox.ahead else ''}" for name in missing]
            status, reason = WAITING, f"no data yet from {', '.join(names)}"
        else:
            ages = [f"{name} is {self._sensors[name].newest_age_ns(now_ns) / 1e6:.0f} ms old" for name in stale]
            status, reason = STALE, ", ".join(ages)
        states = {name: sensor.waiting_state(now_ns) for name, sensor in self._sensors.items()}
        return StepResult(status, None, states, seq=self._seq, reason=reason)

    def _answer(self, now_ns: int, deadline_ns: int | None, started: int) -> StepResult:
        changed = frozenset(name for name, sensor in self._sensors.items() if sensor.changes)
        taken, parts = changed, self._features.parts_for(changed)
        if deadline_ns is not None and parts and not self._gave_up:
            taken = self._fitting(changed, now_ns, deadline_ns)
            wanted, parts = parts, self._features.parts_for(taken)
            no_time = not parts or self._estimates.total_ns(parts) > deadline_ns - now_ns
            if no_time and self._features.complete:
                return self._old_answer(now_ns, wanted)
        self._gave_up = False
        if parts:  # until they have run: Ctrl-C between two sensors must not leave new data beside old features
            self._features.complete = False
        states = {
            name: sensor.use(now_ns, self._features.values) if name in taken else sensor.hold(now_ns)
            for name, sensor in self._sensors.items()
        }
        ran = self._run(parts) if parts else ()
        late = self._late(parts, now_ns, deadline_ns, started)
        skipped = self._note_skipped(changed - taken)
        if parts:
            self._meter.add(perf_counter_ns() - started)
        return StepResult(
            OK,
            self._features.outputs(),
            states,
            ran,
            skipped,
            late,
            self._oldest(),
            self._seq,
            f"held for the deadline: {', '.join(skipped)}" if skipped else "",
            perf_counter_ns() - started,
        )

    def _fitting(self, changed: frozenset[str], now_ns: int, deadline_ns: int) -> frozenset[str]:
        """Those of the *changed* streams that the deadline leaves time for."""
        if not self._features.complete:
            return changed
        waiting = [
            Waiting(name, self._sensors[name].policy.priority, self._sensors[name].used_age_ns(now_ns))
            for name in self._sensors
            if name in changed and self._sensors[name].may_wait(now_ns)
        ]
        must = changed - {item.stream for item in waiting}
        return choose(must, waiting, deadline_ns - now_ns, self._cost_ns)

    def _cost_ns(self, streams: frozenset[str]) -> float:
        return self._estimates.total_ns(self._features.parts_for(streams))

    def _old_answer(self, now_ns: int, wanted: Sequence[Part]) -> StepResult:
        """The last outputs, said to be old. The next step computes whatever the deadline: an estimate that is too high
        would never be corrected otherwise."""
        self._gave_up = True
        states = {name: sensor.hold(now_ns) for name, sensor in self._sensors.items()}
        for part in wanted:
            self._estimates.forget(part.name)
        names = tuple(part.name for part in wanted)
        reason = f"no time for {', '.join(names)} before the deadline; these are the last outputs"
        return StepResult(LATE, self._features.outputs(), states, (), names, True, self._oldest(), self._seq, reason)

    def _run(self, parts: Sequence[Part]) -> tuple[str, ...]:
        """Names of the parts that ran, in the order in which they came to an end."""
        took_ns = self._features.run(parts)
        for name, ns in took_ns.items():
            self._meters[name].add(ns)
            self._estimates.add(name, ns)
        return tuple(took_ns)

    def _late(self, parts: Sequence[Part], now_ns: int, deadline_ns: int | None, started: int) -> bool:
        if deadline_ns is None:
            return False
        took = perf_counter_ns() - started if self._measured else self._estimates.total_ns(parts)
        return now_ns + took > deadline_ns

    def _note_skipped(self, streams: Iterable[str]) -> tuple[str, ...]:
        """Names of the branches that the deadline left out."""
        waiting = set(streams)
        if not waiting:
            return ()
        names = tuple(part.name for part in self._partition.branches if not waiting.isdisjoint(part.streams))
        for name in names:
            self._skipped[name] += 1
            self._estimates.forget(name)
        return names

    def _oldest(self) -> int | None:
        stamps = [sensor.used_ns or 0 for sensor in self._sensors.values() if sensor.dated]
        return min(stamps, default=None)
