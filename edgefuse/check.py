"""The gates: is what came out of an arrow still as good as what went in, and fast enough?

What was compared over the golden samples (:mod:`edgefuse.comparison`) becomes a verdict here, by the same code at the
workstation and on the robot. Numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.comparison import REFERENCE, Comparison, Judge, check_labels, compare_stages, make_judge
from edgefuse.errors import ModelError
from edgefuse.latency import Latency, canary_ratio, judge_p90
from edgefuse.noninferiority import NonInferiority, compare_scores
from edgefuse.noninferiority import headroom as score_headroom
from edgefuse.sqnr import FloorTest, judge_floor, shrunken_db
from edgefuse.verdict import Verdict

__all__ = [
    "REFERENCE",
    "Comparison",
    "Judge",
    "check_labels",
    "compare_stages",
    "headroom",
    "judge_accuracy",
    "judge_parity",
    "latency_json",
    "likely_passes",
    "make_judge",
]

EXPORT_MIN_SQNR_DB = 60.0
"""Float against float differs by rounding only (90 dB and more); bf16 lies at 40 dB. Below 60 dB the graph differs."""


def judge_accuracy(comparison: Comparison, pair: tuple[str, str], judge: Judge) -> dict[str, Any]:
    """The ``accuracy`` entry of the report: non-inferiority in the metric, or the SQNR floor where there is none."""
    if judge.metric is None:
        floor_db = judge.accuracy.min_sqnr_db
        return _floor_json(judge_floor(comparison.fidelities.values(), floor_db, _groups(comparison)), floor_db)
    scores = np.array([comparison.scores[name] for name in pair])
    kept = np.isfinite(scores).all(axis=0)
    if not kept.any():
        raise ModelError(f"every answer of the {pair[1]} model is NaN or infinite", hint="Try another --precision.")
    earlier, later = scores[:, kept]
    groups = _groups(comparison)
    found = compare_scores(
        earlier,
        later,
        judge.accuracy.max_drop.value,
        higher_is_better=judge.metric.higher_is_better,
        binary=judge.metric.binary or bool(np.isin(scores[:, kept], (0.0, 1.0)).all()),
        groups=None if groups is None else groups[kept],
        relative=judge.accuracy.max_drop.relative,
    )
    if comparison.nonfinite:  # whatever the metric says of the other samples
        method = f"failed: {comparison.nonfinite} output elements became NaN or infinite"
        found = replace(found, verdict=Verdict.FAIL, more_samples=None, method=method)
    return _accuracy_json(found, judge)


def headroom(comparison: Comparison, pair: tuple[str, str], judge: Judge) -> float:
    """How far within the limit the candidate stays if it loses 1.5 standard errors more than it seems, in the metric's
    unit or in dB. For a search on the *calibrate* split, where it is a rule and no verdict (docs/gate.md)."""
    if judge.metric is None:
        return shrunken_db(comparison.fidelities.values(), _groups(comparison)) - judge.accuracy.min_sqnr_db
    earlier, later = (np.array(comparison.scores[name]) for name in pair)
    if comparison.nonfinite or not np.isfinite(later).all():
        return -math.inf
    return score_headroom(
        earlier,
        later,
        judge.accuracy.max_drop.value,
        higher_is_better=judge.metric.higher_is_better,
        groups=_groups(comparison),
        relative=judge.accuracy.max_drop.relative,
    )


def likely_passes(comparison: Comparison, pair: tuple[str, str], judge: Judge) -> bool:
    """Whether a search should take the candidate: it probably does not fail on samples that it has not seen."""
    return headroom(comparison, pair, judge) >= 0


def _groups(comparison: Comparison) -> NDArray[np.int64] | None:
    return np.array(comparison.groups, np.int64) if comparison.groups else None


def _accuracy_json(found: NonInferiority, judge: Judge) -> dict[str, Any]:
    assert judge.metric is not None
    return {
        "metric": judge.metric.name,
        "output": judge.output,
        "labels": judge.labelled,
        "reference": found.reference,
        "candidate": found.candidate,
        "drop": found.drop,
        "ci95": list(found.ci95),
        "limit": found.limit,
        "limit_text": str(judge.accuracy.max_drop),
        "samples": found.samples,
        "verdict": found.verdict.value,
        "more_samples": found.more_samples,
        "mcnemar_p": found.mcnemar_p,
        "method": found.method,
    }


def _floor_json(found: FloorTest, floor_db: float) -> dict[str, Any]:
    return {
        "metric": "sqnr",
        "output": None,
        "labels": False,
        "reference": None,
        "candidate": found.sqnr_db,
        "drop": None,
        "ci95": list(found.ci95),
        "limit": floor_db,
        "limit_text": f"at least {floor_db:g} dB",
        "samples": found.samples,
        "verdict": found.verdict.value,
        "more_samples": found.more_samples,
        "mcnemar_p": None,
        "method": "SQNR of the worst output, plain or mean-free, whichever is lower; bootstrap-t",
    }


def judge_parity(comparison: Comparison, minimum_db: float = EXPORT_MIN_SQNR_DB) -> Verdict:
    """Float against float: the worst output's SQNR must show nothing but rounding."""
    return Verdict.PASS if comparison.sqnr_db >= minimum_db and not comparison.nonfinite else Verdict.FAIL


def latency_json(
    found: Mapping[str, Latency], limit_ms: float | None, no_float: str = "the bundle holds no float graph"
) -> dict[str, Any]:
    """The report's ``latency`` from the arms "compiled", "again" (A/A) and, where there is one, "float"; *no_float* is
    why there is none."""
    compiled = found["compiled"]
    canary = canary_ratio(compiled, found["again"])
    result: dict[str, Any] = {
        "float": None,
        "compiled": compiled.to_json(),
        "speedup": None,
        "canary_p90_ratio": canary,
        "limit_p90_ms": limit_ms,
        "p90_ci95_ms": list(compiled.p90_interval()),
        "verdict": judge_p90(compiled, limit_ms, canary).value if limit_ms is not None else None,
    }
    if "float" not in found:
        return {**result, "float_reason": no_float, "speedup_reason": "no float latency"}
    return {
        **result,
        "float": found["float"].to_json(),
        "speedup": found["float"].percentile(50) / compiled.percentile(50),
    }
