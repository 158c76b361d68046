"""The main job, as one straight line: model file → ONNX → INT8 → vendor artifact → verdict → bundle.

Runs at the workstation (imports the exporters). Each arrow is followed by its gate; the order below is the order of
the work. Where the device is another machine, the line ends at the graphs: :mod:`edgefuse.compile.portable`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.backends.onnxruntime import open_graph
from edgefuse.bundle_writer import new_bundle
from edgefuse.calibration import Recorded, open_calibration
from edgefuse.calibration.examine import check_set
from edgefuse.candidates import Builder, Reach, kernel_counts, other_backends, reach, refuse_elsewhere, store_artifact
from edgefuse.check import REFERENCE, Judge, check_labels, judge_accuracy, make_judge
from edgefuse.compile.dry_run import dry_run
from edgefuse.compile.graphs import Graph, Graphs
from edgefuse.compile.parts import Parts, find_parts
from edgefuse.compile.planner import Planner
from edgefuse.compile.portable import finish_portable
from edgefuse.compile.prepared import Prepared, Request, check_mapping, findings, store_graphs, write_bundle
from edgefuse.device_state import watched
from edgefuse.export import load_source
from edgefuse.fallbacks import measure_fallbacks
from edgefuse.gates import COMPILED, ONNX, PARTS, QUANTIZED, arrows_between, describe_gates, run_gates
from edgefuse.golden import read_golden, write_golden
from edgefuse.journal import kept_search, search_key
from edgefuse.machine import usable_cores
from edgefuse.manifest import GOLDEN
from edgefuse.metrics import SQNR, load_metric
from edgefuse.plan import Candidate, Choice, as_asked, wanted_precisions
from edgefuse.precision import FLOAT, GRAPHS, PRECISIONS
from edgefuse.progress import Steps
from edgefuse.recipe import Recipe, check_output_names
from edgefuse.report import Planned
from edgefuse.search import Search
from edgefuse.spec import ModelSpec
from edgefuse.split_plan import SplitPlan, open_split, store_parts
from edgefuse.stream.policy import check_policies, sensor_inputs
from edgefuse.version import __version__ as VERSION

__all__ = ["Request", "compile_model", "plan_only"]


def compile_model(request: Request, steps: Steps) -> dict[str, Any]:
    """Compile, judge and write the bundle to ``request.out``; returns the report (DESIGN: ``report.json``).

    The bundle is written whatever the verdict, so that a failed one can be looked into; an error leaves nothing.
    """
    here = reach(request.device, request.place)
    if here.found is None and (request.require_device or not request.place.is_here):
        raise refuse_elsewhere(request.device, here, request.place)
    with new_bundle(request.out) as folder:
        work = folder / "work"
        work.mkdir()
        return _compile_into(folder, work, request, here, steps)


def plan_only(request: Request, steps: Steps) -> dict[str, Any]:
    """What :func:`compile_model` would try, and about how long it takes (``--dry-run``)."""
    return dry_run(request, _prepare, steps)


def _compile_into(folder: Path, work: Path, request: Request, here: Reach, steps: Steps) -> dict[str, Any]:
    device, asked, place = request.device, request.precision, request.place
    supported = here.found["precisions"] if here.found else device.precisions
    precisions = wanted_precisions(asked, supported, device.name)
    prepared = _prepare(folder, work, request, steps)
    with steps.step("Finding the branches") as step:
        parts = find_parts(prepared.graphs.float_onnx, prepared.source.spec, request.recipe.state)
        step.note(parts.text)
    required = {FLOAT} if asked == "auto" else set(precisions)
    wanted = {PRECISIONS[name][0] for name in precisions}
    graphs, failed = prepared.graphs.make(
        [name for name in GRAPHS if name in wanted], {PRECISIONS[name][0] for name in required}, steps
    )
    if here.found is None:
        return finish_portable(folder, request, prepared, parts, graphs, failed, here.why, steps)
    if asked != "auto":
        builder = Builder(work, prepared.golden, prepared.source.spec, device, place)
        candidates, _ = builder.build({name: graphs[name].path for name in graphs}, precisions, required, steps)
        choice = as_asked(candidates, asked)
        planner = Planner(prepared.graphs, _search(builder, prepared, candidates), parts, precisions, steps, graphs)
        split = planner.split(choice)
        planned, baseline = planner.planned(choice, split), candidates.get(FLOAT)
        made = Made(builder, parts, graphs, candidates[choice.name], baseline, choice, split, planned)
        return _finish(folder, request, prepared, made, steps)
    with kept_search(_key(request), request.resume) as journal:
        others, kept = other_backends(device, place), journal.artifacts if place.is_here else None
        builder = Builder(work, prepared.golden, prepared.source.spec, device, place, kept, others)
        search = _search(builder, prepared, {}, failed=failed, budget_s=request.budget_s, journal=journal)
        planner = Planner(prepared.graphs, search, parts, precisions, steps, graphs)
        choice = planner.plan()
        split, found = planner.split(choice), search.candidates
        planned = planner.planned(choice, split)
        made = Made(builder, parts, planner.made, found[choice.name], found.get(FLOAT), choice, split, planned)
        return _finish(folder, request, prepared, made, steps)


def _key(request: Request) -> str:
    """What an interrupted search must have in common with this one to be gone on with."""
    recipe = request.recipe
    files = [request.model, recipe.path, *recipe.calibration.paths, recipe.model.path, recipe.model.weights]
    words = (str(recipe.accuracy), str(recipe.calibration), str(request.out.resolve()), request.place.name, VERSION)
    return search_key([path for path in files if path is not None], request.device.name, *words)


def _search(builder: Builder, prepared: Prepared, candidates: dict[str, Candidate], **known: Any) -> Search:
    """The search sees the calibrate split only; the golden split is for the verdict."""
    samples = builder.work / "search.npz"
    float_onnx = open_graph(
        prepared.graphs.float_onnx, prepared.source.spec, usable_cores()
    )  # three times torch's speed
    write_golden(samples, prepared.samples.calibrate, float_onnx)
    return Search(builder, samples, prepared.judge, candidates=candidates, **known)


def _prepare(folder: Path, work: Path, request: Request, steps: Steps) -> Prepared:
    """Everything up to the float ONNX graph."""
    recipe, golden = request.recipe, folder / GOLDEN
    with steps.step("Loading the model") as step:
        source = load_source(request.model, recipe, request.trust)
        check_output_names(recipe, source.spec.outputs)
        check_policies(
            recipe.streams, sensor_inputs(source.spec, recipe.state), f"{recipe.path or recipe.folder}: streams"
        )
        check_mapping(recipe, source.spec)
        judge = _judge(recipe, source.spec)
        step.note(", ".join([source.kind, *source.notes]))
    with steps.step("Reading samples") as step:
        recorded = Recorded(recipe.recording, recipe.streams, recipe.state, recipe.folder, work)
        samples = open_calibration(recipe.calibration, source.spec, recipe.accuracy.label, recorded)
        samples = check_set(samples, recipe.state)
        step.note(samples.text)
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


@dataclass(frozen=True)
class Made:
    """What was built and chosen; ``split`` is None where running part by part was not tried."""

    builder: Builder
    parts: Parts
    graphs: Mapping[str, Graph]
    chosen: Candidate
    baseline: Candidate | None
    choice: Choice
    split: SplitPlan | None
    planned: Planned

    @property
    def partition(self) -> dict[str, Any]:
        """The manifest's: of the very graph whose parts are shipped, or else of the float one."""
        kept = self.split is not None and self.split.kept
        return (self.split.parts.partition if kept and self.split else self.parts.partition).to_json()

    @property
    def open_parts(self) -> Callable[[], Runner] | None:
        """What a call runs where that is not the whole graph."""
        split = self.split
        return None if split is None or split.calls == "whole" else lambda: open_split(self.builder.place, split)


