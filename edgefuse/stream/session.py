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
from collections.abc import Collection, Mapping
from time import perf_counter_ns
from types import TracebackType

from edgefuse.assembled import Assembled
from edgefuse.errors import FeedError, ToolchainError, UsageError, nearest
from edgefuse.health import StreamHealth
from edgefuse.spec import Array, TensorSpec
from edgefuse.stream.absent import Absence
from edgefuse.stream.features import Engine
from edgefuse.stream.policy import StreamPolicy, sensor_inputs
from edgefuse.stream.results import Pushed, StepResult
from edgefuse.stream.stepper import Stepper

CLOSED = Pushed(False, "closed", "the stream is closed")


class Session:
    """Made by ``model.stream(policy)``. ``push`` is safe from any thread; steps are serialised by a lock.

    ``streams``: what each sensor delivers, by the stream's name; ``policies``: how it is treated.

    With ``timing`` "measured" the parts' own durations decide about deadlines and ``late``; with "estimated" the
    bundle's figures do, so that a replay gives the same answers on every machine. *absences*: which streams fallbacks
    may stand in for at the same time; a step in which others are absent has no answer. None: any.
    """

    def __init__(
        self,
        engine: Engine,
        policies: Mapping[str, StreamPolicy],
        timing: str = "measured",
        absences: Collection[Absence] | None = None,
    ) -> None:
        if timing not in ("measured", "estimated"):
            raise UsageError(f"timing is {timing!r}", hint=nearest(timing, ["measured", "estimated"]))
        self._engine = engine
        self.streams: Mapping[str, tuple[TensorSpec, ...]] = sensor_inputs(
            engine.spec, dict(engine.parts.partition.state)
        )
        self.policies = dict(policies)
        self._stepper = Stepper(engine, self.streams, policies, timing == "measured", absences)
        self._push = {name: sensor.inbox.push for name, sensor in self._stepper.sensors.items()}
        self._lock, self._closed = threading.Lock(), False

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
        if name in self._stepper.features.initial:
            return FeedError(f"{name!r} is the model's state, which the stream carries itself")
        if streams:
            return FeedError(f"there is no stream {name!r}", hint=f"That input belongs to the stream {streams[0]!r}.")
        return FeedError(f"there is no stream {name!r}", hint=nearest(name, self.streams))

    def health(self) -> StreamHealth:
        """Counters and times so far; waits for nobody."""
        return self._stepper.health("closed" if self._closed else "ready")

    @property
    def parts(self) -> Assembled:
        """What the session runs; called with a complete feed it computes everything anew."""
        return self._engine.parts

    def feed(self) -> dict[str, Array]:
        """The model's inputs in use, by name: what the last step used of each sensor, and the state that the next one
        reads. Not copies; incomplete before the first answer."""
        values = self._stepper.features.values
        return {name: values[name] for name in self._engine.spec.names if name in values}

    # -- for the control loop

    def step(self, now_ns: int, deadline_ns: int | None = None) -> StepResult:
        """The model's answer at *now_ns*, from what each stream has delivered.

        With *deadline_ns* branches of low priority are held where they would make the result late. The clock should be
        read right before: only the time inside the step counts towards ``late``. Raises ``ToolchainError`` where the
        vendor's library fails; the next step then computes everything anew.
        """
        started = perf_counter_ns()
        self._engine.check()  # before the lock, which may have been held when this process was forked
        with self._lock:
            self._check_open()
            deadline = None if deadline_ns is None else operator.index(deadline_ns)
            return self._stepper.step(operator.index(now_ns), deadline, started)

    def prepare(self, now_ns: int, until_ns: int | None = None) -> tuple[str, ...]:
        """Between two steps: run the branches whose sensor has delivered, so that the next step finds their features
        ready and is left with the trunk. Returns their names.

        With *until_ns*, when the next step is due, only those that are expected to end before. Not before the first
        answer, and not branches that carry the model's state. What is prepared is used by the next step, unless its
        sensor has delivered anew by then. Raises as :meth:`step`.
        """
        started = perf_counter_ns()
        self._engine.check()  # before the lock, which may have been held when this process was forked
        with self._lock:
            self._check_open()
            until = None if until_ns is None else operator.index(until_ns)
            return self._stepper.prepare(operator.index(now_ns), until, started)

    def reset(self) -> None:
        """A new episode: forgets all data, what was computed from them, and the model's state."""
        self._engine.check()
        with self._lock:
            self._check_open()
            self._stepper.reset()

    def _check_open(self) -> None:
        if self._closed:
            raise ToolchainError("the stream is closed", hint="Make another with model.stream().")

    def close(self) -> None:
        """Later pushes are refused and later steps raise; a second call does nothing, and none waits."""
        self._closed = True

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
