"""Folds batch normalization into the convolution before it, also where two sensors share one backbone.

The exporters fold it too, but not where a weight has a second reader: two cameras through one network keep all their
normalizations, and INT8 convolutions cannot take these along. Here each distinct pair of weight and normalization is
folded once, so what was shared stays shared.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from edgefuse.spec import Array

PARAMETERS = 4
"""Scale, bias, mean and variance, inputs 1 to 4 of BatchNormalization."""


def fold_batchnorm(model: ir.Model) -> int:
    """Fold *model* in place; returns how many normalizations went away.

    y = (conv(x) − mean) · scale / √(variance + epsilon) + bias, which is a convolution again (ONNX operator
    specification, BatchNormalization-15).
    """
    folded: dict[tuple[str, ...], tuple[ir.Value, ir.Value]] = {}
    nodes = [node for node in model.graph if node.op_type == "BatchNormalization" and node.domain == ""]
    count = sum(_fold(model.graph, node, folded) for node in nodes)
    passes.RemoveUnusedNodesPass()(model)
    return count


def _fold(graph: ir.Graph, norm: ir.Node, folded: dict[tuple[str, ...], tuple[ir.Value, ir.Value]]) -> bool:
    data = norm.inputs[0]
    conv = data.producer() if data is not None else None
    if conv is None or not _foldable(conv, norm):
        return False
    constants = [conv.inputs[1], *conv.inputs[2:3], *norm.inputs[1 : 1 + PARAMETERS]]
    key = tuple(value.name or "" if value is not None else "" for value in constants)
    if key not in folded:
        folded[key] = _folded_weights(graph, conv, norm)
    weight, bias = folded[key]
    fresh = ir.Node(
        "", "Conv", [conv.inputs[0], weight, bias], list(conv.attributes.values()), num_outputs=1, name=conv.name
    )
    result = norm.outputs[0]
    fresh.outputs[0].name, fresh.outputs[0].shape, fresh.outputs[0].type = result.name, result.shape, result.type
    graph.insert_after(norm, fresh)
    if result.is_graph_output():
        graph.outputs[:] = [fresh.outputs[0] if value is result else value for value in graph.outputs]
    result.replace_all_uses_with(fresh.outputs[0])
    result.name = f"{result.name}.unfolded"
    graph.remove([norm], safe=True)
    return True


def _foldable(conv: ir.Node, norm: ir.Node) -> bool:
    made = conv.outputs[0]
    alone = len(list(made.uses())) == 1 and not made.is_graph_output() and len(norm.outputs) == 1
    values = [*conv.inputs[1:], *norm.inputs[1 : 1 + PARAMETERS]]
    known = all(value is None or (value.is_initializer() and not value.is_graph_input()) for value in values)
    floats = all(value is None or value.dtype == ir.DataType.FLOAT for value in values)
    return conv.op_type == "Conv" and conv.domain == "" and alone and known and floats


def _folded_weights(graph: ir.Graph, conv: ir.Node, norm: ir.Node) -> tuple[ir.Value, ir.Value]:
    weight = _array(conv.inputs[1])
    bias = _array(conv.inputs[2]) if len(conv.inputs) > 2 and conv.inputs[2] is not None else np.zeros(len(weight))
    scale, shift, mean, variance = (_array(value) for value in norm.inputs[1 : 1 + PARAMETERS])
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    factor = scale / np.sqrt(variance + epsilon)
    name = f"{conv.inputs[1].name}.folded.{norm.name}"  # type: ignore[union-attr]
    scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return _constant(graph, name, scaled), _constant(graph, f"{name}.bias", (bias - mean) * factor + shift)


def _array(value: ir.Value | None) -> Array:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _constant(graph: ir.Graph, name: str, value: Array) -> ir.Value:
    tensor = ir.tensor(np.ascontiguousarray(value.astype(np.float32)), name=name)
    made = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(value.shape), const_value=tensor)
    graph.register_initializer(made)
    return made
