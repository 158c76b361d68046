"""The files of a bundle, and what must stand in its ``manifest.json`` beyond format and checksum (``docs/bundle.md``).
Standard library only."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from edgefuse.backends import Settings
from edgefuse.errors import RecipeError
from edgefuse.json_shape import check_form
from edgefuse.parts import Partition, check_partition
from edgefuse.precision import GRAPHS, PRECISIONS, base_of
from edgefuse.recordings.mapping import check_sources, read_sources
from edgefuse.spec import ModelSpec
from edgefuse.stream.policy import check_policies, read_policies, sensor_inputs
from edgefuse.verdict import Verdict

MANIFEST = "manifest.json"
MODEL = "model.onnx"
GOLDEN = "golden.npz"
REPORT = "report.json"
REPORT_HTML = "report.html"
GRAPHS_FOLDER = "graphs"
RECORDING_FOLDER = "recording"
SEARCH = "search.npz"
EMULATED = "emulated.npz"

ARTIFACT = {
    "path": str,
    "backend": str,
    "version": str,
    "arch": str,
    "made_on": str,
    "settings": dict,
    "calls": str,
    "p90_ms": float,
    "parts": [{"name": str, "path": str, "settings": dict, "p90_ms": float}],
    "lanes": [[str]],
}

FALLBACK = {"absent": [str], "fills": dict}

FORM = {
    "name": str,
    "verdict": str,
    "model": {"inputs": [{"name": str, "shape": list, "dtype": str, "stream": str}], "outputs": [str]},
    "target": {"name": str, "backend": str, "compute_capability": (str, None)},
    "plan": {"precision": str, "graph": str, "threads": int},
    "graphs": dict,
    "partition": dict,
    "streams": dict,
    "recording": dict,
    "fallbacks": [FALLBACK],
    "artifact": (ARTIFACT, None),
    "limits": {
        "accuracy": {
            "metric": str,
            "output": (str, None),
            "label": (str, None),
            "max_drop": {"value": float, "relative": bool},
            "min_sqnr_db": float,
        },
        "p90_ms": (float, None),
    },
    "files": dict,
}


def check_manifest(manifest: Any) -> str:
    """The backend's name; ``ValueError`` that names what is missing or is something else."""
    check_form(manifest, FORM)
    for name, listed in manifest["files"].items():
        check_form(listed, {"size_bytes": int, "sha256": str}, f"files.{name}")
    _check_model(manifest)
    _check_graphs(manifest)
    if manifest["verdict"] not in [verdict.value for verdict in Verdict]:
        raise ValueError(f"verdict is {manifest['verdict']!r}")
    p90_ms = manifest["limits"]["p90_ms"]
    if p90_ms is not None and p90_ms <= 0:
        raise ValueError(f"limits.p90_ms is {p90_ms!r}; expected more than 0")
    made, partition = manifest["artifact"], _check_parts(manifest)
    _check_streams(manifest, partition)
    if made is not None:
        _check_artifact(made, partition)
    elif not {SEARCH, EMULATED} <= manifest["files"].keys():
        raise ValueError("a portable bundle without the samples that its device needs")
    return str((made or manifest["target"])["backend"])


def _check_parts(manifest: dict[str, Any]) -> Partition:
    found = Partition.from_json(manifest["partition"])
    check_partition(found, ModelSpec.from_json(manifest["model"]))
    return found


def _check_streams(manifest: dict[str, Any], partition: Partition) -> None:
    state = dict(partition.state)
    spec = ModelSpec.from_json(manifest["model"])
    try:
        check_sources(read_sources(manifest["recording"], "recording"), spec.names, "recording")
        policies = read_policies(manifest["streams"], "streams")
        check_policies(policies, sensor_inputs(spec, state), "streams")
    except RecipeError as error:
        raise ValueError(str(error)) from None


def _check_artifact(made: dict[str, Any], partition: Partition) -> None:
    """The whole graph's artifact, and where the model was worth splitting one for each part."""
    for item in [made, *made["parts"]]:
        _inside(item["path"])
        Settings(**item["settings"])
    names = [part.name for part in partition.parts]
    branches = {part.name for part in partition.branches}
    found = [part["name"] for part in made["parts"]]
    if found and found != names:
        raise ValueError(f"artifact.parts are {found}; the partition has {names}")
    lanes = [name for lane in made["lanes"] for name in lane]
    if made["calls"] not in ("whole", "parts") or (made["calls"] == "parts" and not found):
        raise ValueError(f"artifact.calls is {made['calls']!r}")
    if len(set(lanes)) < len(lanes) or not set(lanes) <= branches:
        raise ValueError(f"artifact.lanes are {made['lanes']}; expected branches, each once")


def _check_model(manifest: dict[str, Any]) -> None:
    spec = ModelSpec.from_json(manifest["model"])
    accuracy = manifest["limits"]["accuracy"]
    if not spec.inputs or not spec.outputs:
        raise ValueError("a model without inputs or outputs")
    if accuracy["output"] is not None and accuracy["output"] not in spec.outputs:
        raise ValueError(f"limits.accuracy.output is {accuracy['output']!r}, which the model does not have")
    if len(set(spec.names)) < len(spec.names) or len(set(spec.outputs)) < len(spec.outputs):
        raise ValueError("two inputs or two outputs have one name")
    unknown = set(accuracy) - set(FORM["limits"]["accuracy"])  # type: ignore[index]
    if unknown:
        raise ValueError(f"limits.accuracy has the unknown key {sorted(unknown)[0]!r}")


def _check_graphs(manifest: dict[str, Any]) -> None:
    files, precision, graph = manifest["graphs"], manifest["plan"]["precision"], manifest["plan"]["graph"]
    if precision not in PRECISIONS or base_of(graph) != PRECISIONS[precision][0] or files.get(graph) != MODEL:
        raise ValueError(f"{MODEL} is not a graph of the plan's precision {precision!r}")
    for name, file in files.items():
        if base_of(name) not in GRAPHS or file not in manifest["files"]:
            raise ValueError(f"graphs.{name} is {file!r}")
        _inside(file)
    if len(set(files.values())) < len(files):
        raise ValueError("one file for two graphs")


def _inside(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name} lies outside the bundle")
