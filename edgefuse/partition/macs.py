"""Multiply-accumulates of a node, from the shapes of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

from edgefuse.export.onnx_rules import subgraphs
from edgefuse.partition.nodes import is_standard
from edgefuse.partition.tensors import Facts
from edgefuse.quantize.graph import attribute

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
COUNTED = {"Conv", "ConvTranspose", "MatMul", "Gemm", *GATES}


def count_macs(node: onnx.NodeProto, facts: Mapping[str, Facts]) -> int | None:
    """0 for what is not in ``COUNTED``; None where a shape is open, and for a body (how often it runs is not known)."""
    if any(inner.op_type in COUNTED for body in subgraphs(node) for inner in body.node):
        return None
    if node.op_type not in COUNTED or not is_standard(node):
        return 0
    names = [*node.input[:2], next(name for name in node.output if name)]
    shapes = [facts.get(name, Facts()).shape for name in names]
    known = [shape for shape in shapes if shape is not None]
    return _macs(node, *known) if len(known) == len(shapes) else None


def _macs(node: onnx.NodeProto, data: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...]) -> int:
    if node.op_type == "Conv":  # weight (out channels, in channels / group, *kernel)
        return math.prod(out) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":  # weight (in channels, out channels / group, *kernel)
        return math.prod(data) * math.prod(weight[1:])
    if node.op_type in GATES:  # data (time, batch, features), weight (directions, gates x hidden, features)
        hidden = attribute(node, "hidden_size", 0)
        return data[0] * data[1] * weight[0] * GATES[node.op_type] * hidden * (data[2] + hidden)
    inner = data[0] if node.op_type == "Gemm" and attribute(node, "transA", 0) else data[-1]
    return math.prod(out) * inner
