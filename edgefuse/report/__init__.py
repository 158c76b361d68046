"""``report.json``: the verdict and all figures of one compilation. What was not measured is null, with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefuse.device import Device
from edgefuse.spec import ModelSpec
from edgefuse.verdict import Verdict, combine

FORMAT = 1


def overall_verdict(gates: list[dict[str, Any]], accuracy: dict[str, Any], latency: dict[str, Any]) -> Verdict:
    """The end-to-end accuracy and the latency limit decide; an arrow adds only a failure, since its doubt is already
    part of the end-to-end interval."""
    arrows = [Verdict(gate["verdict"]) for gate in gates]
    deciding = [Verdict(accuracy["verdict"]), *([Verdict(latency["verdict"])] if latency["verdict"] else [])]
    return combine([*deciding, *(verdict for verdict in arrows if verdict is Verdict.FAIL)])


def make_report(
    *,
    request_name: str,
    target: Device,
    backend_version: str,
    source: str,
    exporter: str,
    notes: tuple[str, ...],
    spec: ModelSpec,
    choice: dict[str, Any],
    threads: int,
    gates: list[dict[str, Any]],
    accuracy: dict[str, Any],
    fidelity: list[dict[str, Any]],
    latency: dict[str, Any],
    folder: Path,
    split: dict[str, Any],
    stages: list[dict[str, Any]],
    environment: dict[str, Any],
) -> dict[str, Any]:
    """The report as plain JSON values; *folder* is weighed for ``size_bytes``."""
    streams = sorted({tensor.stream for tensor in spec.inputs})
    part = {
        "name": "whole",
        "streams": streams,
        "precision": choice["precision"],
        "latency_p50_ms": latency["compiled"]["p50_ms"],
    }
    return {
        "format": FORMAT,
        "verdict": overall_verdict(gates, accuracy, latency).value,
        "name": request_name,
        "target": target.name,
        "backend": {"name": target.backend, "version": backend_version},
        "model": {"source": source, "exporter": exporter, "notes": list(notes), **spec.to_json()},
        "plan": {
            "precision": choice["precision"],
            "threads": threads,
            "split": False,
            "parts": [part],
            "reason": choice["reason"],
            "candidates": choice["candidates"],
        },
        "gates": gates,
        "accuracy": [accuracy],
        "fidelity": fidelity,
        "latency": latency,
        "size_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "calibration": split,
        "stages": stages,
        "environment": environment,
    }
