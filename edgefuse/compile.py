"""The main job, as one straight line: model file → ONNX → INT8 → vendor artifact → verdict → bundle.

Runs at the workstation (imports the exporters). Each arrow is followed by its gate; the order below is the order of
the work.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefuse import child
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.backends.onnxruntime import open_graph
from edgefuse.bundle import GOLDEN, MODEL, REPORT, REPORT_HTML, new_bundle, write_json, write_manifest
from edgefuse.calibration import CalibrationSet, open_calibration
from edgefuse.check import (
    REFERENCE,
    Comparison,
    Judge,
    compare_stages,
    judge_accuracy,
    judge_parity,
    latency_json,
    make_judge,
)
from edgefuse.device import Device, environment
from edgefuse.errors import DeviceMismatchError, EdgeFuseError
from edgefuse.export import Source, load_source
from edgefuse.golden import read_golden, write_golden
from edgefuse.latency import measure
from edgefuse.metrics import SQNR, load_metric
from edgefuse.plan import FLOAT, PRECISIONS, Candidate, choose, explain, wanted_precisions
from edgefuse.progress import Steps
from edgefuse.quantize import quantize_int8
from edgefuse.recipe import Recipe, check_output_names
from edgefuse.report import make_report
from edgefuse.report.html import write_html
from edgefuse.spec import Feed, ModelSpec

LATENCY_FEEDS = 16


@dataclass(frozen=True)
class Request:
    """What the user asked for, flags already merged into the recipe. ``model`` is the file to load."""

    model: Path
    recipe: Recipe
    device: Device
    out: Path
    precision: str = "auto"
    trust: bool = False


def compile_model(request: Request, steps: Steps) -> dict[str, Any]:
    """Compile, judge and write the bundle to ``request.out``; returns the report (DESIGN: ``report.json``).

    The bundle is written whatever the verdict, so that a failed one can be looked into; an error leaves nothing.
    """
    with new_bundle(request.out) as folder, tempfile.TemporaryDirectory(prefix="edgefuse-") as scratch:
        return _compile_into(folder, Path(scratch), request, steps)


def _compile_into(folder: Path, work: Path, request: Request, steps: Steps) -> dict[str, Any]:
    recipe, device = request.recipe, request.device
    supported = _supported(device)
    precisions = wanted_precisions(request.precision, supported["precisions"], device.name)

    with steps.step("Loading the model") as step:
        source = load_source(request.model, recipe, request.trust)
        check_output_names(recipe, source.spec.outputs)
        judge = _judge(recipe, source.spec)
        step.note(", ".join([source.kind, *source.notes]))
    with steps.step("Reading samples") as step:
        samples = open_calibration(recipe.calibration, source.spec, recipe.accuracy.label)
        step.note(f"{len(samples.calibrate)} calibrate, {len(samples.golden)} held out")
    with steps.step("Float reference"):
        write_golden(folder / GOLDEN, samples.golden, source.runner)
    with steps.step("Exporting to ONNX") as step:
        exporter = source.export(work / "float.onnx")
        step.note(exporter)
    candidates, failed = _build_candidates(precisions, folder, work, samples, source.spec, request, steps)
    feeds: list[Feed] = list(samples.golden.first(LATENCY_FEEDS).feeds())
    with steps.step("Choosing the precision") as step, _opened(candidates, source.spec, device) as runners:
        choice = _choose(runners, failed, request.precision, samples, source, judge, work, feeds)
        step.note(choice["reason"])
    chosen = candidates[choice["precision"]]
    with steps.step("Checking accuracy") as step:
        comparisons = _run_gates(folder / GOLDEN, work / "float.onnx", chosen, source.spec, device, judge)
        step.note(f"{len(samples.golden)} held-out samples")
    with steps.step("Measuring latency"):
        latency = _measure(chosen, candidates[FLOAT], source.spec, device, feeds, recipe.latency.p90_ms)

    artifact = _store(folder, chosen, device, supported)
    report = make_report(
        request_name=recipe.name,
        target=device,
        backend_version=supported["version"],
        source=source.kind,
        exporter=exporter,
        notes=source.notes,
        spec=source.spec,
        choice=choice,
        threads=chosen.settings.threads,
        gates=_gates(comparisons, chosen, judge),
        accuracy=judge_accuracy(comparisons[REFERENCE, "compiled"], (REFERENCE, "compiled"), judge),
        fidelity=[item.to_json() for item in comparisons[REFERENCE, "compiled"].fidelities.values()],
        latency=latency,
        folder=folder,
        split=samples.rule,
        stages=[{"name": step.name, "seconds": step.seconds} for step in steps.done],
        environment=environment(),
    )
    with steps.step("Writing the bundle"):
        write_json(folder / REPORT, report)
        write_html(folder / REPORT_HTML, report)
        write_manifest(folder, _manifest(report, source.spec, recipe, artifact))
    return report


def _judge(recipe: Recipe, spec: ModelSpec) -> Judge:
    name = recipe.accuracy.metric
    return make_judge(recipe.accuracy, None if name == SQNR else load_metric(name, recipe.folder), spec.outputs)


def _supported(device: Device) -> dict[str, Any]:
    """What this machine can run through the device's backend; the vendor is asked in a child process."""
    found: dict[str, Any] = child.call(
        "edgefuse.probe:capabilities",
        {"backend": device.backend},
        what=f"Asking {device.backend} for its devices",
        timeout_s=120,
    )
    if device.arch and found["arch"] not in device.arch:
        raise DeviceMismatchError(
            f"{device.name} is {' or '.join(device.arch)}; this machine is {found['arch']}",
            where="--target",
            hint="Compile on the device itself, with --target host.",
        )
    allowed = device.precisions or found["precisions"]
    return {**found, "precisions": [name for name in found["precisions"] if name in allowed]}


