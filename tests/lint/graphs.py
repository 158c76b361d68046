"""Small graphs for the linter's tests: a builder, and one function for each kind of graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

SCALE, ZERO = np.float32(0.1), np.int8(0)


@dataclass
class Graph:
    """A graph while it is written: ``graph.add("Relu", "x", "y")``."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)
    inputs: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    def add(self, op: str, inputs: str, outputs: str, **attributes: Any) -> Graph:
        """A node named after its first output; "-" is an input left out."""
        sources = [name.replace("-", "") for name in inputs.split()]
        self.nodes.append(
            helper.make_node(op, sources, outputs.split(), name=f"{outputs.split()[0]}_node", **attributes)
        )
        return self

    def constant(self, **arrays: Any) -> Graph:
        for name, value in arrays.items():
            made = value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value), name)
            made.name = name
            self.weights[name] = made
        return self

    def feed(self, shape: list[int], dtype: int = T.FLOAT, name: str = "x") -> Graph:
        self.inputs[name] = (dtype, shape)
        return self

    def quantize(self, name: str, scale: str = "scale", zero: str = "zero", **attributes: Any) -> Graph:
        """QuantizeLinear and DequantizeLinear: *name* becomes ``{name}_dq``."""
        parameters = f"{scale} {zero}".strip()
        self.add("QuantizeLinear", f"{name} {parameters}", f"{name}_q", **attributes)
        return self.add("DequantizeLinear", f"{name}_q {parameters}", f"{name}_dq", **attributes)

    def model(self, outputs: str = "y", dtype: int = T.FLOAT, opset: int = 18, domain: str = "") -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "case",
            [helper.make_tensor_value_info(name, *value) for name, value in self.inputs.items()],
            [helper.make_tensor_value_info(name, dtype, None) for name in outputs.split()],
            list(self.weights.values()),
        )
        opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9 if opset < 21 else 11)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def int8(*shape: int, value: int = 0) -> np.ndarray:
    return np.full(shape, value, np.int8)


def scales(count: int, value: float = 0.02) -> np.ndarray:
    return np.full(count, value, np.float32)


def convolution(
    scale: Any = SCALE,
    zero: Any = ZERO,
    *,
    axis: int = 0,
    op: str = "Conv",
    weight: Any = None,
    **attributes: Any,
) -> Graph:
    """``x`` (1, 16, 8, 8), quantized, through a convolution with an int8 weight of 16 × 16 × 3 × 3 into ``y``."""
    graph = Graph().feed([1, 16, 8, 8]).constant(scale=scale, weight_scale=scales(16), weight_zero=int8(16))
    graph.constant(weight=int8(16, 16, 3, 3, value=3) if weight is None else weight, bias=random(16))
    if zero is not None:
        graph.constant(zero=zero)
    graph.quantize("x", zero="zero" if zero is not None else "")
    graph.add("DequantizeLinear", "weight weight_scale weight_zero", "weight_dq", axis=axis)
    return graph.add(op, "x_dq weight_dq bias", "y", **attributes)


def product(op: str, shape: tuple[int, int], axis: int, **attributes: Any) -> Graph:
    """``x`` (16, 32), quantized, times an int8 weight of *shape* with one scale per index of *axis*."""
    graph = Graph().feed([16, 32]).constant(scale=SCALE, zero=ZERO, weight=int8(*shape, value=3))
    graph.constant(weight_scale=scales(shape[axis]), weight_zero=int8(shape[axis])).quantize("x")
    graph.add("DequantizeLinear", "weight weight_scale weight_zero", "weight_dq", axis=axis)
    return graph.add(op, "x_dq weight_dq", "y", **attributes)


def one(op: str, inputs: str = "x", outputs: str = "y", /, **attributes: Any) -> Graph:
    """One node on ``x`` (1, 16, 8, 8)."""
    return Graph().feed([1, 16, 8, 8]).add(op, inputs, outputs, **attributes)


def computed_scale() -> onnx.ModelProto:
    graph = convolution()
    del graph.weights["scale"]
    return Graph(
        [helper.make_node("ReduceMax", ["x"], ["scale"], keepdims=0), *graph.nodes], graph.weights, graph.inputs
    ).model()


def computed_zero() -> onnx.ModelProto:
    graph = convolution().feed([], T.FLOAT, "fed")
    del graph.weights["zero"]
    return Graph(
        [helper.make_node("Cast", ["fed"], ["zero"], to=T.INT8), *graph.nodes], graph.weights, graph.inputs
    ).model()


def int32_bias() -> onnx.ModelProto:
    graph = convolution()
    del graph.weights["bias"], graph.nodes[-1]
    graph.constant(bias_q=np.ones(16, np.int32), bias_scale=scales(16), bias_zero=np.zeros(16, np.int32))
    graph.add("DequantizeLinear", "bias_q bias_scale bias_zero", "bias", axis=0)
    return graph.add("Conv", "x_dq weight_dq bias", "y").model()


def two(first: int, second: int, op: str = "Add", **attributes: Any) -> onnx.ModelProto:
    graph = Graph().feed([4, 4], first).feed([4, 4], second, "u")
    return graph.add(op, "x u", "y", **attributes).model(dtype=first)


def recurrent(op: str, gates: int, **attributes: Any) -> onnx.ModelProto:
    graph = Graph().feed([2, 5, 4]).constant(w=random(1, gates * 8, 4), r=random(1, gates * 8, 8))
    return graph.add(op, "x w r", "y", hidden_size=8, **attributes).model()


