"""``report.json``: the verdict and all figures of one compilation. What was not measured is null, with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.device import Device
from edgefuse.plan import Choice
from edgefuse.spec import ModelSpec
from edgefuse.verdict import Verdict, combine

FORMAT = 1


def overall_verdict(gates: list[dict[str, Any]], accuracy: dict[str, Any], latency: dict[str, Any]) -> Verdict:
    """The end-to-end accuracy and the latency limit decide; an arrow adds only a failure, or that it is pending, since
    its doubt is already part of the end-to-end interval."""
    arrows = [Verdict(gate["verdict"]) for gate in gates]
    deciding = [Verdict(accuracy["verdict"]), *([Verdict(latency["verdict"])] if latency["verdict"] else [])]
    return combine([*deciding, *(verdict for verdict in arrows if verdict in (Verdict.FAIL, Verdict.PENDING))])


@dataclass(frozen=True)
class Planned:
    """What the planner found out beside its choice: ``parts`` one row each (empty: the model has one part),
    ``boundary`` the tensors between them, ``cut`` whether running part by part pays (None: not tried),
    ``sensitivity`` what each unit loses when it alone is INT8, ``part_times`` each part in each way to run it."""

    parts: tuple[dict[str, Any], ...] = ()
    boundary: tuple[dict[str, Any], ...] = ()
    cut: dict[str, Any] | None = None
    sensitivity: tuple[dict[str, Any], ...] = ()
    part_times: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Findings:
    """What one compilation found out, in the words of the report. ``environment`` is of the machine that measured,
    ``exported_on`` of the one that made the graphs, where that is another."""

    name: str
    target: Device
    backend: str
    backend_version: str | None
    source: str
    exporter: str
    notes: tuple[str, ...]
    spec: ModelSpec
    choice: Choice
    threads: int
    kernels: dict[str, int] | None
    gates: list[dict[str, Any]]
    accuracy: dict[str, Any]
    fidelity: list[dict[str, Any]]
    latency: dict[str, Any]
    graphs: list[dict[str, Any]]
    finish: dict[str, Any] | None
    split: dict[str, Any]
    stages: list[dict[str, Any]]
    environment: dict[str, Any]
    exported_on: dict[str, Any] | None = None
    fallbacks: tuple[dict[str, Any], ...] = ()
    estimate: dict[str, Any] | None = None
    planned: Planned = Planned()
    device_state: dict[str, Any] | None = None
    """Before and after latency was measured; None where it was not."""


def make_report(found: Findings, folder: Path) -> dict[str, Any]:
    """The report as plain JSON values; *folder* is weighed for ``size_bytes``."""
    spec = found.spec
    return {
        "format": FORMAT,
        "verdict": overall_verdict(found.gates, found.accuracy, found.latency).value,
        "name": found.name,
        "target": found.target.name,
        "target_alias": found.target.alias or None,
        "backend": {"name": found.backend, "version": found.backend_version},
        "model": {"source": found.source, "exporter": found.exporter, "notes": list(found.notes), **spec.to_json()},
        "plan": plan_json(spec, found.choice, found.threads, found.kernels, found.latency, found.planned),
        "graphs": found.graphs,
        "gates": found.gates,
        "accuracy": [found.accuracy],
        "fidelity": found.fidelity,
        "latency": found.latency,
        "device_state": found.device_state,
        "finish": found.finish,
        "estimate": found.estimate,
        "size_bytes": size_of(folder),
        "fallbacks": list(found.fallbacks),
        "calibration": found.split,
        "stages": found.stages,
        "environment": found.environment,
        **({"exported_on": found.exported_on} if found.exported_on is not None else {}),
    }


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def plan_json(
    spec: ModelSpec,
    choice: Choice,
    threads: int,
    kernels: dict[str, int] | None,
    latency: dict[str, Any],
    planned: Planned = Planned(),
) -> dict[str, Any]:
    """The report's and the manifest's ``plan``."""
    return {
        "name": choice.name,
        "precision": choice.precision,
        "graph": choice.graph,
        "threads": threads,
        "split": bool(planned.cut and planned.cut["kept"]),
        "kernels": kernels,
        "parts": list(planned.parts) or [_whole_part(spec, choice, latency)],
        "boundary": list(planned.boundary),
        "cut": planned.cut,
        "reason": choice.reason,
        "candidates": list(choice.candidates),
        "ended_early": choice.ended_early,
        "sensitivity": list(planned.sensitivity),
        "part_times": list(planned.part_times),
    }


def _whole_part(spec: ModelSpec, choice: Choice, latency: dict[str, Any]) -> dict[str, Any]:
    compiled = latency["compiled"]
    part = {
        "name": "whole",
        "streams": sorted({tensor.stream for tensor in spec.inputs}),
        "precision": choice.precision,
        "latency_p50_ms": compiled["p50_ms"] if compiled else None,
    }
    return part if compiled else {**part, "latency_reason": latency["compiled_reason"]}
