"""Does the process grow with every call? :mod:`edgefuse.memory_growth` judges; what it doubts is watched for longer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from edgefuse.memory_growth import LIMIT_BYTES, MIN_POINTS, Growth, judge_growth
from edgefuse.pytest_plugin.case import Case
from edgefuse.pytest_plugin.outcome import INCONCLUSIVE, Finding
from edgefuse.report.units import significant
from edgefuse.spec import Array
from edgefuse.verdict import Verdict

WARM_UP, CALLS, POINTS = 256, 2048, 64
WARM_UP_S, ROUND_S, BUDGET_S = 5.0, 15.0, 60.0


def run(case: Case) -> Finding:
    """Rounds of calls, each with twice as many as the one before, until the verdict is clear or the time is up."""
    limit = case.limits.max_growth_bytes or LIMIT_BYTES
    start = time.monotonic()
    arrays = _watch(case, WARM_UP, WARM_UP_S)
    if not arrays:
        return Finding("memory", INCONCLUSIVE, "the device's system does not say how much memory a process uses")
    each_s = (time.monotonic() - start) / max(int(arrays["calls"][-1]), 1)
    calls = min(CALLS, max(POINTS, int(ROUND_S / each_s)))
    while True:
        arrays = _watch(case, calls, ROUND_S)
        if len(arrays["calls"]) < MIN_POINTS:
            said = f"only {int(arrays['calls'][-1])} calls in {ROUND_S:g} s, too few to see memory grow"
            return Finding("memory", INCONCLUSIVE, said, {"calls": int(arrays["calls"][-1])})
        found, calls = judge_growth(arrays["calls"], arrays["memory"], limit), 2 * calls
        if found.verdict is not Verdict.INCONCLUSIVE or time.monotonic() - start > BUDGET_S:
            return _finding(found, arrays)


def _watch(case: Case, calls: int, limit_s: float) -> dict[str, Array]:
    asked = {"calls": calls, "points": POINTS, "limit_s": limit_s}
    return dict(case.ask("memory", asked, "Watching memory").arrays)


def _finding(found: Growth, arrays: dict[str, Array]) -> Finding:
    low, high = found.ci95
    resident = float(arrays["memory"][-1])
    summary = (
        f"{significant(found.slope)} bytes a call (95 %: {significant(low)} … {significant(high)}) over {found.calls} "
        f"calls, limit {found.limit:g}; {resident / 2**20:.1f} MiB resident"
    )
    figures: dict[str, Any] = {
        "bytes_per_call": found.slope,
        "ci95_low": low,
        "ci95_high": high,
        "limit": found.limit,
        "calls": found.calls,
        "resident_bytes": int(resident),
    }
    lines = [
        f"halves (95 %): {_interval(found.early_ci95)} and {_interval(found.late_ci95)} bytes a call; "
        f"last minus first {significant(found.ends)}",
        f"MiB after {' '.join(map(str, _thinned(arrays['calls'])))} calls: "
        + " ".join(f"{value / 2**20:.2f}" for value in _thinned(arrays["memory"])),
    ]
    curve = {name: array.tolist() for name, array in arrays.items()}
    return Finding("memory", found.verdict.value, summary, figures, lines, {**found.to_json(), "curve": curve})


def _interval(ends: tuple[float, float]) -> str:
    return " … ".join(significant(end) for end in ends)


def _thinned(array: Array) -> list[int]:
    return [int(array[index]) for index in np.linspace(0, len(array) - 1, 9).astype(int)]
