"""What the target's toolchain says of a graph before any device sees it: our linter, and NVIDIA's own parser and
builder where TensorRT-RTX is installed (extra ``trt-check``), which needs no GPU.

A green check proves that NVIDIA's importer takes the graph and which operations it runs in INT8. It proves nothing
about a Jetson's older parser, its kernels, speed or memory, and the report never says so.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from edgefuse import child
from edgefuse.device import Device
from edgefuse.errors import ModelError, ToolchainError
from edgefuse.lint import Finding, lint_model
from edgefuse.spec import ModelSpec

NOT_RUN = "not run"
PLUGIN_RULE = "W6"
TIMEOUT_S = 900.0
OFFLINE = "edgefuse.backends.tensorrt.offline"
INSTALL = "pip install 'edgefuse[trt-check]'"


def inspect_graph(path: Path, spec: ModelSpec, device: Device, int8_nodes: Sequence[str]) -> dict[str, Any]:
    """``lint`` (findings) and ``toolchain`` (verdict, text, counts) of the graph at *path* for *device*.

    Raises :class:`ModelError` for a lint error, :class:`ToolchainError` where NVIDIA's parser or builder refuses the
    graph or runs one of *int8_nodes* in float.
    """
    if device.backend != "tensorrt":
        return {"lint": [], "toolchain": _not_run(f"only for TensorRT; {device.backend} compiles the graph itself")}
    model = onnx.load(path)
    findings = lint_model(model, device.tensorrt, device.compute_capability)
    _refuse_errors(findings, path)
    plugins = sorted({item.op for item in findings if item.rule == PLUGIN_RULE})
    if plugins:
        checked = _not_run(f"TensorRT-RTX has no plugins, and the graph uses {', '.join(plugins)}")
    else:
        checked = _check(path, model, spec, device, int8_nodes)
    return {"lint": [item.to_json() for item in findings], "toolchain": checked}


def _refuse_errors(findings: list[Finding], path: Path) -> None:
    errors = [item for item in findings if item.severity == "error"]
    if errors:
        first, more = errors[0], f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ModelError(
            f"TensorRT cannot take the {path.stem} graph: {first.rule}, {first.node}: {first.message}{more}",
            where=path.stem,
            hint=first.cure,
        )


@functools.cache
def _is_installed() -> bool:
    """Whether TensorRT-RTX loads; asked in a child process, once for all graphs."""
    return child.call(f"{OFFLINE}:available", {}, what="Looking for TensorRT-RTX", timeout_s=120) is not None


def _check(
    path: Path, model: onnx.ModelProto, spec: ModelSpec, device: Device, int8_nodes: Sequence[str]
) -> dict[str, Any]:
    if not device.check_capability:
        return _not_run(f"TensorRT-RTX cannot build for {device.name} without its GPU")
    if not _is_installed():
        return _not_run(f"TensorRT-RTX is not installed ({INSTALL})")
    arguments = {
        "onnx_path": str(path),
        "spec": spec.to_json(),
        "compute_capability": device.check_capability,
        "expected_int8": list(int8_nodes),
    }
    what = f"TensorRT-RTX, building the {path.stem} graph,"
    found: dict[str, Any] = child.call(f"{OFFLINE}:check_offline", arguments, what=what, timeout_s=TIMEOUT_S)
    found = _with_twins(found, model)
    _refuse_fallback(found, path.stem)
    text = f"parsed and built with TensorRT-RTX {found['version']} for {found['sm']}"
    if int8_nodes:
        text += f", {len(found['int8'])} of {len(int8_nodes)} in INT8"
    return {"verdict": "pass", "text": text, **{key: value for key, value in found.items() if key != "kernels"}}


def _with_twins(found: dict[str, Any], model: onnx.ModelProto) -> dict[str, Any]:
    """Of operations that compute the same from the same, TensorRT keeps one: its twins share its precision."""
    same: dict[str, str] = {}  # tensor → the first tensor that is computed alike
    kept: dict[tuple[Any, ...], onnx.NodeProto] = {}
    twin_of = {}
    for node in model.graph.node:
        attributes = tuple(sorted(attr.SerializeToString() for attr in node.attribute))
        first = kept.setdefault((node.op_type, *(same.get(name, name) for name in node.input), attributes), node)
        same |= dict(zip(node.output, (same.get(name, name) for name in first.output)))
        twin_of[node.name] = first.name
    proven = {twin_of.get(name, name) for name in found["int8"]}
    twins = [name for name in found["unknown"] if twin_of.get(name, name) in proven]
    unknown = [name for name in found["unknown"] if name not in twins]
    return {**found, "int8": [*found["int8"], *twins], "unknown": unknown}


def _refuse_fallback(found: dict[str, Any], graph: str) -> None:
    """An operation that was to run in INT8 and does not is an error, not a surprise at the device."""
    lost = [f"{item['node']} runs as {item['ran_as']}" for item in found["fallback"]]
    lost += [f"{node} is in no kernel that the log names" for node in found["unknown"]]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise ToolchainError(
            f"TensorRT-RTX {found['version']} does not run the {graph} graph in INT8: {lost[0]}{more}",
            hint="Use --precision fp16, and report the graph: EdgeFuse's placement should not have chosen it.",
        )


def _not_run(reason: str) -> dict[str, Any]:
    return {"verdict": NOT_RUN, "text": f"not run: {reason}"}