def _build_candidates(
    precisions: list[str],
    folder: Path,
    work: Path,
    samples: CalibrationSet,
    spec: ModelSpec,
    request: Request,
    steps: Steps,
) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Every precision as an artifact. One that fails is recorded with its reason; float, or the only one that was
    asked for, must succeed."""
    threads, candidates, failed = request.device.resolve_threads(), {}, {}
    graphs = {False: work / "float.onnx", True: work / "int8.onnx"}
    for precision in precisions:
        quantized, inference_precision = PRECISIONS[precision]
        try:
            if quantized and not graphs[True].exists():
                with steps.step("Quantizing to INT8") as step:
                    counts = quantize_int8(graphs[False], graphs[True], samples.calibrate.feeds())
                    step.note(f"{counts.int8} of {counts.operations} operations in INT8")
            candidate = Candidate(
                precision, graphs[quantized], work / "artifacts" / precision, Settings(threads, inference_precision)
            )
            with steps.step(f"Compiling {precision}"):
                _compile_artifact(candidate, request.device.backend, folder / GOLDEN, spec)
            candidates[precision] = candidate
        except EdgeFuseError as error:
            if precision == FLOAT or request.precision != "auto":
                raise
            failed[precision] = explain(error)
    return candidates, failed


def _compile_artifact(candidate: Candidate, backend: str, golden: Path, spec: ModelSpec) -> None:
    candidate.artifact.mkdir(parents=True)
    child.call(
        "edgefuse.probe:compile_artifact",
        {
            "backend": backend,
            "onnx_path": str(candidate.onnx_path),
            "out": str(candidate.artifact),
            "golden": str(golden),
            "spec": spec.to_json(),
            "settings": asdict(candidate.settings),
        },
        what=f"{backend}, compiling the {candidate.precision} graph,",
    )


@contextlib.contextmanager
def _opened(candidates: dict[str, Candidate], spec: ModelSpec, device: Device) -> Iterator[dict[str, Runner]]:
    backend = load_backend(device.backend)
    with contextlib.ExitStack() as stack:
        runners = {}
        for name, candidate in candidates.items():
            runners[name] = backend.open(candidate.artifact, spec, candidate.settings)
            stack.callback(runners[name].close)
        yield runners


def _choose(
    runners: dict[str, Runner],
    failed: dict[str, str],
    asked: str,
    samples: CalibrationSet,
    source: Source,
    judge: Judge,
    work: Path,
    feeds: list[Feed],
) -> dict[str, Any]:
    if asked != "auto":
        return {"precision": asked, "reason": f"{asked}: as asked for", "candidates": []}
    write_golden(work / "search.npz", samples.calibrate, source.runner)
    return choose(runners, failed, work / "search.npz", judge, feeds)


def _run_gates(
    golden: Path, float_onnx: Path, chosen: Candidate, spec: ModelSpec, device: Device, judge: Judge
) -> dict[tuple[str, str], Comparison]:
    """One pass over the held-out samples through every stage of the straight line."""
    arrows = (
        [(REFERENCE, "onnx"), ("onnx", "quantized"), ("quantized", "compiled")]
        if chosen.quantized
        else [(REFERENCE, "onnx"), ("onnx", "compiled")]
    )
    with _opened({"compiled": chosen}, spec, device) as runners:
        stages = {"onnx": open_graph(float_onnx, spec), **runners}
        if chosen.quantized:
            stages["quantized"] = open_graph(chosen.onnx_path, spec, emulate=True)
        return compare_stages(read_golden(golden), stages, judge, [*arrows, (REFERENCE, "compiled")])


def _gates(comparisons: dict[tuple[str, str], Comparison], chosen: Candidate, judge: Judge) -> list[dict[str, Any]]:
    """One entry per arrow: export by parity, the others by the same test as the whole."""
    names = {("onnx", "quantized"): "quantize", ("quantized", "compiled"): "compile", ("onnx", "compiled"): "compile"}
    export = comparisons[REFERENCE, "onnx"]
    found = [
        {
            "name": "export",
            "from": "float model",
            "to": "ONNX",
            "verdict": judge_parity(export).value,
            "sqnr_db": min(item.sqnr_db for item in export.fidelities.values()),
            "drop": None,
        }
    ]
    for pair, name in names.items():
        if pair in comparisons:
            entry = judge_accuracy(comparisons[pair], pair, judge)
            sqnr_db = min(item.sqnr_db for item in comparisons[pair].fidelities.values())
            stages = {"onnx": "ONNX", "quantized": "INT8 ONNX", "compiled": f"compiled {chosen.precision}"}
            found.append(
                {
                    "name": name,
                    "from": stages[pair[0]],
                    "to": stages[pair[1]],
                    "verdict": entry["verdict"],
                    "sqnr_db": sqnr_db,
                    "drop": entry["drop"],
                }
            )
    return found


def _measure(
    chosen: Candidate, baseline: Candidate, spec: ModelSpec, device: Device, feeds: list[Feed], limit_ms: float | None
) -> dict[str, Any]:
    """Float, compiled and compiled again, in turns in one process."""
    arms = {"float": baseline, "compiled": chosen, "again": chosen}
    with _opened(arms, spec, device) as runners:
        return latency_json(measure(runners, feeds), limit_ms)


def _store(folder: Path, chosen: Candidate, device: Device, supported: dict[str, Any]) -> dict[str, Any]:
    """Copy the chosen graph and its artifact into the bundle; returns the manifest's ``artifact``."""
    shutil.copyfile(chosen.onnx_path, folder / MODEL)
    relative = Path("artifacts") / f"{device.backend}-{supported['version']}-{supported['arch']}"
    shutil.copytree(chosen.artifact, folder / relative)
    return {
        "path": relative.as_posix(),
        "backend": device.backend,
        "version": supported["version"],
        "arch": supported["arch"],
        "made_on": supported["name"],
        "settings": asdict(chosen.settings),
    }


def _manifest(report: dict[str, Any], spec: ModelSpec, recipe: Recipe, artifact: dict[str, Any]) -> dict[str, Any]:
    accuracy = asdict(recipe.accuracy)
    return {
        "name": recipe.name,
        "model": spec.to_json(),
        "plan": report["plan"],
        "artifact": artifact,
        "limits": {"accuracy": accuracy, "p90_ms": recipe.latency.p90_ms},
        "verdict": report["verdict"],
        "tools": report["environment"]["packages"],
    }
