"""Compiling a bundle on the device that runs it: ``edgefuse compile NAME.edgefuse``. Numpy and one vendor library.

A portable bundle carries every graph, samples for the search and what the emulated graphs answered, so all gates are
judged here by the same code as at the workstation. A bundle that was compiled elsewhere, or by another version of the
vendor's library, is compiled again from its one graph.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.bundle import Bundle
from edgefuse.bundle_writer import new_bundle, write_json, write_manifest
from edgefuse.candidates import Builder, kernel_counts, other_backends, reach, store_artifact
from edgefuse.check import REFERENCE, Judge, judge_accuracy
from edgefuse.device import Device, is_machine_of, load_device
from edgefuse.device_state import watched
from edgefuse.errors import BundleError, DeviceMismatchError, ToolchainError, UsageError
from edgefuse.fallbacks import measure_fallbacks
from edgefuse.gates import COMPILED, arrows_between, describe_gates, recorded_stages, run_gates
from edgefuse.golden import check_golden, check_outputs
from edgefuse.json_shape import check_form
from edgefuse.machine import environment
from edgefuse.manifest import EMULATED, GOLDEN, GRAPHS_FOLDER, MODEL, RECORDING_FOLDER, REPORT, REPORT_HTML, SEARCH
from edgefuse.places import Place
from edgefuse.places.here import Here
from edgefuse.plan import Candidate, as_asked, wanted_precisions
from edgefuse.precision import FLOAT, PRECISIONS, base_of
from edgefuse.progress import Steps
from edgefuse.recheck import stored_judge
from edgefuse.recipe import Limit
from edgefuse.report import overall_verdict, plan_json, size_of
from edgefuse.search import Search
from edgefuse.stream.policy import read_policies

Render = Callable[[Path, dict[str, Any]], None]


@dataclass(frozen=True)
class Rerun:
    """What the user asked for. ``target`` None: the bundle's own; ``render`` writes the page for people, where the
    packages for it are installed."""

    out: Path
    target: str | None = None
    precision: str = "auto"
    max_drop: Limit | None = None
    p90_ms: float | None = None
    budget_s: float = math.inf
    metrics_folder: Path | None = None
    render: Render | None = None


def compile_bundle(bundle: Bundle, asked: Rerun, steps: Steps) -> dict[str, Any]:
    """Compile *bundle* for this machine and write the result to ``asked.out``; returns the report.

    Raises :class:`DeviceMismatchError` where this machine is not the target.
    """
    device = _device(bundle, asked.target)
    place = Here()
    here = reach(device, place)
    if here.found is None:
        raise DeviceMismatchError(
            f"is for {device.name}, which is not here: {here.why}",
            where=str(bundle.shown),
            hint=_cure(device, here.cure, place),
        )
    precisions = _precisions(bundle, asked.precision, here.found["precisions"], device)
    with new_bundle(asked.out) as folder:
        _copy_kept(bundle, folder)
        work = folder / "work"
        work.mkdir()
        return _compile_into(folder, work, bundle, asked, device, place, precisions, steps)


def _cure(device: Device, cure: str, place: Place) -> str:
    otherwise = "Run this on the device itself, or name this machine with --target (see: edgefuse devices)."
    return f"{otherwise}\n{cure}" if cure and is_machine_of(device, place.environment) else otherwise


def _device(bundle: Bundle, target: str | None) -> Device:
    made_for = bundle.manifest["target"]
    device = load_device(target or made_for["name"])
    if device.backend != made_for["backend"]:
        raise UsageError(
            f"the bundle's graphs are for {made_for['backend']}, and {device.name} uses {device.backend}",
            where="--target",
            hint="Compile the model file itself for that target.",
        )
    return device


def _precisions(bundle: Bundle, asked: str, supported: list[str], device: Device) -> list[str]:
    """What to build: without samples for a search, the bundle's own precision and float beside it."""
    if asked == "auto" and not (bundle.path / SEARCH).exists():
        asked = bundle.manifest["plan"]["precision"]
    wanted = wanted_precisions(asked, supported, device.name)
    if asked != "auto" and PRECISIONS[asked][0] not in {base_of(name) for name in bundle.graphs}:
        raise UsageError(
            f"the bundle holds no graph for {asked}; it has {', '.join(bundle.graphs)}",
            where="--precision",
            hint="Compile the model file again for that precision.",
        )
    bases = {base_of(name) for name in bundle.graphs}
    found = [name for name in wanted if PRECISIONS[name][0] in bases]
    if not found:
        raise DeviceMismatchError(
            f"holds {', '.join(bundle.graphs)}; {device.name} runs {', '.join(wanted)}",
            where=str(bundle.shown),
            hint="Compile the model file again for this device.",
        )
    return found


