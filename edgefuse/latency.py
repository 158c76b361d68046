"""Latency of runners, measured in turns so that a drifting machine hits all of them alike. Numpy only.

Sequential runs on a shared machine differ from themselves by 60 % at p99; interleaved ones by 2 % at p90. The same
runner is therefore also measured against itself (an A/A canary), and the ratio of the two widens every interval.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.backends import Runner
from edgefuse.early_stopping import early_stopping
from edgefuse.noninferiority import Z95
from edgefuse.spec import Feed
from edgefuse.verdict import Verdict

WARMUP_RUNS = 20
MIN_RUNS = 64  # MLPerf's early-stopping floor for p90
TURN = 4
MIN_RUNS_P99 = 662  # and for p99


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call, from numpy arrays in to numpy arrays out."""

    samples_ms: NDArray[np.float64]
    warmup: int

    def percentile(self, q: float) -> float:
        return float(np.percentile(self.samples_ms, q))

    def p90_interval(self) -> tuple[float, float]:
        """95 % interval of p90 from order statistics (binomial, normal approximation)."""
        ordered, n = np.sort(self.samples_ms), len(self.samples_ms)
        spread = Z95 * math.sqrt(n * 0.9 * 0.1)
        low, high = math.floor(n * 0.9 - spread), math.ceil(n * 0.9 + spread)
        return float(ordered[max(low, 0)]), float(ordered[min(high, n - 1)])

    def quantiles_ms(self) -> list[float]:
        """The whole distribution, for drawing it: quantiles 0, 1, … 100 %, to five significant digits."""
        return [float(f"{value:.5g}") for value in np.percentile(self.samples_ms, np.arange(101))]

    def to_json(self) -> dict[str, Any]:
        runs, sure = len(self.samples_ms), early_stopping(self.samples_ms, 0.9)
        found: dict[str, Any] = {
            "p50_ms": self.percentile(50),
            "p90_ms": self.percentile(90),
            "p90_early_stopping_ms": sure[0] if sure else None,
            "p99_ms": None,
            "max_ms": float(self.samples_ms.max()),
            "runs": runs,
            "warmup": self.warmup,
            "quantiles_ms": self.quantiles_ms(),
        }
        if sure is None:
            found["p90_early_stopping_reason"] = f"needs {MIN_RUNS} runs, had {runs}"
        if runs >= MIN_RUNS_P99:
            return {**found, "p99_ms": self.percentile(99)}
        return {**found, "p99_reason": f"needs {MIN_RUNS_P99} runs, had {runs}"}


def measure(
    runners: Mapping[str, Runner],
    feeds: Sequence[Feed],
    budget_s: float = 5.0,
    max_runs: int = 1000,
    min_runs: int = MIN_RUNS,
    warmup: int = WARMUP_RUNS,
) -> dict[str, Latency]:
    """Let every runner take turns, in a fresh random order each round, for about *budget_s* seconds.

    A turn is one call that is not counted, which wakes the runner's threads and refills the caches that the others
    have used (without it models of half a millisecond all look alike), and ``TURN`` calls that are. At least
    *min_runs* calls are counted, however slow the runners. *feeds* are taken round robin.
    """
    order, shuffle = list(runners), random.Random(0)
    for index in range(warmup):
        for name in order:
            runners[name](feeds[index % len(feeds)])
    taken: dict[str, list[float]] = {name: [] for name in order}
    deadline, counted = time.perf_counter() + budget_s, 0
    while counted < min_runs or (counted < max_runs and time.perf_counter() < deadline):
        shuffle.shuffle(order)
        turn = [feeds[(counted + step) % len(feeds)] for step in range(TURN)]
        for name in order:
            runners[name](turn[0])
            taken[name] += [_time_call(runners[name], feed) for feed in turn]
        counted += TURN
    return {name: Latency(np.array(values), warmup) for name, values in taken.items()}


def _time_call(runner: Runner, feed: Feed) -> float:
    start = time.perf_counter_ns()
    runner(feed)
    return (time.perf_counter_ns() - start) / 1e6


def canary_ratio(first: Latency, second: Latency) -> float:
    """p90 of a runner over p90 of the same runner, measured in the same rounds: 1 on a quiet machine."""
    return first.percentile(90) / second.percentile(90)


def judge_p90(found: Latency, limit_ms: float, canary: float) -> Verdict:
    """Pass when p90's interval lies within the limit, fail when beyond, else inconclusive.

    The interval is widened by the canary on both sides: a limit that is closer than the machine's own noise cannot be
    decided here, and one that is far away still can.
    """
    (low, high), noise = found.p90_interval(), max(canary, 1 / canary)
    if high * noise <= limit_ms:
        return Verdict.PASS
    return Verdict.FAIL if low / noise > limit_ms else Verdict.INCONCLUSIVE
