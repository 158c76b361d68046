"""Writing Q/DQ nodes into the graph: int8 weights with their DequantizeLinear, and Q→DQ on the data inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgefuse.quantize.graph import Graph, fresh_names, replace_nodes
from edgefuse.quantize.observe import Range
from edgefuse.quantize.placement import Placement
from edgefuse.quantize.schemes import Quantization, Scheme
from edgefuse.spec import Array


def weight_quantization(weight: Array, axis: int) -> tuple[Array, Array]:
    """int8 weights in ±127 and one float32 scale per channel of *axis*: scale = max|w| / 127 (symmetric)."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peak = np.abs(weight).max(axis=others, keepdims=True).astype(np.float64)
    scale = np.where(peak > 0, peak / 127, 1.0)
    integers = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    return integers, scale.reshape(-1).astype(np.float32)


def insert_qdq(graph: Graph, chosen: Placement, ranges: Mapping[str, Range], scheme: Scheme) -> onnx.ModelProto:
    """A copy of the graph's model in which what is *chosen* reads int8 through Q/DQ nodes."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    writer = _Writer(model)
    nodes = {tuple(node.output): node for node in model.graph.node}
    for item in chosen.weighted:
        node = nodes[tuple(item.node.output)]
        node.input[0] = writer.data(item.data, scheme.activation(ranges[item.data]))
        node.input[1] = writer.weight(item.weight, item.axis)
    for skip in chosen.skips:
        nodes[tuple(skip.node.output)].input[skip.index] = writer.data(skip.data, scheme.activation(ranges[skip.data]))
    return writer.finish()


class _Writer:
    """Collects the new nodes and initializers of one rewrite; a tensor is quantized once, however often it is read."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.names = fresh_names(model)
        self.done: dict[str, str] = {}
        self.before: dict[str, list[onnx.NodeProto]] = {}
        self.first: list[onnx.NodeProto] = []

    def constant(self, name: str, value: Array) -> str:
        name = self.names(name)
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def data(self, tensor: str, how: Quantization) -> str:
        if tensor in self.done:
            return self.done[tensor]
        scale = self.constant(f"{tensor}.scale", np.array(how.scale, np.float32))
        zero = self.constant(f"{tensor}.zero_point", np.array(how.zero_point, how.dtype))
        integers, again = self.names(f"{tensor}.q"), self.names(f"{tensor}.dq")
        self.before[tensor] = [
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [integers], name=self.names(f"{tensor}.Q")),
            helper.make_node("DequantizeLinear", [integers, scale, zero], [again], name=self.names(f"{tensor}.DQ")),
        ]
        self.done[tensor] = again
        return again

    def weight(self, tensor: str, axis: int) -> str:
        key = f"{tensor}@{axis}"
        if key in self.done:
            return self.done[key]
        integers, scale = weight_quantization(np.asarray(numpy_helper.to_array(self.weights[tensor])), axis)
        read_along_another_axis = f"{tensor}@{1 - axis}" in self.done
        prefix = key if read_along_another_axis else tensor
        quantized = self.constant(f"{prefix}.q", integers)
        inputs = [
            quantized,
            self.constant(f"{prefix}.scale", scale),
            self.constant(f"{prefix}.zero_point", np.zeros_like(scale, np.int8)),
        ]
        self.done[key] = self.names(f"{prefix}.dq")
        name = self.names(f"{prefix}.DQ")
        self.first.append(helper.make_node("DequantizeLinear", inputs, [self.done[key]], name=name, axis=axis))
        return self.done[key]

    def finish(self) -> onnx.ModelProto:
        """Nodes in topological order, float weights that nobody reads dropped."""
        graph = self.model.graph
        ordered = list(self.first)
        for value in graph.input:
            ordered.extend(self.before.get(value.name, ()))
        for node in graph.node:
            ordered.append(node)
            for name in node.output:
                ordered.extend(self.before.get(name, ()))
        replace_nodes(graph, ordered)
        return self.model