def _finish(folder: Path, request: Request, prepared: Prepared, made: Made, steps: Steps) -> dict[str, Any]:
    """Run the gates, measure, write: the device is there."""
    judge, chosen, builder, place = prepared.judge, made.chosen, made.builder, made.builder.place
    called = PARTS if made.split is not None and made.split.kept and made.split.calls == "parts" else COMPILED
    with _stages(made) as stages:
        with steps.step("Checking accuracy") as step:
            arrows = arrows_between(list(stages))
            comparisons = run_gates(stages, arrows, prepared.golden, judge)
            step.note(f"{len(prepared.samples.golden)} held-out samples")
        with steps.step("Leaving sensors out") as step:
            sensors = prepared.source.spec, request.recipe.state, request.recipe.streams
            fallbacks = measure_fallbacks(prepared.golden, stages[ONNX], stages[called], judge, *sensors)
            step.note(f"{len(fallbacks)} combinations")
    with steps.step("Measuring latency"), watched(builder.place.state) as device_state:
        latency = builder.measure(chosen, made.baseline, request.recipe.latency.p90_ms, made.open_parts)

    names = dict.fromkeys([chosen.graph, FLOAT] if request.float_graph else [chosen.graph])
    files = store_graphs(folder, {name: made.graphs[name] for name in names}, chosen.graph)
    artifact = store_artifact(place, folder, chosen, request.device, latency["compiled"]["p90_ms"])
    kernels = kernel_counts(folder / artifact["path"])
    if made.split is not None and made.split.kept:
        artifact = store_parts(place, folder, artifact, made.split)
    shutil.rmtree(prepared.graphs.work)
    whole = (REFERENCE, called)
    found = findings(
        request,
        prepared,
        steps,
        backend=chosen.backend,
        backend_version=artifact["version"],
        choice=made.choice,
        threads=chosen.settings.threads,
        kernels=kernels,
        gates=describe_gates(comparisons, arrows, made.choice.precision, judge),
        accuracy={**judge_accuracy(comparisons[whole], whole, judge), "emulated": False},
        fidelity=[item.to_json() for item in comparisons[whole].fidelities.values()],
        latency=latency,
        graphs=[{**made.graphs[name].facts, "file": file} for name, file in files.items()],
        finish=None,
        planned=made.planned,
        fallbacks=fallbacks,
        device_state=device_state,
    )
    return write_bundle(folder, request, found, files, artifact, made.partition, steps)


@contextlib.contextmanager
def _stages(made: Made) -> Iterator[dict[str, Runner]]:
    """Every stage of the straight line, in order: ONNX, the quantized ONNX as it is written, the compiled model, and
    where they are shipped its parts."""
    builder, chosen, threads = made.builder, made.chosen, usable_cores()
    with contextlib.ExitStack() as stack:
        stages = {ONNX: open_graph(made.graphs[FLOAT].path, builder.spec, threads)}
        if chosen.graph != FLOAT:
            emulation = made.graphs[chosen.graph].emulation
            stages[QUANTIZED] = open_graph(emulation, builder.spec, threads, emulate=True)
        for runner in stages.values():  # their threads must not be there when latency is measured
            stack.callback(runner.close)
        stages |= stack.enter_context(builder.opened({COMPILED: chosen}))
        if made.split is not None and made.split.kept:
            stages[PARTS] = open_split(builder.place, made.split)
            stack.callback(stages[PARTS].close)
        yield stages