def _copy_kept(bundle: Bundle, folder: Path) -> None:
    """All but artifact and report, which are made here."""
    recording = [name for name in bundle.manifest["files"] if name.startswith(f"{RECORDING_FOLDER}/")]
    for name in (*bundle.manifest["graphs"].values(), GOLDEN, SEARCH, EMULATED, *recording):
        if name in bundle.manifest["files"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / name, folder / name)


def _compile_into(
    folder: Path,
    work: Path,
    bundle: Bundle,
    asked: Rerun,
    device: Device,
    place: Place,
    precisions: list[str],
    steps: Steps,
) -> dict[str, Any]:
    judge = stored_judge(bundle, asked.max_drop, asked.metrics_folder)
    made_at = _stored_report(bundle)
    _check_samples(bundle, judge.labelled)
    limit_ms = asked.p90_ms if asked.p90_ms is not None else bundle.manifest["limits"]["p90_ms"]
    golden, searched = folder / GOLDEN, (folder / SEARCH).exists() and asked.precision == "auto"
    others = other_backends(device, place) if searched else []
    builder = Builder(work, golden, bundle.spec, device, place, others=others)
    required = set() if searched else {precisions[-1]}
    candidates, failed = builder.build(bundle.graphs, precisions, required, steps)
    if not candidates:
        raise ToolchainError("no precision compiles here: " + "; ".join(f"{k}: {v}" for k, v in failed.items()))
    if searched:
        search = Search(builder, folder / SEARCH, judge, asked.budget_s)
        search.add(candidates, failed)
        search.try_threads()
        with steps.step("Choosing the plan") as step:
            choice = search.choose()
            step.note(choice.reason)
        candidates = search.candidates
    else:
        choice = as_asked(candidates, precisions[-1], bundle.manifest["plan"]["graph"])
    chosen = candidates[choice.name]
    with steps.step("Checking accuracy"), _stages(builder, folder / EMULATED, chosen) as stages:
        arrows = arrows_between(list(stages))
        comparisons = run_gates(stages, arrows, golden, judge)
    fallbacks = _without_sensors(bundle, builder, golden, candidates.get(FLOAT), chosen, judge, steps)
    with steps.step("Measuring latency"), watched(place.state) as device_state:
        latency = builder.measure(chosen, candidates.get(FLOAT), limit_ms)
    artifact = store_artifact(place, folder, chosen, device, latency["compiled"]["p90_ms"])
    kernels = kernel_counts(folder / artifact["path"])
    shutil.rmtree(work)
    files = _put_first(folder, bundle.manifest["graphs"], chosen.graph)

    whole = comparisons[REFERENCE, COMPILED]
    accuracy = {**judge_accuracy(whole, (REFERENCE, COMPILED), judge), "emulated": False}
    gates = describe_gates(comparisons, arrows, choice.precision, judge)
    report = {
        **made_at,
        "verdict": overall_verdict(gates, accuracy, latency).value,
        "target": device.name,
        "backend": {"name": chosen.backend, "version": artifact["version"]},
        "plan": plan_json(bundle.spec, choice, chosen.settings.threads, kernels, latency),
        "graphs": [{**item, "file": files[item["graph"]]} for item in made_at["graphs"]],
        "gates": gates,
        "accuracy": [accuracy],
        "fidelity": [item.to_json() for item in whole.fidelities.values()],
        "latency": latency,
        "device_state": device_state,
        "fallbacks": fallbacks,
        "finish": None,
        "size_bytes": size_of(folder),
        "stages": steps.to_json(),
        "environment": environment(),
        "exported_on": made_at.get("exported_on", made_at["environment"]),
    }
    manifest = {
        **bundle.manifest,
        "target": device.target_json(),
        "plan": report["plan"],
        "graphs": files,
        "artifact": artifact,
        "fallbacks": fallbacks,
        "limits": {"accuracy": asdict(judge.accuracy), "p90_ms": limit_ms},
        "verdict": report["verdict"],
    }
    with steps.step("Writing the bundle"):
        write_json(folder / REPORT, report)
        if asked.render is not None:
            asked.render(folder / REPORT_HTML, report)
        write_manifest(folder, manifest)
    return report


