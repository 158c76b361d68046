"""Is B slower than A? The A/A canary first, then the ratio's interval. Numpy only; error rates: docs/bench.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgefuse.bench.ratio import Ratio
from edgefuse.noninferiority import scaled_samples
from edgefuse.verdict import Verdict

MAX_SLOWDOWN = 0.05

OWN_SHARE = 0.2
"""Of the tolerance: so far may an arm differ from itself. Two copies of a model in memory do differ a little, which ten
thousand calls show; the interval of B over A is widened by it."""


@dataclass(frozen=True)
class Judged:
    """``ci95`` as it is held against the limit: widened by the canary. ``more_runs``: about how many more calls decide,
    None where none would. ``why``: what stands in the way of a verdict."""

    verdict: Verdict
    ci95: tuple[float, float]
    limit: float
    more_runs: int | None = None
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        found = {"verdict": self.verdict.value, "widened_ci95": list(self.ci95), "limit": self.limit}
        return {**found, "more_runs": self.more_runs, "why": self.why}


def canary_doubt(canary: Ratio, max_slowdown: float) -> str | None:
    """Why nothing can be decided on this machine; None where it is quiet enough."""
    apart = 1 + OWN_SHARE * max_slowdown
    if canary.low > apart or canary.high < 1 / apart:
        return f"the same bundle differs from itself: p90 {canary.value:.3f} times ({_interval(canary)})"
    if canary.width > max_slowdown:
        return f"the same bundle against itself is known only within {_interval(canary)}"
    return None


def _interval(ratio: Ratio) -> str:
    return f"{ratio.low:.3f} … {ratio.high:.3f}"


def judge_ratio(found: Ratio, canary: Ratio, max_slowdown: float, runs: int) -> Judged:
    """Pass when the interval of *found*, B's p90 over A's from *runs* calls each, lies within 1 + *max_slowdown*; fail
    when beyond; else, or where the *canary* (A over A) does not hold still, inconclusive."""
    limit, noise = 1 + max_slowdown, max(canary.value, 1 / canary.value)
    interval = found.low / noise, found.high * noise
    doubt = canary_doubt(canary, max_slowdown)
    if doubt is not None:
        return Judged(Verdict.INCONCLUSIVE, interval, limit, _for_canary(canary, max_slowdown, runs), doubt)
    if interval[1] <= limit:
        return Judged(Verdict.PASS, interval, limit)
    if interval[0] > limit:
        return Judged(Verdict.FAIL, interval, limit)
    value, ends, edge = math.log(found.value), (math.log(interval[0]), math.log(interval[1])), math.log(limit)
    more = scaled_samples(value, ends, edge, runs)
    return Judged(Verdict.INCONCLUSIVE, interval, limit, more, f"the limit {limit:g} lies inside the interval")


def _for_canary(canary: Ratio, max_slowdown: float, runs: int) -> int | None:
    """Its interval narrows with the square root of the calls; a difference from itself does not go away."""
    if canary.width <= max_slowdown:
        return None
    return max(math.ceil(runs * ((canary.width / max_slowdown) ** 2 - 1)), 1)
