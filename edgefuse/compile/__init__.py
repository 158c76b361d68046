"""The main job, as one straight line: model file → ONNX → INT8 → vendor artifact → verdict → bundle.

Runs at the workstation (imports the exporters). Each arrow is followed by its gate; the order below is the order of
the work.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefuse import child
from edgefuse.bundle import GOLDEN, MODEL, REPORT, REPORT_HTML
from edgefuse.bundle_writer import new_bundle, write_json, write_manifest
from edgefuse.calibration import CalibrationSet, open_calibration
from edgefuse.check import Judge, check_labels, judge_accuracy, latency_json, make_judge
from edgefuse.compile.build import Builder
from edgefuse.compile.gates import WHOLE, describe_gates, run_gates
from edgefuse.compile.plan import FLOAT, Candidate, Choice, choose, wanted_precisions
from edgefuse.device import Device, environment
from edgefuse.errors import DeviceMismatchError
from edgefuse.export import Source, load_source
from edgefuse.golden import read_golden, write_golden
from edgefuse.latency import measure
from edgefuse.metrics import SQNR, load_metric
from edgefuse.progress import Steps
from edgefuse.recipe import Recipe, check_output_names
from edgefuse.report import Findings, make_report
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
    with new_bundle(request.out) as folder:
        work = folder / "work"
        work.mkdir()
        return _compile_into(folder, work, request, steps)


def _compile_into(folder: Path, work: Path, request: Request, steps: Steps) -> dict[str, Any]:
    recipe, device, golden = request.recipe, request.device, folder / GOLDEN
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
        write_golden(golden, samples.golden, source.runner)
        check_labels(read_golden(golden), judge)
    builder = Builder(work, golden, samples.calibrate, source.spec, device)
    with steps.step("Exporting to ONNX") as step:
        exporter = source.export(builder.float_onnx)
        step.note(exporter)
    required = {FLOAT} if request.precision == "auto" else set(precisions)
    candidates, failed = builder.build(precisions, required, steps)
    feeds: list[Feed] = list(samples.golden.first(LATENCY_FEEDS).feeds())
    with steps.step("Choosing the precision") as step:
        choice = _choose(builder, candidates, failed, request.precision, samples, source, judge)
        step.note(choice.reason)
    chosen = candidates[choice.precision]
    with steps.step("Checking accuracy") as step:
        comparisons = run_gates(builder, chosen, judge)
        step.note(f"{len(samples.golden)} held-out samples")
    with steps.step("Measuring latency"):
        latency = _measure(builder, chosen, candidates[FLOAT], feeds, recipe.latency.p90_ms)

    artifact = _store(folder, chosen, device, supported)
    shutil.rmtree(work)
    findings = Findings(
        name=recipe.name,
        target=device,
        backend_version=supported["version"],
        source=source.kind,
        exporter=exporter,
        notes=source.notes,
        spec=source.spec,
        precision=choice.precision,
        reason=choice.reason,
        candidates=list(choice.candidates),
        threads=chosen.settings.threads,
        gates=describe_gates(comparisons, chosen, judge),
        accuracy=judge_accuracy(comparisons[WHOLE], WHOLE, judge),
        fidelity=[item.to_json() for item in comparisons[WHOLE].fidelities.values()],
        latency=latency,
        split=samples.rule,
        stages=steps.to_json(),
        environment=environment(),
    )
    report = make_report(findings, folder)
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
    what = f"Asking {device.backend} for its devices"
    found: dict[str, Any] = child.call(
        "edgefuse.probe:capabilities", {"backend": device.backend}, what=what, timeout_s=120
    )
    if device.arch and found["arch"] not in device.arch:
        raise DeviceMismatchError(
            f"{device.name} is {' or '.join(device.arch)}; this machine is {found['arch']}",
            where="--target",
            hint="Compile on the device itself, with --target host.",
        )
    allowed = device.precisions or found["precisions"]
    return {**found, "precisions": [name for name in found["precisions"] if name in allowed]}


def _choose(
    builder: Builder,
    candidates: dict[str, Candidate],
    failed: dict[str, str],
    asked: str,
    samples: CalibrationSet,
    source: Source,
    judge: Judge,
) -> Choice:
    """The search sees the calibrate split only; the golden split is for the verdict."""
    if asked != "auto":
        return Choice(asked, f"{asked}: as asked for", ())
    search = builder.work / "search.npz"
    write_golden(search, samples.calibrate, source.runner)
    feeds = list(samples.calibrate.first(LATENCY_FEEDS).feeds())
    with builder.opened(candidates) as runners:
        return choose(runners, failed, search, judge, feeds)


def _measure(
    builder: Builder, chosen: Candidate, baseline: Candidate, feeds: list[Feed], limit_ms: float | None
) -> dict[str, Any]:
    """Float, compiled and compiled again, in turns in one process."""
    with builder.opened({"float": baseline, "compiled": chosen, "again": chosen}) as runners:
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
    return {
        "name": recipe.name,
        "model": spec.to_json(),
        "plan": report["plan"],
        "artifact": artifact,
        "limits": {"accuracy": asdict(recipe.accuracy), "p90_ms": recipe.latency.p90_ms},
        "verdict": report["verdict"],
        "tools": report["environment"]["packages"],
    }