def _without_sensors(
    bundle: Bundle,
    builder: Builder,
    golden: Path,
    reference: Candidate | None,
    chosen: Candidate,
    judge: Judge,
    steps: Steps,
) -> list[dict[str, Any]]:
    """What the answers are worth without some sensors; as it was measured before where there is no float model."""
    if reference is None:
        return list(bundle.manifest["fallbacks"])
    sensors = bundle.spec, dict(bundle.partition.state), read_policies(bundle.manifest["streams"], "streams")
    with steps.step("Leaving sensors out"), builder.opened({FLOAT: reference, COMPILED: chosen}) as opened:
        return list(measure_fallbacks(golden, opened[FLOAT], opened[COMPILED], judge, *sensors))


REPORT_FORM = {
    "model": {"source": str, "exporter": str, "notes": [str]},
    "graphs": [{"graph": str, "lint": list, "toolchain": {"verdict": str, "text": str}, "size_bytes": int}],
    "calibration": dict,
    "environment": {"cpu": str, "arch": str, "cores": int, "os": str, "python": str, "packages": dict},
}
"""What is taken over from the report that the bundle came with."""


def _stored_report(bundle: Bundle) -> dict[str, Any]:
    try:
        text = (bundle.path / REPORT).read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text, parse_constant=_refuse_constant)
        check_form(found, REPORT_FORM)
        strange = {item["graph"] for item in found["graphs"]} - set(bundle.graphs)
        if strange:
            raise ValueError(f"graphs names {sorted(strange)[0]!r}, which the bundle does not hold")
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            f"{REPORT} is damaged: {error}", where=str(bundle.shown), hint="Copy or compile the bundle again."
        ) from None
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_samples(bundle: Bundle, labelled: bool) -> None:
    rows = check_golden(bundle.path / GOLDEN, bundle.spec, labelled)
    if (bundle.path / SEARCH).exists():
        check_golden(bundle.path / SEARCH, bundle.spec, labelled)
    if (bundle.path / EMULATED).exists():
        check_outputs(bundle.path / EMULATED, bundle.graphs, bundle.spec.outputs, rows)


def _put_first(folder: Path, files: dict[str, str], chosen: str) -> dict[str, str]:
    """Make the *chosen* graph ``model.onnx``; the one that was takes its place. Returns graph name to file."""
    if files[chosen] == MODEL:
        return files
    former = next(name for name, file in files.items() if file == MODEL)
    aside = f"{GRAPHS_FOLDER}/{former}.onnx"
    (folder / MODEL).rename(folder / aside)
    (folder / files[chosen]).rename(folder / MODEL)
    return {**files, former: aside, chosen: MODEL}


@contextlib.contextmanager
def _stages(builder: Builder, emulated: Path, chosen: Candidate) -> Iterator[dict[str, Runner]]:
    """The stages that can be judged here, in order: what was recorded of the graphs, and the compiled model."""
    recorded = recorded_stages(emulated, chosen.graph) if emulated.exists() else {}
    with builder.opened({COMPILED: chosen}) as opened:
        yield {**recorded, **opened}
