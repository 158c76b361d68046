"""What happens in a replay, in order: deliveries and ticks; and the two clocks. Standard library only.

A tick is when the model is asked. Everything that has arrived by then has been pushed before.
"""

from __future__ import annotations

import heapq
import itertools
import random
import re
import time
from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, Protocol

from edgefuse.errors import UsageError, nearest
from edgefuse.recordings import Message, Recording
from edgefuse.stream import Pushed, Session, StepResult

AHEAD = 8
"""Messages that are read before their time, so that reading does not delay a step."""

MOST_TICKS = 100_000_000
"""At a fixed rate: a day at 1 kHz, hours of computing."""


@dataclass(frozen=True)
class TickRule:
    """When the model is asked: at each delivery of ``stream``, or ``rate_hz`` times a second."""

    stream: str | None = None
    rate_hz: float | None = None

    def __str__(self) -> str:
        return f"each delivery of {self.stream}" if self.rate_hz is None else f"{self.rate_hz:g} Hz"


class Tick(NamedTuple):
    """The *number*-th time that the model is asked; it is due at ``arrival_ns``."""

    number: int
    arrival_ns: int


class Stepped(NamedTuple):
    """One step: when it was due, when it began (both on the recording's clock), what it said and what it took.
    ``missed`` ticks had come due before and had to be left out; ``slack_ns`` is the time until the next event."""

    tick: Tick
    now_ns: int
    result: StepResult
    took_ns: int
    cpu_ns: int
    missed: int
    slack_ns: float


def parse_tick(text: str) -> TickRule:
    """``"100hz"``, or the name of a stream."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*hz\s*", text, re.IGNORECASE)
    if match is None:
        return TickRule(stream=text)
    if float(match[1]) == 0:
        raise UsageError("is 0 Hz; expected more", where=f"--tick {text}")
    return TickRule(rate_hz=float(match[1]))


def settle_tick(rule: TickRule | None, recording: Recording, rates: dict[str, float | None]) -> TickRule:
    """*rule*, or the stream with the highest declared rate among those in the recording (*rates*: stream name to what
    the model declares), or the one that delivers most often."""
    if rule is None:
        return TickRule(stream=max(recording.counts, key=lambda name: (rates[name] or 0.0, recording.counts[name])))
    if rule.stream is not None and rule.stream not in recording.counts:
        raise UsageError(
            f"the recording has no stream {rule.stream!r}",
            where="--tick",
            hint=f"{nearest(rule.stream, recording.counts)} A rate is written as 100hz.",
        )
    return rule


def count_ticks(rule: TickRule, recording: Recording) -> int:
    """How many there are (deliveries that arrive at the same instant make one). Raises :class:`UsageError` where they
    are more than any replay would come to the end of: one stamp of 0 among today's makes a recording of 50 years."""
    if rule.rate_hz is None:
        return sum(1 for _ in ticks(rule, recording))
    span_ns = recording.end_ns - recording.start_ns
    count = int(span_ns * rule.rate_hz / 1e9)
    if count > MOST_TICKS:
        raise UsageError(
            f"would ask {count:.3g} times: the recording goes from {recording.start_ns} to {recording.end_ns} ns",
            where=f"--tick {rule.rate_hz:g}hz",
            hint="Is one of its times wrong? Otherwise choose a lower rate.",
        )
    while count and round(count * 1e9 / rule.rate_hz) > span_ns:
        count -= 1
    while round((count + 1) * 1e9 / rule.rate_hz) <= span_ns:
        count += 1
    return count + 1


def ticks(rule: TickRule, recording: Recording, chosen: Container[int] | None = None) -> Iterator[Tick]:
    """In order; only those whose index is in *chosen*, where given."""
    times = _rate_times(rule.rate_hz, recording) if rule.stream is None else recording.arrivals(rule.stream)
    for index, (time_ns, _) in enumerate(itertools.groupby(times)):
        if chosen is None or index in chosen:
            yield Tick(index, time_ns)


def _rate_times(rate_hz: float | None, recording: Recording) -> Iterator[int]:
    assert rate_hz is not None
    for number in itertools.count():
        due_ns = recording.start_ns + round(number * 1e9 / rate_hz)
        if due_ns > recording.end_ns:
            return
        yield due_ns


