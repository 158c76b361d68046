"""The main job, as one straight line: model file → ONNX → INT8 → vendor artifact → verdict → bundle.

Runs at the workstation (imports the exporters). Each arrow is followed by its gate; the order below is the order of
the work. Where the device is another machine, the line ends at the graphs: :mod:`edgefuse.compile.portable`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.backends.onnxruntime import open_graph
from edgefuse.bundle_writer import new_bundle
from edgefuse.calibration import open_calibration
from edgefuse.candidates import Builder, Reach, first_feeds, kernel_counts, reach, refuse_elsewhere, store_artifact
from edgefuse.check import REFERENCE, Judge, check_labels, judge_accuracy, make_judge
from edgefuse.compile.graphs import Graph, Graphs
from edgefuse.compile.portable import finish_portable
from edgefuse.compile.prepared import Prepared, Request, findings, write_bundle
from edgefuse.export import load_source
from edgefuse.gates import COMPILED, ONNX, QUANTIZED, arrows_between, describe_gates, run_gates
from edgefuse.golden import read_golden, write_golden
from edgefuse.manifest import GOLDEN, MODEL
from edgefuse.metrics import SQNR, load_metric
from edgefuse.plan import Candidate, Choice, choose, wanted_precisions
from edgefuse.precision import FLOAT, GRAPHS, PRECISIONS
from edgefuse.progress import Steps
from edgefuse.recipe import Recipe, check_output_names
from edgefuse.spec import ModelSpec

__all__ = ["Request", "compile_model"]


def compile_model(request: Request, steps: Steps) -> dict[str, Any]:
    """Compile, judge and write the bundle to ``request.out``; returns the report (DESIGN: ``report.json``).

    The bundle is written whatever the verdict, so that a failed one can be looked into; an error leaves nothing.
    """
    here = reach(request.device)
    if here.found is None and request.require_device:
        raise refuse_elsewhere(request.device, here)
    with new_bundle(request.out) as folder:
        work = folder / "work"
        work.mkdir()
        return _compile_into(folder, work, request, here, steps)


def _compile_into(folder: Path, work: Path, request: Request, here: Reach, steps: Steps) -> dict[str, Any]:
    device, asked = request.device, request.precision
    supported = here.found["precisions"] if here.found else device.precisions
    precisions = wanted_precisions(asked, supported, device.name)
    prepared = _prepare(folder, work, request, steps)
    required = {FLOAT} if asked == "auto" else set(precisions)
    wanted = {PRECISIONS[name][0] for name in precisions}
    graphs, failed = prepared.graphs.make(
        [name for name in GRAPHS if name in wanted], {PRECISIONS[name][0] for name in required}, steps
    )
    if here.found is None:
        return finish_portable(folder, request, prepared, graphs, failed, here.why, steps)
    builder = Builder(work, prepared.golden, prepared.source.spec, device)
    candidates, broken = builder.build({name: graphs[name].path for name in graphs}, precisions, required, steps)
    return _finish_here(folder, request, prepared, builder, graphs, candidates, failed | broken, here.found, steps)


def _prepare(folder: Path, work: Path, request: Request, steps: Steps) -> Prepared:
    """Everything up to the float ONNX graph."""
    recipe, golden = request.recipe, folder / GOLDEN
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
    graphs = Graphs(work, samples.calibrate, source.spec, request.device)
    with steps.step("Exporting to ONNX") as step:
        exporter = source.export(graphs.float_onnx)
        step.note(exporter)
    return Prepared(source, judge, samples, graphs, exporter, golden)


def _judge(recipe: Recipe, spec: ModelSpec) -> Judge:
    name = recipe.accuracy.metric
    return make_judge(recipe.accuracy, None if name == SQNR else load_metric(name, recipe.folder), spec.outputs)


def _finish_here(
    folder: Path,
    request: Request,
    prepared: Prepared,
    builder: Builder,
    graphs: Mapping[str, Graph],
    candidates: dict[str, Candidate],
    failed: dict[str, str],
    here: dict[str, Any],
    steps: Steps,
) -> dict[str, Any]:
    """Choose by measurement, run the gates, measure, write: the device is this machine."""
    judge = prepared.judge
    with steps.step("Choosing the precision") as step:
        choice = _choose(builder, candidates, failed, request.precision, prepared)
        step.note(choice.reason)
    chosen = candidates[choice.precision]
    with steps.step("Checking accuracy") as step, _stages(builder, graphs, chosen) as stages:
        arrows = arrows_between(list(stages))
        comparisons = run_gates(stages, arrows, prepared.golden, judge)
        step.note(f"{len(prepared.samples.golden)} held-out samples")
    with steps.step("Measuring latency"):
        baseline = None if FLOAT in failed else candidates[FLOAT]
        latency = builder.measure(chosen, baseline, request.recipe.latency.p90_ms)

    kernels = kernel_counts(chosen.artifact)
    shutil.copyfile(chosen.onnx_path, folder / MODEL)
    artifact = store_artifact(folder, chosen, request.device, here)
    shutil.rmtree(prepared.graphs.work)
    whole = (REFERENCE, COMPILED)
    found = findings(
        request,
        prepared,
        steps,
        backend_version=here["version"],
        choice=choice,
        threads=chosen.settings.threads,
        kernels=kernels,
        gates=describe_gates(comparisons, arrows, choice.precision, judge),
        accuracy={**judge_accuracy(comparisons[whole], whole, judge), "emulated": False},
        fidelity=[item.to_json() for item in comparisons[whole].fidelities.values()],
        latency=latency,
        graphs=[{**graphs[chosen.graph].facts, "file": MODEL}],
        finish=None,
    )
    return write_bundle(folder, request, found, {chosen.graph: MODEL}, artifact, steps)


def _choose(
    builder: Builder, candidates: dict[str, Candidate], failed: dict[str, str], asked: str, prepared: Prepared
) -> Choice:
    """The search sees the calibrate split only; the golden split is for the verdict."""
    if asked != "auto":
        return Choice(asked, f"{asked}: as asked for", ())
    search = builder.work / "search.npz"
    write_golden(search, prepared.samples.calibrate, prepared.source.runner)
    with builder.opened(candidates, failed) as runners:
        return choose(runners, failed, search, prepared.judge, first_feeds(search))


@contextlib.contextmanager
def _stages(builder: Builder, graphs: Mapping[str, Graph], chosen: Candidate) -> Iterator[dict[str, Runner]]:
    """Every stage of the straight line, in order: ONNX, the quantized ONNX as it is written, the compiled model."""
    stages = {ONNX: open_graph(graphs[FLOAT].path, builder.spec)}
    if chosen.graph != FLOAT:
        stages[QUANTIZED] = open_graph(graphs[chosen.graph].emulation, builder.spec, emulate=True)
    with builder.opened({COMPILED: chosen}) as opened:
        yield {**stages, **opened}
