"""What an ONNX file must not hold, each finding with the operator and the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, numpy_helper

from edgefuse.errors import ModelError

OLDEST_OPSET, WANTED_OPSET, NEWEST_OPSET = 11, 13, 21
"""Below 11 too many operators had other meanings; per-channel quantization came with 13; parsers of the
field's device toolchains end near 21 (TensorRT 10.3 reads up to 20)."""
RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}
QUANTIZED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "MatMulInteger",
    "ConvInteger",
    "DynamicQuantizeLinear",
}
STANDARD = ("", "ai.onnx")


def check_operators(model: ModelProto, where: str) -> tuple[str, ...]:
    """Notes; raises :class:`ModelError` for random operators and those of domains that devices do not
    know."""
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = list(all_nodes(model))
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in nodes:
        _check_random(node, constants, where)
        if node.domain not in STANDARD and (node.domain, node.op_type) not in functions:
            raise ModelError(
                f"node {_name(node)} is {node.op_type} of the domain {node.domain!r}, which is not standard ONNX",
                where=where,
                hint="Export the model again without it; if onnxruntime's optimizer wrote the file, "
                "give EdgeFuse the file from before.",
            )
    return (*_quantized_note(nodes), *_opset_note(model))


def opset_of(model: ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=1)


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node: of the graph, of the bodies of If, Loop and Scan, and of the model's functions."""
    yield from _nodes(model.graph.node)
    for function in model.functions:
        yield from _nodes(function.node)


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _nodes(graph.node)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _name(node: NodeProto) -> str:
    return repr(node.name or f"that writes {node.output[0]}" if node.output else node.name)


def _check_random(node: NodeProto, constants: dict[str, object], where: str) -> None:
    if node.domain in STANDARD and (node.op_type in RANDOM or _trains(node, constants)):
        raise ModelError(
            "the model gives different answers for the same input: node "
            f"{_name(node)} is a random operator ({node.op_type})",
            where=where,
            hint="Switch dropout off before the export, or make the random numbers an input.",
        )


def _trains(node: NodeProto, constants: dict[str, object]) -> bool:
    """Dropout whose third input, training_mode, is a constant True."""
    if node.op_type != "Dropout" or len(node.input) < 3 or node.input[2] not in constants:
        return False
    return bool(np.all(numpy_helper.to_array(constants[node.input[2]])))  # type: ignore[arg-type]


def _quantized_note(nodes: list[NodeProto]) -> Iterator[str]:
    counts = Counter(node.op_type for node in nodes if node.op_type in QUANTIZED)
    if counts:
        listed = ", ".join(f"{count} {op}" for op, count in counts.most_common())
        yield f"The model is quantized already ({listed}); its reference is that quantized model."


def _opset_note(model: ModelProto) -> Iterator[str]:
    if opset_of(model) > NEWEST_OPSET:
        yield (
            f"The file uses opset {opset_of(model)}; many device toolchains read up to {NEWEST_OPSET} only. "
            "If one refuses it, export it again with opset 18."
        )
