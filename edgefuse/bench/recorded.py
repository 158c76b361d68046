"""A bench against those recorded before it. Numpy only.

Weaker than measuring in turns: between two runs lie days, another temperature, a restart. So the yardstick is how far
the recorded runs of the same bundle on the same class of device lie from each other, and the answer says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgefuse.bench.compare import overall
from edgefuse.bench.history import Line
from edgefuse.bench.ratio import Ratio
from edgefuse.bench.verdict import Judged, judge_ratio
from edgefuse.bootstrap import Z95, student_quantile
from edgefuse.verdict import Verdict

MIN_RECORDED = 5
"""Fewer say nothing of their own spread."""

ENVIRONMENT = ("cpu", "cores", "os", "python", "board", "l4t", "jetpack")
"""What of the environment is compared, beside the packages."""

LAST = 20
"""So many of the newest are the baseline."""


def judge_recorded(report: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, Any]:
    """*report* of one bundle with its ``verdict`` and ``comparison``, against the recorded *lines* of the same bundle
    and class of device, oldest first. Lines whose verdict is fail are no baseline, since a regression does not become
    normal by being recorded; nor are those whose canary was in doubt, since their figures are the noise's."""
    kept = [line for line in lines if line["verdict"] != "fail" and not line["canary"]["doubt"]][-LAST:]
    limit = 1 + report["max_slowdown"]
    if len(kept) < MIN_RECORDED:
        why = f"{len(kept)} of the {MIN_RECORDED} quiet recorded runs that a baseline needs"
        if left_out := len(lines) - len(kept):
            why += f" ({left_out} more were too noisy, or had failed)"
        judged = Judged(Verdict.INCONCLUSIVE, (math.nan, math.nan), limit, None, why)
        unknown = {"p90_ratio": None, "ci95": None, "widened_ci95": None, "spread": None, "recorded": None}
        found = {"kind": "recorded", **judged.to_json(), **unknown}
    else:
        canary = _canary(report)
        ratio = recorded_ratio([line["latency"]["p90_ms"] for line in kept], _p90(report), canary)
        judged = judge_ratio(ratio, canary, report["max_slowdown"], report["candidate"]["latency"]["runs"])
        if judged.verdict is Verdict.INCONCLUSIVE and judged.why and "limit" in judged.why:
            judged = Judged(judged.verdict, judged.ci95, limit, None, f"{judged.why}: recorded runs differ that much")
        found = {"kind": "recorded", **ratio.to_json(), **judged.to_json(), **_baseline(kept)}
    found |= {"runs": len(kept), "left_out": len(lines) - len(kept), "changed": list(_changes(report, lines))}
    return {**report, "comparison": found, "verdict": overall(judged.verdict, report["accuracy"])}


def recorded_ratio(recorded_ms: Sequence[float], now_ms: float, canary: Ratio) -> Ratio:
    """*now_ms* over the geometric mean of *recorded_ms* (k,), with Student's 95 % interval of one more run: logarithms
    with k − 1 degrees of freedom, and the spread of the recorded runs or this run's own uncertainty (half of the
    *canary*'s variance, which is that of two), whichever is larger."""
    logs = np.log(np.asarray(recorded_ms))
    own = math.log(canary.high / canary.low) / (2 * Z95 * math.sqrt(2))
    spread = max(float(logs.std(ddof=1)), own)
    middle, count = math.log(now_ms) - float(logs.mean()), len(logs)
    half = student_quantile(count - 1) * spread * math.sqrt(1 + 1 / count)
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half), count, 1.0)


def _p90(report: Mapping[str, Any]) -> float:
    return float(report["candidate"]["latency"]["p90_ms"])


def _canary(report: Mapping[str, Any]) -> Ratio:
    found = report["canary"]
    low, high = found["ci95"]
    return Ratio(found["p90_ratio"], low, high, found["rounds"], found["block_rounds"])


def _baseline(kept: Sequence[Line]) -> dict[str, Any]:
    """What the baseline is: the median of each quantile over the recorded runs, and how far their p90 lie apart."""
    p90 = np.array([line["latency"]["p90_ms"] for line in kept])
    quantiles = np.median([line["latency"]["quantiles_ms"] for line in kept], axis=0)
    return {
        "spread": float(p90.max() / p90.min()),
        "recorded": {
            "p50_ms": float(np.median([line["latency"]["p50_ms"] for line in kept])),
            "p90_ms": float(np.exp(np.log(p90).mean())),
            "quantiles_ms": [float(f"{value:.5g}") for value in quantiles],
            "first": kept[0]["stamp"],
            "last": kept[-1]["stamp"],
            "hashes": len({line["hash"] for line in kept}),
        },
    }


def _changes(report: Mapping[str, Any], lines: Sequence[Line]) -> Iterator[str]:
    """What is not as it was at the last recorded run: it may be the reason."""
    if not lines:
        return
    last = lines[-1]
    if last["hash"] != report["candidate"]["hash"]:
        yield "the bundle was compiled again"
    was, now = _flat(last["environment"]), _flat(report["environment"])
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key):
            yield f"{key} {was.get(key, 'absent')} → {now.get(key, 'absent')}"


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: environment[key] for key in ENVIRONMENT if key in environment}, **environment.get("packages", {})}
