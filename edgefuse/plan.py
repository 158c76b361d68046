"""Which precision the model runs in: the candidates, and the choice among them by measurement. Numpy only: it is made
on the device that will run the model.

The choice looks at the *calibrate* split only. The golden split, which decides the verdict, is seen once, afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner, Settings
from edgefuse.check import REFERENCE, Judge, compare_stages, judge_accuracy
from edgefuse.errors import DeviceMismatchError, ToolchainError, left_out
from edgefuse.golden import read_golden
from edgefuse.latency import measure
from edgefuse.precision import FLOAT, PRECISIONS, possible_precisions
from edgefuse.spec import Feed

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
    def graph(self) -> str:
        return PRECISIONS[self.precision][0]


def wanted_precisions(asked: str, supported: Sequence[str], device: str) -> list[str]:
    """The precisions to build: what was *asked* for, or for "auto" all that the device has. Float always comes first
    (it is the baseline); raises :class:`DeviceMismatchError` for one that the device lacks."""
    possible = possible_precisions(supported)
    if asked == "auto":
        return possible
    if asked not in possible:
        raise DeviceMismatchError(
            f"EdgeFuse does not offer {asked} for {device}; it offers {', '.join(possible)}",
            where="--precision",
            hint="Choose one of these, or --precision auto.",
        )
    return list(dict.fromkeys([FLOAT, asked]))


@dataclass(frozen=True)
class Choice:
    """``candidates``: one row per precision with ``drop``, ``sqnr_db``, ``p50_ms``, ``p90_ms``, ``passes``, or with
    ``failed``, the reason; empty where nothing was searched."""

    precision: str
    reason: str
    candidates: tuple[dict[str, Any], ...]


def choose(
    candidates: Mapping[str, Runner], failed: Mapping[str, str], search: Path, judge: Judge, feeds: Sequence[Feed]
) -> Choice:
    """The fastest candidate whose drop on the search samples is within the limit; of equally fast ones the most
    accurate. One that fails is recorded with its reason and the search goes on; float is always there."""
    rows: dict[str, dict[str, Any]] = {}
    broken, required = dict(failed), {FLOAT} if len(candidates) == 1 else set()
    for name, runner in candidates.items():
        with left_out(name, broken, required):
            rows[name] = judge_candidate(name, runner, search, judge)
    if not rows:
        raise ToolchainError(
            "no precision runs here: " + "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        )
    latencies = measure({name: candidates[name] for name in rows}, feeds, budget_s=3.0, max_runs=400)
    for name, row in rows.items():
        row |= {"p50_ms": latencies[name].percentile(50), "p90_ms": latencies[name].percentile(90)}
    best = _best(list(rows.values()))
    others = [{"precision": name, "passes": False, "failed": reason} for name, reason in broken.items()]
    return Choice(best["precision"], _reason(best, len(rows)), (*rows.values(), *others))


def judge_candidate(name: str, runner: Runner, search: Path, judge: Judge) -> dict[str, Any]:
    """One row of :class:`Choice` without its latencies."""
    pair = (REFERENCE, name)
    comparison = compare_stages(read_golden(search), {name: runner}, judge, [pair])[pair]
    entry = judge_accuracy(comparison, pair, judge)
    within = entry["candidate"] >= entry["limit"] if judge.metric is None else entry["drop"] <= entry["limit"]
    passes = bool(within) and not comparison.nonfinite
    return {"precision": name, "drop": entry["drop"], "sqnr_db": comparison.sqnr_db, "passes": passes}


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    passing = [row for row in rows if row["passes"] or row["precision"] == FLOAT] or rows
    fastest_ms = min(float(row["p50_ms"]) for row in passing)
    ties = [row for row in passing if row["p50_ms"] <= fastest_ms * (1 + TIE)]
    return max(ties, key=lambda row: float(row["sqnr_db"]))


def _reason(best: dict[str, Any], tried: int) -> str:
    if not best["passes"] and best["precision"] != FLOAT:
        return f"{best['precision']}: no precision is within the limit on the calibration samples"
    if best["precision"] == FLOAT:
        return "float: no other precision was both faster and within the limit on the calibration samples"
    return f"{best['precision']}: the fastest of {tried} precisions within the limit on the calibration samples"
