"""What one compilation was asked for, what its first half found, and how its bundle is written down."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgefuse.bundle_writer import write_json, write_manifest
from edgefuse.calibration import CalibrationSet
from edgefuse.check import Judge
from edgefuse.compile.graphs import Graph, Graphs
from edgefuse.device import Device
from edgefuse.export import Source
from edgefuse.machine import environment
from edgefuse.manifest import GRAPHS_FOLDER, MODEL, RECORDING_FOLDER, REPORT, REPORT_HTML
from edgefuse.places import Place
from edgefuse.places.here import Here
from edgefuse.progress import Steps
from edgefuse.recipe import Recipe
from edgefuse.recordings.mapping import check_sources
from edgefuse.report import Findings, make_report
from edgefuse.report.html import write_html
from edgefuse.spec import ModelSpec
from edgefuse.transforms import files as files_of
from edgefuse.transforms import make_chain


@dataclass(frozen=True)
class Request:
    """What the user asked for, flags already merged into the recipe. ``model`` is the file to load;
    ``require_device`` refuses to work where the device is not here. ``budget_s`` ends the search; ``resume`` goes on
    with one that was interrupted. Without ``float_graph`` the bundle is smaller, and nothing can be compared with
    the float model but the golden samples. ``place`` is where candidates are built and measured."""

    model: Path
    recipe: Recipe
    device: Device
    out: Path
    precision: str = "auto"
    trust: bool = False
    require_device: bool = False
    budget_s: float = math.inf
    resume: bool = False
    float_graph: bool = True
    place: Place = field(default_factory=Here)


@dataclass(frozen=True)
class Prepared:
    """The float model as ONNX (in ``graphs``), its samples in ``golden``, and how its answers are judged."""

    source: Source
    judge: Judge
    samples: CalibrationSet
    graphs: Graphs
    exporter: str
    golden: Path


def check_mapping(recipe: Recipe, spec: ModelSpec) -> None:
    """Raise :class:`RecipeError` where ``[recording]`` names an input or a transform that there is not, or gives one a
    wrong value: better now than on the robot."""
    where = str(recipe.path or recipe.folder)
    check_sources(recipe.recording, spec.names, f"{where}: recording")
    inputs = {item.name: item for item in spec.inputs}
    for name, source in recipe.recording.items():
        item = inputs.get(name)
        policy = recipe.streams.get(item.stream or item.name) if item else None
        axis = policy.axis if policy is not None and policy.kind == "window" else None
        make_chain(source, item, recipe.folder, axis)


def findings(request: Request, prepared: Prepared, steps: Steps, **found: Any) -> Findings:
    """The report's input: what is known of every compilation, and what this one *found*."""
    source = prepared.source
    return Findings(
        name=request.recipe.name,
        target=request.device,
        source=source.kind,
        exporter=prepared.exporter,
        notes=source.notes,
        spec=source.spec,
        split=prepared.samples.rule,
        stages=steps.to_json(),
        environment=request.place.environment,
        exported_on=None if request.place.is_here else environment(),
        **found,
    )


def store_graphs(folder: Path, graphs: Mapping[str, Graph], chosen: str) -> dict[str, str]:
    """Every graph into the bundle, the chosen one as ``model.onnx``; returns which file holds which."""
    files = {name: MODEL if name == chosen else f"{GRAPHS_FOLDER}/{name}.onnx" for name in graphs}
    for name, file in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(graphs[name].path, folder / file)
    return files


def write_bundle(
    folder: Path,
    request: Request,
    found: Findings,
    files: Mapping[str, str],
    artifact: dict[str, Any] | None,
    partition: dict[str, Any],
    steps: Steps,
) -> dict[str, Any]:
    """Report and manifest into *folder*, whose other files are in place; *files* is graph name to its file there."""
    recipe = request.recipe
    for name in files_of(recipe.recording):
        (folder / RECORDING_FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recipe.folder / name, folder / RECORDING_FOLDER / name)
    report = make_report(found, folder)
    manifest = {
        "name": recipe.name,
        "model": found.spec.to_json(),
        "target": request.device.target_json(),
        "plan": report["plan"],
        "graphs": dict(files),
        "partition": partition,
        "streams": {name: policy.to_json() for name, policy in recipe.streams.items()},
        "recording": {name: source.to_json() for name, source in recipe.recording.items()},
        "fallbacks": list(found.fallbacks),
        "artifact": artifact,
        "limits": {"accuracy": asdict(recipe.accuracy), "p90_ms": recipe.latency.p90_ms},
        "verdict": report["verdict"],
        "tools": report.get("exported_on", report["environment"])["packages"],
    }
    with steps.step("Writing the bundle"):
        write_json(folder / REPORT, report)
        write_html(folder / REPORT_HTML, report)
        write_manifest(folder, manifest)
    return report
