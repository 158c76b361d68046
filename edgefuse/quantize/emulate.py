"""A graph that onnxruntime's CPU kernels compute as an FP16 device would: in float32, rounded after every operation.

onnxruntime has few FP16 kernels for a CPU. It computes the others in float32 and removes its own casts between two of
them, so a chain of FP16 operations is never rounded, and 23 dB look like 70. Casts that are written into the graph
stay. What this does not show: how a device accumulates inside one operation, and operations that it splits or fuses.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgefuse.quantize.graph import fresh_names, replace_nodes

MOVES = frozenset(
    {
        *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool", "Pad", "Relu"),
        *("Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"),
    }
)
"""What gives back values that it was given: rounding these again changes nothing."""


def write_emulation(path: Path, out: Path) -> None:
    """Write the FP16 graph *path* as a float32 graph whose results are rounded to FP16 to *out*. A graph that takes or
    gives FP16 itself is copied as it is."""
    model = onnx.load(path)
    if any(
        value.type.tensor_type.elem_type == TensorProto.FLOAT16 for value in [*model.graph.input, *model.graph.output]
    ):
        shutil.copyfile(path, out)
        return
    halves = _half_tensors(model)
    fresh, nodes = fresh_names(model), []
    for node in model.graph.node:
        nodes.append(node)
        _to_float(node)
        if node.op_type in MOVES:
            continue
        for index, name in enumerate(node.output):
            if name in halves:
                node.output[index] = fresh(f"{name}.exact")
                nodes += _rounding(node.output[index], fresh(f"{name}.rounded"), name)
    replace_nodes(model.graph, nodes)
    del model.graph.value_info[:]
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            value = np.asarray(numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, out)


def _rounding(exact: str, rounded: str, name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [exact], [rounded], name=f"{rounded}.narrow", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [rounded], [name], name=f"{rounded}.widen", to=TensorProto.FLOAT),
    ]


def _half_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {value.name for value in graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16}


def _to_float(node: onnx.NodeProto) -> None:
    """The types that an operation carries itself."""
    for attr in node.attribute:
        if attr.name == "to" and node.op_type == "Cast" and attr.i == TensorProto.FLOAT16:
            attr.i = TensorProto.FLOAT
        if attr.name == "value" and attr.t.data_type == TensorProto.FLOAT16:
            value = np.asarray(numpy_helper.to_array(attr.t)).astype(np.float32)
            attr.t.CopyFrom(numpy_helper.from_array(value))
