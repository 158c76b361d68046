"""Which tensors of a float graph become INT8: the rules, and nothing else.

Rules (each one measured on OpenVINO 2026.4's CPU plugin; ``docs/quantization.md`` has the figures):

* Convolutions and matrix products with a constant weight run in INT8: their weight per output channel, symmetric;
  their data input per tensor. A tensor read by several of them is quantized once.
* Nothing is put on the *output* of such an operation, so its activation (ReLU …) and bias stay fused with it; the
  next INT8 operation quantizes what it reads.
* Depthwise convolutions stay in float: they are a small part of the time and most of the error.
* Products of two computed tensors (attention's QK^T and PV), softmax, normalisation and recurrence stay in float.
* An operation whose data input is made of integers (ids, masks) or that reads no statistics stays in float.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgefuse.quantize.graph import Graph, attribute


@dataclass(frozen=True)
class Weighted:
    """An operation that runs in INT8: it reads ``data`` and ``weight``, whose output channels lie on ``axis``."""

    node: onnx.NodeProto
    data: str
    weight: str
    axis: int


def eligible(graph: Graph) -> list[Weighted]:
    """Every operation of *graph* that the rules above allow in INT8, in the graph's order."""
    found = (_weighted(graph, node) for node in graph.model.graph.node)
    return [item for item in found if item is not None]


def _weighted(graph: Graph, node: onnx.NodeProto) -> Weighted | None:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.input) < 2:
        return None
    data, weight = node.input[0], node.input[1]
    tensor = graph.constants.get(weight)
    if tensor is None or data in graph.constants or tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    axis = None if _depthwise(node, tensor) else _channel_axis(node, len(tensor.dims))
    return None if axis is None else Weighted(node, data, weight, axis)


def _depthwise(node: onnx.NodeProto, weight: onnx.TensorProto) -> bool:
    """One input channel per group. Each channel has a range of its own, and one scale for all of them loses most:
    a single such convolution held a trained model at 27 dB."""
    return node.op_type == "Conv" and attribute(node, "group", 1) > 1 and weight.dims[1] == 1


def _channel_axis(node: onnx.NodeProto, rank: int) -> int | None:
    """The axis of the output channels in the weight (ONNX operator specification, opset 18)."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attribute(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return None if attribute(node, "transA", 0) else 1 - attribute(node, "transB", 0)
    return 1 if rank == 2 else None
