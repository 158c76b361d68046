"""Does a process grow with every call? Its resident memory over many calls, and a verdict on the slope. Numpy only.

What a healthy process shows is flat, with steps: a vendor's pool that is filled late, an arena of a new thread. A leak
goes on. Three figures in bytes a call are held against the limit:

* the Theil–Sen slope (the median of the slopes between all pairs of points) with the 95 % interval of Sen (1968, JASA
  63:1379): single steps hardly move it;
* the same of each half, since a leak is in both and a late step is in one;
* last minus first memory over all calls, since a rare large step is a leak, too, and no median sees it.

*pass*: the whole's upper end and the last figure are within the limit. *fail*: the lower ends of both halves are beyond
it. Else *inconclusive*, and more calls can tell. Neighbouring points are not independent, so the intervals are narrower
than 95 %; that is what the halves are for (simulated in ``tests/test_memory_growth.py``).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.backends import Runner
from edgefuse.bootstrap import Z95
from edgefuse.spec import Feed
from edgefuse.verdict import Verdict

LIMIT_BYTES = 64.0
"""A call. At 200 calls a second that is 1.1 GB in a day; a page in 64 calls, which a few thousand calls show."""

MIN_POINTS = 16
STATM = Path("/proc/self/statm")

Counts = NDArray[np.int64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Growth:
    """Bytes a call, each with its 95 % interval: ``slope`` over all points, ``early`` and ``late`` of the halves;
    ``ends``: last minus first memory over the calls."""

    calls: int
    slope: float
    ci95: Interval
    early_ci95: Interval
    late_ci95: Interval
    ends: float
    limit: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Ends that nothing bounds are null."""
        ends = {
            name: [end if math.isfinite(end) else None for end in getattr(self, name)]
            for name in ("ci95", "early_ci95", "late_ci95")
        }
        return {**asdict(self), **ends, "verdict": self.verdict.value}


def resident_bytes() -> int | None:
    """This process's memory that is in RAM (proc_pid_statm(5)); None where the system does not say."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def watch_memory(
    runner: Runner, feeds: Sequence[Feed], calls: int, points: int, limit_s: float
) -> tuple[Counts, Counts] | None:
    """Call *runner* up to *calls* times, at most *limit_s* seconds, and read the memory *points* times meanwhile: the
    number of calls so far, and bytes, (k,) each. None where the system does not say."""
    if resident_bytes() is None:
        return None
    every, deadline = max(calls // points, 1), time.perf_counter() + limit_s
    counts, found = np.zeros(calls // every + 1, np.int64), np.zeros(calls // every + 1, np.int64)
    used = 0  # nothing grows here but what is watched
    for call in range(calls + 1):
        if call % every == 0:
            counts[used], found[used] = call, resident_bytes() or 0
            used += 1
            if time.perf_counter() > deadline:
                break
        runner(feeds[call % len(feeds)])
    return counts[:used], found[:used]


def judge_growth(calls: Counts, memory: Counts, limit: float = LIMIT_BYTES) -> Growth:
    """*calls* so far and resident *memory* in bytes, (n,) each, n ≥ 4, against *limit* bytes a call."""
    slope, interval = theil_sen(calls, memory)
    half = len(calls) // 2
    (_, early), (_, late) = theil_sen(calls[: half + 1], memory[: half + 1]), theil_sen(calls[half:], memory[half:])
    ends = float(memory[-1] - memory[0]) / float(calls[-1] - calls[0])
    if len(calls) < MIN_POINTS:
        verdict = Verdict.INCONCLUSIVE
    elif min(early[0], late[0]) > limit:
        verdict = Verdict.FAIL
    elif interval[1] <= limit and ends <= limit:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    return Growth(int(calls[-1] - calls[0]), slope, interval, early, late, ends, limit, verdict)


def theil_sen(x: Counts, y: Counts) -> tuple[float, Interval]:
    """The median of the slopes between all pairs of points, and Sen's 95 % interval of it (without ties' correction,
    which would narrow it); the whole line where there are too few points."""
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    n, pairs = len(x), len(slopes)
    spread = Z95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)  # the standard deviation of Kendall's S
    low, high = math.floor((pairs - spread) / 2), math.ceil((pairs + spread) / 2)
    lower = float(slopes[low - 1]) if low >= 1 else -math.inf
    upper = float(slopes[high]) if high < pairs else math.inf
    return float(np.median(slopes)), (lower, upper)
