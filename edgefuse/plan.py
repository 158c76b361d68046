"""Which precision the model runs in: the candidates, and the choice among them by measurement.

The choice looks at the *calibrate* split only. The golden split, which decides the verdict, is seen once, afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner, Settings
from edgefuse.check import REFERENCE, Judge, compare_stages, judge_accuracy
from edgefuse.errors import DeviceMismatchError, EdgeFuseError
from edgefuse.golden import read_golden
from edgefuse.latency import measure
from edgefuse.spec import Feed

FLOAT = "float"
PRECISIONS = {
    # precision: (the graph has Q/DQ, what the float operations may run in)
    FLOAT: (False, "f32"),
    "bf16": (False, "bf16"),
    "int8": (True, "f32"),
    "int8+bf16": (True, "bf16"),
}


TIE = 0.03
"""Latencies this close are one: interleaved A/A runs of one model differ by 1 to 2 % at p50. The more accurate wins."""


@dataclass(frozen=True)
class Candidate:
    """One way to run the whole model: an ONNX file, how it is executed, and the vendor's artifact of it."""

    precision: str
    onnx_path: Path
    artifact: Path
    settings: Settings

    @property
    def quantized(self) -> bool:
        return PRECISIONS[self.precision][0]


def wanted_precisions(asked: str, supported: Sequence[str], device: str) -> list[str]:
    """The precisions to build: what was *asked* for, or for "auto" all that the device has. Float always comes first
    (it is the baseline); raises :class:`DeviceMismatchError` for one that the device lacks."""
    possible = [name for name in PRECISIONS if set(name.split("+")) <= set(supported)]
    if asked == "auto":
        return possible
    if asked not in possible:
        raise DeviceMismatchError(
            f"{device} cannot run {asked}; it has {', '.join(possible)}",
            where="--precision",
            hint="Choose one of these, or --precision auto.",
        )
    return list(dict.fromkeys([FLOAT, asked]))


def choose(
    candidates: Mapping[str, Runner], failed: Mapping[str, str], search: Path, judge: Judge, feeds: Sequence[Feed]
) -> dict[str, Any]:
    """The fastest candidate whose drop on the search samples is within the limit, and why; of equally fast ones the
    most accurate.

    Returns ``precision``, ``reason`` and ``candidates`` (each with ``drop`` or ``sqnr_db``, ``p50_ms``, ``passes``).
    """
    pairs = [(REFERENCE, name) for name in candidates]
    found = compare_stages(read_golden(search), candidates, judge, pairs)
    latencies = measure(candidates, feeds, budget_s=3.0, max_runs=400)
    rows = []
    for name in candidates:
        entry = judge_accuracy(found[REFERENCE, name], (REFERENCE, name), judge)
        sqnr_db = min(item.sqnr_db for item in found[REFERENCE, name].fidelities.values())
        within = entry["candidate"] >= entry["limit"] if judge.metric is None else entry["drop"] <= entry["limit"]
        rows.append(
            {
                "precision": name,
                "drop": entry["drop"],
                "sqnr_db": sqnr_db,
                "passes": bool(within),
                "p50_ms": latencies[name].percentile(50),
                "p90_ms": latencies[name].percentile(90),
            }
        )
    rows += [{"precision": name, "passes": False, "failed": reason} for name, reason in failed.items()]
    passing = [row for row in rows if row["passes"] or row["precision"] == FLOAT]
    fastest_ms = min(float(row["p50_ms"]) for row in passing)
    ties = [row for row in passing if row["p50_ms"] <= fastest_ms * (1 + TIE)]
    best = max(ties, key=lambda row: float(row["sqnr_db"]))
    return {"precision": best["precision"], "reason": _reason(best, rows), "candidates": rows}


def _reason(best: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    baseline = next(row for row in rows if row["precision"] == FLOAT)
    if best is baseline:
        return "float: no other precision was both faster and within the limit on the calibration samples"
    return f"{best['precision']}: the fastest of {len(rows)} precisions within the limit on the calibration samples"


def explain(error: EdgeFuseError) -> str:
    """A candidate's failure in one line, for the report."""
    return f"{type(error).__name__}: {error.what}"
