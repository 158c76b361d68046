"""The end of the line where the device is another machine: every gate that can run here runs, the others are pending.

The precision that is put first is not measured; the device measures all of them (:mod:`edgefuse.recompile`), for which
the bundle carries every graph, samples for the search, and what the emulated graphs answered.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.backends.onnxruntime import open_graph
from edgefuse.check import REFERENCE, Judge, judge_accuracy
from edgefuse.compile.graphs import Graph
from edgefuse.compile.parts import Parts
from edgefuse.compile.planner import mixed_treatments, part_losses, part_rows
from edgefuse.compile.planner.sensitivity import Loss
from edgefuse.compile.prepared import Prepared, Request, findings, store_graphs, write_bundle
from edgefuse.compile.roofline import estimate
from edgefuse.gates import arrows_between, describe_gates, pending_compile, recorded_stages, run_gates
from edgefuse.golden import write_golden, write_outputs
from edgefuse.machine import usable_cores
from edgefuse.manifest import EMULATED, MODEL, SEARCH
from edgefuse.metrics import METRICS, SQNR
from edgefuse.plan import Choice
from edgefuse.precision import FLOAT, PRECISIONS, base_of
from edgefuse.progress import Steps
from edgefuse.report import Planned
from edgefuse.report.branches import boundary_rows
from edgefuse.search import judge_runner
from edgefuse.spec import ModelSpec
from edgefuse.trtexec import trtexec_command, weakly_typed
from edgefuse.verdict import Verdict

PREFERRED = ("int8", "int8+fp16", "fp16", FLOAT)
"""Which graph comes first where nothing can be measured: the smallest that every TensorRT since 10.0 takes."""


def finish_portable(
    folder: Path,
    request: Request,
    prepared: Prepared,
    parts: Parts,
    graphs: Mapping[str, Graph],
    failed: Mapping[str, str],
    why: str,
    steps: Steps,
) -> dict[str, Any]:
    """Judge the *graphs* as onnxruntime emulates them, and write them all into the bundle; returns the report."""
    spec, judge, golden = prepared.source.spec, prepared.judge, prepared.golden
    search = folder / SEARCH
    with contextlib.ExitStack() as stack:
        runners = _open(graphs, spec, stack)
        with steps.step("Judging the graphs"):
            write_golden(search, prepared.samples.calibrate, prepared.source.runner)
            rows = [_row(name, runner, search, judge) for name, runner in runners.items()]
        losses = _losses(graphs, prepared, parts, search, steps)
        if request.precision == "auto":
            mixed, others, found_losses = _mixed(rows, graphs, prepared, parts, search, steps)
            graphs, failed, losses = {**graphs, **mixed}, {**failed, **others}, [*losses, *found_losses]
            more = _open(mixed, spec, stack)
            runners |= more
            rows += [_row(name, runner, search, judge) for name, runner in more.items()]
        choice = _choose(request.precision, rows, failed)
        with steps.step("Recording answers") as step:
            write_outputs(folder / EMULATED, golden, runners)
            step.note(choice.reason)
    with steps.step("Checking accuracy") as step:
        graph = choice.graph
        stages = recorded_stages(folder / EMULATED, graph)
        arrows = arrows_between(list(stages))
        comparisons = run_gates(stages, arrows, golden, judge)
        step.note(f"emulated, {len(prepared.samples.golden)} held-out samples")
    whole = (REFERENCE, arrows[-1][1])
    files = store_graphs(folder, graphs, graph)
    shutil.rmtree(prepared.graphs.work)
    finish = _finish(request, graph, prepared, why)
    guess = estimate({name: folder / file for name, file in files.items()}, request.device)
    gates = [
        *describe_gates(comparisons, arrows, choice.precision, judge),
        pending_compile(arrows[-1][1], choice.precision, finish["command"]),
    ]
    found = findings(
        request,
        prepared,
        steps,
        backend=request.device.backend,
        backend_version=None,
        choice=choice,
        threads=request.device.threads,
        kernels=None,
        gates=gates,
        accuracy={**judge_accuracy(comparisons[whole], whole, judge), "emulated": True},
        fidelity=[item.to_json() for item in comparisons[whole].fidelities.values()],
        latency=_pending_latency(request.recipe.latency.p90_ms, finish["command"]),
        graphs=[{**item.facts, "file": files[name]} for name, item in graphs.items()],
        finish=finish,
        estimate=guess,
        planned=Planned(
            parts=part_rows(prepared.graphs, graphs, parts, choice, ()),
            boundary=tuple(boundary_rows(parts.partition)),
            sensitivity=tuple(loss.to_json() for loss in losses),
        ),
    )
    return write_bundle(folder, request, found, files, None, parts.partition.to_json(), steps)


def _open(graphs: Mapping[str, Graph], spec: ModelSpec, stack: contextlib.ExitStack) -> dict[str, Runner]:
    runners = {
        name: open_graph(item.emulation, spec, usable_cores(), emulate=name != FLOAT) for name, item in graphs.items()
    }
    for runner in runners.values():
        stack.callback(runner.close)
    return runners


def _row(name: str, runner: Runner, search: Path, judge: Judge) -> dict[str, Any]:
    known = {"name": name, "precision": base_of(name), "graph": name}
    return {**judge_runner(name, runner, search, judge), **known, "p50_ms": None, "p90_ms": None, "emulated": True}


def _losses(
    graphs: Mapping[str, Graph], prepared: Prepared, parts: Parts, search: Path, steps: Steps
) -> Sequence[Loss]:
    if not any(base_of(name).startswith("int8") for name in graphs):
        return []
    with steps.step("Measuring sensitivity"):
        return part_losses(prepared.graphs, parts, search, prepared.judge)


def _mixed(
    rows: Sequence[Mapping[str, Any]],
    graphs: Mapping[str, Graph],
    prepared: Prepared,
    parts: Parts,
    search: Path,
    steps: Steps,
) -> tuple[dict[str, Graph], dict[str, str], list[Loss]]:
    """Where plain INT8 is beyond the limit: INT8 with the operations in float (or FP16) that lose most."""
    if all(row["passes"] for row in rows if row["name"] == "int8") or "int8" not in graphs:
        return {}, {}, []
    with steps.step("Measuring sensitivity by block"):
        plain, losses = mixed_treatments(prepared.graphs, parts, search, prepared.judge, "int8")
    bases = [base for base in ("int8", "int8+fp16") if base in graphs]
    treatments = {f"{base}{name.removeprefix('int8')}": how for base in bases for name, how in plain.items()}
    prepared.graphs.treatments.update(treatments)
    made, failed = prepared.graphs.make(treatments, set(), steps)
    return made, failed, losses


def _choose(asked: str, rows: list[dict[str, Any]], failed: Mapping[str, str]) -> Choice:
    """The first of ``PREFERRED`` that keeps the limit on the calibration samples; what was asked for is not chosen."""
    others = [
        {"name": name, "precision": base_of(name), "graph": name, "passes": False, "failed": reason}
        for name, reason in failed.items()
    ]
    if asked != "auto":
        reason = f"{asked}: as asked for; not measured yet"
        return Choice(asked, asked, PRECISIONS[asked][0], reason, (*rows, *others))
    by_name = {row["name"]: row for row in rows}
    ordered = sorted(by_name, key=lambda name: (PREFERRED.index(base_of(name)), name))
    best = next((name for name in ordered if by_name[name]["passes"]), FLOAT)
    reason = f"{best} first: emulated, it keeps the limit on the calibration samples; the device measures all"
    return Choice(best, base_of(best), best, reason, (*rows, *others))


def _finish(request: Request, graph: str, prepared: Prepared, why: str) -> dict[str, Any]:
    """What is left for the device, and the commands that do it; ``command`` is None where EdgeFuse cannot run there."""
    device, spec = request.device, prepared.source.spec
    asked = [] if request.precision == "auto" else ["--precision", request.precision]
    if request.recipe.accuracy.metric not in (SQNR, *METRICS):  # the user's code, which a bundle does not carry
        asked += ["--recipe", "recipe.toml"]
    found = {
        "why": why,
        "command": shlex.join(["edgefuse", "compile", request.out.name, *asked]),
        "on": device.name,
        "pending": ["compile", "accuracy on the device", "latency"],
        "trtexec": None,
    }
    if device.backend == "tensorrt":
        found["trtexec"] = trtexec_command(MODEL, graph, spec, device.tensorrt, device.workspace_mib)
        if weakly_typed(device.tensorrt):
            found["command"] = None
    return found


def _pending_latency(limit_ms: float | None, command: str | None) -> dict[str, Any]:
    reason = "only the device can measure it" + (f": {command}" if command else "")
    return {
        "float": None,
        "float_reason": reason,
        "compiled": None,
        "compiled_reason": reason,
        "speedup": None,
        "speedup_reason": reason,
        "canary_p90_ratio": None,
        "limit_p90_ms": limit_ms,
        "p90_ci95_ms": None,
        "verdict": Verdict.PENDING.value if limit_ms is not None else None,
    }
