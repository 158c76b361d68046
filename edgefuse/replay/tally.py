"""What a replay counts, step by step. Numpy only.

Under "measured" stands what a clock said; all else is the same in every replay with estimated times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from edgefuse.health import StreamHealth
from edgefuse.parts import Partition
from edgefuse.recordings import Message, Recording
from edgefuse.replay.events import Stepped
from edgefuse.replay.series import Gaps, Series, Values
from edgefuse.stream import Pushed, StepResult
from edgefuse.stream.results import FALLBACK, FRESH, HELD, MISSING

SOURCES = (FRESH, HELD, FALLBACK, MISSING)
DROPPED = "dropped: "


class StreamTally:
    """One stream: what was delivered, and how old it was when it was used."""

    def __init__(self, recording: Recording) -> None:
        self._first_ns = self._last_ns = -1
        self._deliveries, self._steps, self._stale = 0, 0, 0
        self._gaps, self._ages_ms, self._sources = Gaps(), Values(), Counter[str]()
        self._series = Series(recording.start_ns, recording.end_ns)

    def delivered(self, message: Message) -> None:
        if not self._deliveries:
            self._first_ns = message.arrival_ns
        self._last_ns = message.arrival_ns
        self._deliveries += 1
        self._gaps.add(message.stamp_ns)

    def stepped(self, now_ns: int, result: StepResult, name: str) -> None:
        state = result.streams[name]
        self._steps += 1
        self._stale += state.stale
        if result.outputs is None:
            return
        self._sources[state.source] += 1
        if state.age_ns is not None:
            self._ages_ms.add(state.age_ns / 1e6)
            self._series.add(now_ns, state.age_ns / 1e6)

    def to_json(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """*counts*: the runtime's own (``StreamHealth.streams``). Shares are of the steps; those that are missing from
        "used" had no outputs."""
        span_ns = self._last_ns - self._first_ns
        dropped = {key.removeprefix(DROPPED): count for key, count in counts.items() if key.startswith(DROPPED)}
        steps = max(self._steps, 1)
        return {
            "deliveries": self._deliveries,
            "accepted": counts.get("accepted", 0),
            "dropped": dict(sorted(dropped.items())),
            "superseded": counts.get("superseded", 0),
            "restarts": counts.get("restarts", 0),
            "rate_hz": (self._deliveries - 1) * 1e9 / span_ns if span_ns > 0 else None,
            "gaps": self._gaps.count(),
            "longest_gap_ms": self._gaps.longest_ns / 1e6,
            "filled_samples": counts.get("filled samples", 0),
            "age_ms": self._ages_ms.percentiles(50, 90),
            "used": {source: self._sources[source] / steps for source in SOURCES if self._sources[source]},
            "stale": self._stale / steps,
            "age_over_time_ms": self._series.to_json(),
        }


class Tally:
    """All streams, all steps. ``missed`` ticks: a step before them took so long (only in real time)."""

    def __init__(self, streams: Iterable[str], recording: Recording) -> None:
        self._streams = {name: StreamTally(recording) for name in streams}
        self._status: Counter[str] = Counter()
        self._runs: Counter[str] = Counter()
        self._took_ms, self._series = Values(), Series(recording.start_ns, recording.end_ns)
        self._late_series = Series(recording.start_ns, recording.end_ns)
        self.steps = self.late = self.missed = self.answered = self.dropped = 0
        self.reason = ""

    def delivered(self, message: Message, pushed: Pushed) -> None:
        self.dropped += not pushed.accepted
        self._streams[message.stream].delivered(message)

    def stepped(self, step: Stepped) -> None:
        result = step.result
        self.steps += 1
        self.missed += step.missed
        self._status[result.status] += 1
        self.late += result.late
        if result.outputs is None:
            self.reason = result.reason
        else:
            self._answer(step)
        for name, tally in self._streams.items():
            tally.stepped(step.now_ns, result, name)

    def _answer(self, step: Stepped) -> None:
        self.answered += 1
        self._runs.update(step.result.ran)
        took_ms = step.took_ns / 1e6
        self._took_ms.add(took_ms)
        self._series.add(step.tick.arrival_ns, took_ms)
        if step.result.late:
            self._late_series.add(step.tick.arrival_ns, took_ms)

    def streams_json(self, health: StreamHealth) -> dict[str, Any]:
        return {name: tally.to_json(health.streams[name]) for name, tally in self._streams.items()}

    def steps_json(self) -> dict[str, Any]:
        """``reason``: why the last step without outputs had none."""
        return {
            "total": self.steps,
            "answered": self.answered,
            "status": dict(sorted(self._status.items())),
            "late": self.late,
            "missed": self.missed,
            "reason": self.reason or None,
        }

    def parts_json(self, partition: Partition, health: StreamHealth) -> list[dict[str, Any]]:
        return [
            {
                "name": part.name,
                "streams": list(part.streams),
                "runs": self._runs[part.name],
                "skipped": health.skipped.get(part.name, 0),
            }
            for part in partition.parts
        ]

    def measured_json(self, health: StreamHealth) -> dict[str, Any]:
        """Latencies of the steps that had outputs, and of each part's last runs (``health.WINDOW``)."""
        parts = {
            name: None if found is None else {"p50": found.p50_ms, "p90": found.p90_ms}
            for name, found in health.parts.items()
        }
        return {
            "step_ms": self._took_ms.percentiles(50, 90, 99),
            "step_over_time_ms": self._series.to_json(),
            "late_over_time_ms": self._late_series.to_json(),
            "parts_ms": parts,
        }
