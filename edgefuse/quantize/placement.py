"""Which tensors of a float graph become INT8: the rules, and nothing else.

Rules for every toolchain (measured on OpenVINO 2026.4's CPU plugin; ``docs/quantization.md`` has the figures):

* Convolutions and matrix products with a constant weight run in INT8: their weight per output channel, symmetric;
  their data input per tensor. A tensor read by several of them is quantized once.
* Nothing is put on the *output* of such an operation, so its activation (ReLU …) and bias stay fused with it; the
  next INT8 operation quantizes what it reads.
* Depthwise convolutions stay in float (they are a small part of the time and most of the error), unless the planner
  has measured otherwise.
* Products of two computed tensors (attention's QK^T and PV), softmax, normalisation and recurrence stay in float.
* An operation whose data input is made of integers (ids, masks) or that reads no statistics stays in float.

Rules for tensor cores (TensorRT), on top:

* A product of one row or one column stays in float: the head of a model that is called with batch 1 is bound by
  reading its weights, and has most to lose (40.6 → 46.1 dB on a fusion model by this rule alone).
* A transposed convolution stays in float: TensorRT-RTX 1.7 builds it in float whatever its Q/DQ say.
* The skip input of a residual Add is quantized where the sum is read as INT8, so that convolution, sum and activation
  become one kernel.
* Quantized tensors that meet in a Concat share one scale, unless one of them would lose more than two bits by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from edgefuse.quantize.graph import Graph, attribute
from edgefuse.quantize.observe import Range

MAX_RANGE_RATIO = 4.0
"""Two bits of eight."""

ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Tanh", "Gelu", "PRelu")

MOVES = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Slice", "MaxPool", "Identity")
"""Between a sum and its reader these keep INT8 what it is."""


@dataclass(frozen=True)
class Weighted:
    """An operation that can run in INT8: it reads ``data`` and ``weight``, whose output channels lie on ``axis``."""

    node: onnx.NodeProto
    data: str
    weight: str
    axis: int
    depthwise: bool = False


@dataclass(frozen=True)
class Skip:
    """Input ``index`` of a residual Add, which reads ``data``."""

    node: onnx.NodeProto
    index: int
    data: str


@dataclass(frozen=True)
class Placement:
    """Everything that reads int8."""

    weighted: tuple[Weighted, ...]
    skips: tuple[Skip, ...] = ()


def eligible(graph: Graph) -> list[Weighted]:
    """Every operation of *graph* that could run in INT8 in some toolchain, in the graph's order."""
    found = (_weighted(graph, node) for node in graph.model.graph.node)
    return [item for item in found if item is not None]


def place(graph: Graph, chosen: list[Weighted], ranges: Mapping[str, Range], skips: bool) -> Placement:
    """What reads int8 if *chosen* runs in INT8, with *skips* also what their residual sums add; *ranges* are those of
    their data and of the graph's Add inputs."""
    weighted = tuple(chosen)
    return Placement(weighted, _skips(graph, weighted, ranges)) if skips else Placement(weighted)


def for_tensor_cores(graph: Graph, candidates: list[Weighted], ranges: Mapping[str, Range]) -> list[Weighted]:
    """*candidates* without depthwise and transposed convolutions and the products of one row or one column."""
    found = [item for item in candidates if item.node.op_type != "ConvTranspose" and not item.depthwise]
    return [item for item in found if item.data not in ranges or not _vector(graph, item, ranges[item.data])]


def add_inputs(graph: Graph) -> list[str]:
    """What may turn out to be the skip input of a residual Add."""
    adds = [node for node in graph.model.graph.node if node.op_type == "Add"]
    return [name for node in adds for name in node.input if name not in graph.constants]


def share_concat_scales(graph: Graph, placement: Placement, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """*ranges*, widened where quantized tensors meet in a Concat."""
    shared = dict(ranges)
    quantized = {item.data for item in placement.weighted} | {item.data for item in placement.skips}
    for node in graph.model.graph.node:
        meeting = [name for name in [*node.input, *node.output] if name in quantized]
        if node.op_type == "Concat" and len(meeting) > 1:
            peaks = [shared[name].peak for name in meeting]
            if max(peaks) <= MAX_RANGE_RATIO * min(peaks):
                widest = max((shared[name] for name in meeting), key=lambda found: found.peak)
                shared |= {name: Range(-widest.peak, widest.peak, shared[name].shape) for name in meeting}
    return shared


def _weighted(graph: Graph, node: onnx.NodeProto) -> Weighted | None:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.input) < 2:
        return None
    data, weight = node.input[0], node.input[1]
    tensor = graph.constants.get(weight)
    if tensor is None or data in graph.constants or tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    axis = _channel_axis(node, len(tensor.dims))
    return None if axis is None else Weighted(node, data, weight, axis, _depthwise(node, tensor))


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


def _vector(graph: Graph, item: Weighted, data: Range) -> bool:
    if item.node.op_type not in ("Gemm", "MatMul"):
        return False
    return math.prod(data.shape[:-1]) == 1 or graph.constants[item.weight].dims[item.axis] == 1


def _skips(graph: Graph, chosen: tuple[Weighted, ...], ranges: Mapping[str, Range]) -> tuple[Skip, ...]:
    """For each Add of an INT8 convolution and something else, whose sum is read as INT8: the something else. Of two
    convolutions it is the one with fewer before it (a ResNet's projection)."""
    convolutions = {item.node.output[0] for item in chosen if item.node.op_type == "Conv"}
    quantized = {item.data for item in chosen}
    depths = _depths(graph, convolutions)
    found = []
    for node in graph.model.graph.node:
        if node.op_type != "Add" or not convolutions & set(node.input) or not _read_as_int8(graph, node, quantized):
            continue
        index = min((0, 1), key=lambda i: (node.input[i] in convolutions, depths.get(node.input[i], 0)))
        data, other = node.input[index], node.input[1 - index]
        if other in convolutions and data in ranges and ranges[data].shape == ranges.get(other, ranges[data]).shape:
            found.append(Skip(node, index, data))
    return tuple(found)


def _read_as_int8(graph: Graph, node: onnx.NodeProto, quantized: set[str]) -> bool:
    """Whether the sum is quantized, as it is or after its activation and whatever only moves or picks its values."""
    seen, waiting = set[str](), [node.output[0]]
    while waiting:
        tensor = waiting.pop()
        if tensor in quantized:
            return True
        seen.add(tensor)
        readers = [reader for reader in graph.readers[tensor] if reader.op_type in (*ACTIVATIONS, *MOVES)]
        waiting += [name for reader in readers for name in reader.output[:1] if name not in seen]
    return False


def _depths(graph: Graph, convolutions: set[str]) -> dict[str, int]:
    """How many INT8 convolutions lie on the longest way to each tensor."""
    depths: dict[str, int] = {}
    for node in graph.model.graph.node:
        before = max((depths.get(name, 0) for name in node.input), default=0)
        depths.update({name: before + (name in convolutions) for name in node.output})
    return depths