def scatter(op: str, reduction: str) -> onnx.ModelProto:
    indices = np.array([[0]]) if op == "ScatterND" else np.zeros((1, 8), np.int64)
    graph = Graph().feed([4, 8]).constant(indices=indices, updates=random(1, 8))
    return graph.add(op, "x indices updates", "y", reduction=reduction).model()


def resize(**attributes: Any) -> onnx.ModelProto:
    graph = one("Resize", "x - factors", mode="linear", **attributes)
    return graph.constant(factors=np.array([1, 1, 0.5, 0.5], np.float32)).model()


def sequence() -> onnx.ModelProto:
    return one("SequenceConstruct", "x x", "s").add("ConcatFromSequence", "s", "y", axis=0).model()


def quantized_before_relu() -> onnx.ModelProto:
    graph = convolution()
    graph.nodes[-1].output[0] = "c"
    return graph.quantize("c").add("Relu", "c_dq", "y").model()


def concat(second: float) -> onnx.ModelProto:
    graph = Graph().feed([1, 16, 8, 8]).feed([1, 16, 8, 8], name="u")
    graph.constant(scale=SCALE, other=np.float32(second), zero=ZERO)
    return graph.quantize("x").quantize("u", "other").add("Concat", "x_dq u_dq", "y", axis=1).model()


def attention(dtype: int, **attributes: Any) -> onnx.ModelProto:
    graph = Graph()
    for name in ("q", "k", "v"):
        graph.feed([1, 4, 16, 32], dtype, name)
    return graph.add("Attention", "q k v", "y", **attributes).model(dtype=dtype, opset=23)


def one_sided(op: str, quantized: str) -> onnx.ModelProto:
    graph = convolution() if op == "Conv" else product(op, (32, 64), 1)
    weight = random(16, 16, 3, 3) if op == "Conv" else random(32, 64)
    dropped = [node for node in graph.nodes if (quantized == "x") == node.output[0].startswith("weight")]
    for node in dropped:
        if node in graph.nodes[:-1]:
            graph.nodes.remove(node)
    if quantized == "x":
        graph.constant(weight_dq=weight)
    else:
        graph.nodes[-1].input[0] = "x"
        graph.nodes[:-1] = [node for node in graph.nodes[:-1] if node.output[0] == "weight_dq"]
    return graph.model()


def low_precision(dtype: int, opset: int = 19) -> onnx.ModelProto:
    zero = helper.make_tensor("zero", dtype, [], [0])
    graph = Graph().feed([16, 32]).constant(scale=SCALE, zero=zero, weight=random(32, 64))
    return graph.quantize("x").quantize("weight").add("MatMul", "x_dq weight_dq", "y").model(opset=opset)


def bfloat16() -> onnx.ModelProto:
    graph = Graph().feed([16, 16]).add("Cast", "x", "b", to=T.BFLOAT16).add("MatMul", "b b", "m")
    return graph.add("Cast", "m", "y", to=T.FLOAT).model()


def half_scale() -> onnx.ModelProto:
    graph = Graph().feed([4, 8], T.FLOAT16).constant(scale=np.float16(0.1), zero=ZERO).quantize("x")
    return graph.add("Cast", "x_dq", "y", to=T.FLOAT).model(opset=19)


def reduce_mean(axes_are_fed: bool) -> onnx.ModelProto:
    graph = one("ReduceMean", "x axes")
    return (graph.feed([1], T.INT64, "axes") if axes_are_fed else graph.constant(axes=np.array([1]))).model()


def in_a_branch() -> onnx.ModelProto:
    """The body captures its scale and its zero point, 3, from the graph around it."""
    then = Graph().quantize("x").nodes
    branches = {
        "then_branch": helper.make_graph(then, "then", [], [helper.make_tensor_value_info("x_dq", T.FLOAT, None)]),
        "else_branch": helper.make_graph(
            [helper.make_node("Relu", ["x"], ["r"])], "else", [], [helper.make_tensor_value_info("r", T.FLOAT, None)]
        ),
    }
    graph = Graph().feed([1, 16, 8, 8]).feed([], T.BOOL, "condition").constant(scale=SCALE, zero=np.int8(3))
    return graph.add("If", "condition", "y", **branches).model()


def clean() -> onnx.ModelProto:
    """What EdgeFuse's own quantizer writes for TensorRT: two convolutions with a skip, pooling, and a product."""
    graph = convolution(pads=[1, 1, 1, 1])
    graph.nodes[-1].output[0] = "c1"
    graph.add("Relu", "c1", "r1").quantize("r1")
    graph.add("DequantizeLinear", "weight weight_scale weight_zero", "weight2_dq", axis=0)
    graph.add("Conv", "r1_dq weight2_dq bias", "c2", pads=[1, 1, 1, 1]).add("Add", "c2 r1_dq", "sum").add(
        "Relu", "sum", "r2"
    )
    graph.quantize("r2").add("MaxPool", "r2_dq", "pooled", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Flatten", "pooled", "flat").constant(head=int8(8, 256, value=2), head_scale=scales(8), head_zero=int8(8))
    graph.add("DequantizeLinear", "head head_scale head_zero", "head_dq", axis=0).constant(head_bias=random(8))
    return graph.add("Gemm", "flat head_dq head_bias", "y", transB=1).model()
