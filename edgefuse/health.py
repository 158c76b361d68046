"""How a loaded model and its streams are doing, as figures. Standard library and numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

WINDOW = 1024


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds of the last ``of`` runs; ``runs`` counts all."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    of: int
    runs: int


class Meter:
    """Durations over a window of the last ``WINDOW`` runs."""

    def __init__(self) -> None:
        self.runs = 0
        self._ring = np.zeros(WINDOW, np.int64)

    def add(self, took_ns: int) -> None:
        self._ring[self.runs % WINDOW] = took_ns
        self.runs += 1

    def percentiles(self) -> Percentiles | None:
        """None before the first run."""
        runs = self.runs
        if runs == 0:
            return None
        ms = self._ring[: min(runs, WINDOW)] / 1e6
        p50, p90, p99 = (float(value) for value in np.percentile(ms, [50, 90, 99]))
        return Percentiles(p50, p90, p99, float(ms.max()), len(ms), runs)


@dataclass(frozen=True)
class StreamHealth:
    """One session. ``steps`` by status, and of the "ok" ones those that were "computed late"; ``streams``: what became
    of deliveries and how data were used, by reason; ``skipped``: how often a deadline left each part out; ``parts``:
    the time that each takes, ``step`` that of a step in which one ran."""

    state: str
    steps: Mapping[str, int]
    streams: Mapping[str, Mapping[str, int]]
    skipped: Mapping[str, int]
    parts: Mapping[str, Percentiles | None]
    step: Percentiles | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Health:
    """A loaded model and its open streams, in the order in which they were made. ``state``: "loaded" (verified, not
    warmed up), "ready", "degraded" (the last run failed), "closed". ``cache``: for each artifact whether its compiled
    form came from the cache ("hit", "miss", "off", or why not). ``last_error`` is the last failure's text."""

    name: str
    state: str
    calls: int
    errors: int
    last_error: str | None
    latency: Percentiles | None
    cache: Mapping[str, str]
    sessions: tuple[StreamHealth, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
