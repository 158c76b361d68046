"""One step at a time: which data to take in, which parts to run, and what to say. Not safe to call from two threads;
:class:`~edgefuse.stream.session.Session` sees to that. Standard library and numpy only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from time import perf_counter_ns

from edgefuse.health import Meter, StreamHealth
from edgefuse.parts import Part
from edgefuse.spec import TensorSpec
from edgefuse.stream.absent import Absence, unmeasured_reason
from edgefuse.stream.features import Engine, Features
from edgefuse.stream.policy import StreamPolicy
from edgefuse.stream.results import FALLBACK, LATE, MISSING, OK, STALE, WAITING, StepResult
from edgefuse.stream.schedule import Estimates, Waiting, choose
from edgefuse.stream.sensor import Sensor

RESET_NS = 1_000_000_000
"""A step whose time lies back by more starts again (a looped recording); by less, the clock was set back a little."""


class Stepper:
    """``sensors`` by the stream's name; ``features`` is what the parts have made. With *measured* times the parts' own
    durations decide about deadlines, otherwise the bundle's. *absences*: the streams that fallbacks may stand in
    for at the same time; None: any."""

    def __init__(
        self,
        engine: Engine,
        streams: Mapping[str, tuple[TensorSpec, ...]],
        policies: Mapping[str, StreamPolicy],
        measured: bool,
        absences: Collection[Absence] | None = None,
    ) -> None:
        self._partition, self._measured, self._absences = engine.parts.partition, measured, absences
        self.sensors = {name: Sensor(name, items, policies[name]) for name, items in streams.items()}
        self.features = Features(engine)
        p90_ms = {part.name: engine.p90_ms.get(part.name) for part in self._partition.parts}
        in_ns = {name: None if ms is None else ms * 1e6 for name, ms in p90_ms.items()}
        self._estimates = Estimates(in_ns, engine.parts.lanes, measured)
        self._steps: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._meters, self._meter = {part.name: Meter() for part in self._partition.parts}, Meter()
        self._prepared: frozenset[str] = frozenset()
        self._gave_up, self._seq, self._now_ns = False, 0, -1

    def step(self, now_ns: int, deadline_ns: int | None, started: int) -> StepResult:
        """*started* is the ``perf_counter_ns`` of its beginning."""
        now = self._advance(now_ns)
        self._seq += 1
        answerable = True
        for sensor in self.sensors.values():
            sensor.look(now)
            answerable = answerable and sensor.wanted not in (MISSING, STALE)
        unmeasured = self._unmeasured() if answerable else ()
        if answerable and not unmeasured:
            result = self._answer(now, deadline_ns, started)
        else:
            result = self._unanswered(now, unmeasured)
        self._steps[result.status] += 1
        if result.late and result.status == OK:
            self._steps["computed late"] += 1
        return result

    def prepare(self, now_ns: int, until_ns: int | None, started: int) -> tuple[str, ...]:
        """Run branches that have something new, as far as the time goes; their names."""
        ran = list[str]()
        if not self.features.complete or now_ns < self._now_ns:
            return ()
        for sensor in sorted(self.sensors.values(), key=lambda sensor: -sensor.policy.priority):
            branch = self.features.preparable.get(sensor.name)
            if branch is None:
                continue
            sensor.take(now_ns)
            if sensor.new is None or not sensor.worth_preparing(now_ns):
                continue
            spent = perf_counter_ns() - started if self._measured else self._estimates.sum_ns(ran)
            if until_ns is None or now_ns + spent + self._estimates.part_ns(branch.name) <= until_ns:
                features, took_ns = self.features.prepare(branch, sensor.new.arrays)
                sensor.keep(features)
                self._learn({branch.name: took_ns})
                ran.append(branch.name)
        return tuple(ran)

    def reset(self) -> None:
        """A new episode."""
        for sensor in self.sensors.values():
            sensor.forget()
        self._now_ns = -1
        self._forget()

    def _forget(self) -> None:
        """Nothing has run; inputs that are still in use (latched ones) stay."""
        kept = [name for sensor in self.sensors.values() if sensor.used_ns is not None for name in sensor.names]
        self.features.forget(kept)
        self._gave_up = False

    def health(self, state: str) -> StreamHealth:
        return StreamHealth(
            state=state,
            steps=dict(self._steps),
            streams={name: sensor.counts() for name, sensor in self.sensors.items()},
            skipped=dict(self._skipped),
            parts={name: meter.percentiles() for name, meter in self._meters.items()},
            step=self._meter.percentiles(),
        )

    def _advance(self, now_ns: int) -> int:
        """The step's time, which never goes back, unless everything starts again."""
        if now_ns < self._now_ns:
            if self._now_ns - now_ns <= RESET_NS:
                self._steps["clock went back"] += 1
                return self._now_ns
            self._steps["clock restarted"] += 1
            for sensor in self.sensors.values():
                sensor.restart(now_ns)
            self._forget()
        self._now_ns = now_ns
        return now_ns

    def _unmeasured(self) -> Sequence[str]:
        """The streams that are absent, where nobody knows what that does to the answer."""
        if self._absences is None:
            return ()
        absent = [name for name, sensor in self.sensors.items() if sensor.wanted == FALLBACK]
        return absent if absent and frozenset(absent) not in self._absences else ()

    def _unanswered(self, now_ns: int, unmeasured: Sequence[str]) -> StepResult:
        """The result where a stream that is needed has nothing, or nothing recent enough; or where the streams in
        *unmeasured* have not."""
        missing = [name for name, sensor in self.sensors.items() if sensor.wanted == MISSING]
        stale = [name for name, sensor in self.sensors.items() if sensor.wanted == STALE]
        if unmeasured:
            never = any(self.sensors[name].newest_ns is None for name in unmeasured)
            status, reason = WAITING if never else STALE, unmeasured_reason(unmeasured)
        elif missing:
            ahead = " (its stamps are ahead of the step's time)"
            names = [f"{name}{ahead if self.sensors[name].inbox.ahead else ''}" for name in missing]
            status, reason = WAITING, f"no data yet from {', '.join(names)}"
        else:
            ages = [f"{name} is {self.sensors[name].newest_age_ns(now_ns) / 1e6:.0f} ms old" for name in stale]
            status, reason = STALE, ", ".join(ages)
        states = {name: sensor.waiting_state(now_ns) for name, sensor in self.sensors.items()}
        return StepResult(status, None, states, seq=self._seq, reason=reason)

    def _answer(self, now_ns: int, deadline_ns: int | None, started: int) -> StepResult:
        changed = frozenset([name for name, sensor in self.sensors.items() if sensor.changes])
        self._prepared = frozenset([name for name in changed if self.sensors[name].prepared is not None])
        taken, parts = changed, self._parts_for(changed)
        if deadline_ns is not None and parts and not self._gave_up:
            taken = self._fitting(changed, now_ns, deadline_ns)
            wanted, parts = parts, self._parts_for(taken)
            no_time = not parts or self._estimates.total_ns(parts, typical=True) > deadline_ns - now_ns
            if no_time and self.features.complete:
                return self._old_answer(now_ns, wanted)
        self._gave_up = False
        if parts:  # until they have run: Ctrl-C between two sensors must not leave new data beside old features
            self.features.complete = False
        states = {
            name: sensor.use(now_ns, self.features.values) if name in taken else sensor.hold(now_ns)
            for name, sensor in self.sensors.items()
        }
        ran = self._run(parts) if parts else ()
        late = self._late(parts, now_ns, deadline_ns, started)
        skipped = self._note_skipped(changed - taken)
        if parts:
            self._meter.add(perf_counter_ns() - started)
        return StepResult(
            OK,
            self.features.outputs(),
            states,
            ran,
            skipped,
            late,
            self._oldest(),
            self._seq,
            f"held for the deadline: {', '.join(skipped)}" if skipped else "",
        )

    def _fitting(self, changed: frozenset[str], now_ns: int, deadline_ns: int) -> frozenset[str]:
        """Those of the *changed* streams that the deadline leaves time for."""
        if not self.features.complete:
            return changed
        waiting = [
            Waiting(name, self.sensors[name].policy.priority, self.sensors[name].used_age_ns(now_ns))
            for name in self.sensors
            if name in changed and self.sensors[name].may_wait(now_ns)
        ]
        must = changed - {item.stream for item in waiting}
        return choose(must, waiting, deadline_ns - now_ns, self._cost_ns)

    def _cost_ns(self, streams: frozenset[str]) -> float:
        return self._estimates.total_ns(self._parts_for(streams))

    def _parts_for(self, streams: frozenset[str]) -> tuple[Part, ...]:
        return self.features.parts_for(streams, self._prepared)

    def _old_answer(self, now_ns: int, wanted: Sequence[Part]) -> StepResult:
        """The last outputs, said to be old. The next step computes whatever the deadline: an estimate that is too high
        would never be corrected otherwise."""
        self._gave_up = True
        states = {name: sensor.hold(now_ns) for name, sensor in self.sensors.items()}
        for part in wanted:
            self._estimates.forget(part.name)
        names = tuple(part.name for part in wanted)
        reason = f"no time for {', '.join(names)} before the deadline; these are the last outputs"
        return StepResult(LATE, self.features.outputs(), states, (), names, True, self._oldest(), self._seq, reason)

    def _run(self, parts: Sequence[Part]) -> tuple[str, ...]:
        """Names of the parts that ran, in the order in which they came to an end."""
        took_ns = self.features.run(parts)
        self._learn(took_ns)
        return tuple(took_ns)

    def _learn(self, took_ns: Mapping[str, int]) -> None:
        for name, ns in took_ns.items():
            self._meters[name].add(ns)
            self._estimates.add(name, ns)

    def _late(self, parts: Sequence[Part], now_ns: int, deadline_ns: int | None, started: int) -> bool:
        if deadline_ns is None:
            return False
        took = perf_counter_ns() - started if self._measured else self._estimates.total_ns(parts)
        return now_ns + took > deadline_ns

    def _note_skipped(self, streams: frozenset[str]) -> tuple[str, ...]:
        """Names of the branches that the deadline left out."""
        if not streams:
            return ()
        names = tuple(part.name for part in self._partition.branches if not streams.isdisjoint(part.streams))
        for name in names:
            self._skipped[name] += 1
            self._estimates.forget(name)
        return names

    def _oldest(self) -> int | None:
        stamps = [sensor.used_ns or 0 for sensor in self.sensors.values() if sensor.dated]
        return min(stamps, default=None)