def thinned(total: int, most: int) -> frozenset[int]:
    """At most *most* of *total* indices, spread evenly: one at a seeded random place in each of as many stretches, so
    that none of the sensors' rhythms is hit again and again."""
    if total <= most or not most:
        return frozenset(range(min(total, most)))
    draw, edges = random.Random(0), [number * total // most for number in range(most + 1)]
    return frozenset(draw.randrange(start, end) for start, end in itertools.pairwise(edges))


def in_order(
    recording: Recording, asked: Iterator[Tick], late: str = "", delay_ns: int = 0
) -> Iterator[Message | Tick]:
    """Deliveries and ticks by time, a delivery before a tick at the same instant. The stream *late* arrives
    *delay_ns* later than it did; stamps and ticks stay."""
    if not delay_ns:
        return heapq.merge(recording.messages(), asked, key=attrgetter("arrival_ns"))
    others = [name for name in recording.counts if name != late]
    delayed = (message._replace(arrival_ns=message.arrival_ns + delay_ns) for message in recording.messages([late]))
    return heapq.merge(recording.messages(others), delayed, asked, key=attrgetter("arrival_ns"))


class Clock(Protocol):
    """The recording's time, in nanoseconds."""

    def reach(self, due_ns: int) -> None:
        """Return when it is *due_ns* or later."""

    def now_ns(self) -> int: ...

    def until(self, due_ns: int) -> float:
        """How long it takes until *due_ns*, in nanoseconds."""


class RecordedClock:
    """Stands still while something is computed and jumps to what comes next: as fast as it goes, and deterministic."""

    def __init__(self) -> None:
        self._now_ns = 0

    def reach(self, due_ns: int) -> None:
        self._now_ns = due_ns

    def now_ns(self) -> int:
        return self._now_ns

    def until(self, due_ns: int) -> float:
        return float("inf")


class WallClock:
    """Runs as fast as the recording did, from *start_ns* at the first call."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns, self._origin_ns = start_ns, -1

    def reach(self, due_ns: int) -> None:
        if self._origin_ns < 0:
            self._origin_ns = time.perf_counter_ns()
        while (left_ns := due_ns - self.now_ns()) > 0:
            time.sleep(left_ns / 1e9)

    def now_ns(self) -> int:
        return self._start_ns + time.perf_counter_ns() - self._origin_ns

    def until(self, due_ns: int) -> float:
        return due_ns - self.now_ns()


def drive(
    session: Session,
    events: Iterator[Message | Tick],
    clock: Clock,
    deadline_ns: int | None = None,
    delivered: Callable[[Message, Pushed], None] = lambda message, pushed: None,
) -> Iterator[Stepped]:
    """Push every delivery, step at every tick (*deadline_ns* after it is the deadline), and yield the steps.

    Where steps take so long that the next tick is due, only the newest is stepped, as a robot's loop would.
    """
    waiting = deque(itertools.islice(events, AHEAD))
    pending: Tick | None = None
    missed = 0
    while waiting:
        event = waiting.popleft()
        clock.reach(event.arrival_ns)
        if isinstance(event, Tick):
            missed, pending = missed + (pending is not None), event
        else:
            delivered(event, session.push(event.stream, event.arrays, event.stamp_ns))
        if not waiting:
            waiting.extend(itertools.islice(events, 1))
        if pending is not None and (not waiting or waiting[0].arrival_ns > clock.now_ns()):
            yield _step(session, pending, clock, deadline_ns, missed, waiting[0].arrival_ns if waiting else None)
            pending, missed = None, 0
        if pending is None and len(waiting) < AHEAD // 2:
            waiting.extend(itertools.islice(events, AHEAD - len(waiting)))


def _step(
    session: Session, tick: Tick, clock: Clock, deadline_ns: int | None, missed: int, next_ns: int | None
) -> Stepped:
    now_ns = clock.now_ns()
    deadline = None if deadline_ns is None else tick.arrival_ns + deadline_ns
    cpu_ns, started = time.process_time_ns(), time.perf_counter_ns()
    result = session.step(now_ns, deadline)
    took_ns, cpu_ns = time.perf_counter_ns() - started, time.process_time_ns() - cpu_ns
    slack = float("inf") if next_ns is None else clock.until(next_ns)
    return Stepped(tick, now_ns, result, took_ns, cpu_ns, missed, slack)
