"""The portable graphs of one model: float, FP16, INT8 and INT8 + FP16, and variants of INT8, each one ONNX file, linted
and shown to the vendor's parser before it counts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from edgefuse.calibration import Split
from edgefuse.compile.toolchain import NOT_RUN, inspect_graph
from edgefuse.device import Device
from edgefuse.errors import ModelError, left_out
from edgefuse.export.onnx_rules import opset_of
from edgefuse.precision import FLOAT, base_of
from edgefuse.progress import Step, Steps
from edgefuse.quantize import Quantizer, Treatment
from edgefuse.quantize.emulate import write_emulation
from edgefuse.quantize.fp16 import observe_floats, to_fp16
from edgefuse.quantize.observe import Range, settled_text
from edgefuse.spec import ModelSpec
from edgefuse.trtexec import weakly_typed

OLD_OPSET = 17
"""The last that the parsers of TensorRT 8.5 and 8.6 document."""

STEP_NAMES = {
    FLOAT: "Checking the graph",
    "fp16": "Casting to FP16",
    "int8": "Quantizing to INT8",
    "int8+fp16": "INT8 with FP16 between",
}


@dataclass(frozen=True)
class Graph:
    """One ONNX file and what was found out about it; ``facts`` is its entry in the report's ``graphs``, ``emulation``
    the file that onnxruntime computes in its place."""

    name: str
    path: Path
    emulation: Path
    facts: dict[str, Any]


@dataclass
class Graphs:
    """Makes the graphs of one compilation in the folder *work*; the float one is already at ``float_onnx``.

    ``treatments``: how each INT8 graph is quantized, by its name; those that are not there are plain INT8.
    """

    work: Path
    calibrate: Split
    spec: ModelSpec
    device: Device
    treatments: dict[str, Treatment] = field(default_factory=dict)
    _ranges: dict[str, Range] = field(default_factory=dict)

    @property
    def float_onnx(self) -> Path:
        return self.work / "float.onnx"

    @functools.cached_property
    def quantizer(self) -> Quantizer:
        """Takes the statistics when it is first asked for."""
        return Quantizer(self.float_onnx, self.calibrate.feeds(), self.device.backend)

    def make(self, names: Iterable[str], required: set[str], steps: Steps) -> tuple[dict[str, Graph], dict[str, str]]:
        """Those of *names* that can be made, and why the others cannot; one that is *required* raises instead."""
        made: dict[str, Graph] = {}
        failed: dict[str, str] = {}
        for name in names:
            with left_out(name, failed, required), steps.step(STEP_NAMES.get(name, f"Writing {name}")) as step:
                made[name] = self._make_one(name, step)
        return made, failed

    def _make_one(self, name: str, step: Step) -> Graph:
        path, base = self.work / f"{name}.onnx", base_of(name)
        emulation, facts = path, dict[str, Any](graph=name)
        if name == FLOAT and weakly_typed(self.device.tensorrt):
            step.note(_lower(path))
        nodes: tuple[str, ...] = ()
        if base.startswith("int8"):
            nodes = self._quantize(name, facts)
            step.note(f"{facts['int8']} of {facts['operations']} operations in INT8")
            if name == "int8":
                step.note(settled_text(self.quantizer.growth))
        if base == "int8+fp16" and weakly_typed(self.device.tensorrt):
            raise ModelError(f"FP16 scales need opset 19, which TensorRT {self.device.tensorrt} does not read")
        if base.endswith("fp16"):
            source = self._int8_path(name) if base == "int8+fp16" else self.float_onnx
            kept = to_fp16(source, path, self._observed())
            emulation = self.work / f"{name}.emulated.onnx"
            write_emulation(path, emulation)
            facts["float32_nodes"] = list(kept)
            step.note(f"{len(kept)} operations stay in FP32" if kept else "all operations in FP16")
        found = inspect_graph(path, self.spec, self.device, nodes)
        if found["toolchain"]["verdict"] != NOT_RUN:
            step.note(found["toolchain"]["text"])
        return Graph(name, path, emulation, {**facts, **found, "size_bytes": path.stat().st_size})

    def _int8_path(self, name: str) -> Path:
        return self.work / f"int8{name.removeprefix(base_of(name))}.onnx"

    def _quantize(self, name: str, facts: dict[str, Any]) -> tuple[str, ...]:
        """Write the INT8 graph that *name* is or is made from; returns its INT8 operations."""
        counts = self.quantizer.write(self._int8_path(name), self.treatments.get(name, Treatment()))
        facts |= {"int8": counts.int8, "eligible": counts.eligible, "operations": counts.operations}
        return counts.nodes

    def _observed(self) -> dict[str, Range]:
        if not self._ranges:
            self._ranges = observe_floats(self.float_onnx, self.calibrate.feeds())
        return self._ranges


def _lower(path: Path) -> str:
    """Rewrite *path* for the parsers of TensorRT 8, which read opset 18's Reduce operations wrongly; returns a note."""
    model = onnx.load(path)
    opset = opset_of(model)
    if opset <= OLD_OPSET:
        return f"opset {opset}"
    try:
        lowered = onnx.version_converter.convert_version(model, OLD_OPSET)
    except Exception as error:  # the converter raises whatever its C++ half does
        raise ModelError(
            f"the graph cannot be lowered from opset {opset} to {OLD_OPSET}, which TensorRT 8 reads: {error}",
            hint=f"Export the model with opset {OLD_OPSET}, or choose a target with TensorRT 10.",
        ) from error
    onnx.save(lowered, path)
    return f"opset {opset} lowered to {OLD_OPSET} for TensorRT 8"
