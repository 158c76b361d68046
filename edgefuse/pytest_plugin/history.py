"""A measured latency, held against the earlier ones of the same bundle and class of device, and added to them: the file
is that of ``edgefuse bench --history`` (:mod:`edgefuse.bench.history`)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefuse.bench.compare import AGAIN, CANDIDATE, describe
from edgefuse.bench.history import append, history_line, lines_of, read_history
from edgefuse.bench.ratio import p90_ratios
from edgefuse.bench.recorded import judge_recorded
from edgefuse.bench.verdict import MAX_SLOWDOWN, canary_doubt
from edgefuse.bundle import Bundle
from edgefuse.errors import ToolchainError
from edgefuse.gates import COMPILED
from edgefuse.latency import TURN
from edgefuse.spec import Array


def add_to_history(
    path: Path,
    bundle: Bundle,
    about: Mapping[str, Any],
    latency: Mapping[str, Any],
    samples_ms: Mapping[str, Array],
    state: Mapping[str, Any],
) -> dict[str, Any]:
    """The ``comparison`` with what the file at *path* holds; *latency* and *samples_ms* are the job's, *state* is the
    report's ``device_state``. Raises :class:`InputError` for a file that is no history."""
    arms = {CANDIDATE: samples_ms[COMPILED].reshape(-1, TURN), AGAIN: samples_ms[AGAIN].reshape(-1, TURN)}
    canary = p90_ratios(arms, CANDIDATE)[AGAIN]
    report = {
        CANDIDATE: {**describe(bundle), "latency": latency[COMPILED]},
        "baseline": None,
        "canary": {**canary.to_json(), "doubt": canary_doubt(canary, MAX_SLOWDOWN)},
        "accuracy": {"candidate": None, "verdict": None},
        "max_slowdown": MAX_SLOWDOWN,
        "power_mode": None,
        "device_class": about["device_class"],
        "environment": about["environment"],
        "device_state": state,
    }
    known = lines_of(read_history(path), str(bundle.manifest["name"]), str(about["device_class"]))
    judged = judge_recorded(report, known)
    try:
        append(path, history_line(judged, time.time()))
    except OSError as error:
        raise ToolchainError(f"cannot be written: {error.strerror}", where=str(path)) from None
    comparison: dict[str, Any] = judged["comparison"]
    return comparison


def history_text(comparison: Mapping[str, Any]) -> str:
    """How this run compares with the recorded ones."""
    if comparison["p90_ratio"] is None:
        return f"against the history: {comparison['why']}"
    low, high = comparison["widened_ci95"]
    changed = f"; since the last: {', '.join(comparison['changed'])}" if comparison["changed"] else ""
    return (
        f"p90 {comparison['p90_ratio']:.3f} times that of {comparison['runs']} recorded runs "
        f"(95 %: {low:.3f} … {high:.3f}), limit {comparison['limit']:g}: {comparison['verdict']}{changed}"
    )
