"""Q/DQ graphs as a quantizer writes them, and as one writes them that is wrong: int8, zero point 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class QdqGraph:
    """Nodes are added in order; a tensor's name is its node's, and a node is called like its output."""

    def __init__(self, opset: int = 18) -> None:
        self.opset, self.generator = opset, np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[str] = []
        self.shapes: dict[str, list[Any]] = {}

    def input(self, name: str, *shape: int | str) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        self.shapes[name] = list(shape)
        return name

    def constant(self, name: str, array: Any) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def output(self, *names: str) -> None:
        self.outputs += names

    def qdq(self, tensor: str, scale: Any = 0.05, axis: int | None = None) -> str:
        """The tensor after Q and DQ; *scale* is a number (shape []), or an array, per channel with *axis*."""
        scale, name = np.asarray(scale, np.float32), f"{tensor}.{len(self.nodes)}"
        attributes = {} if axis is None else {"axis": axis}
        self.constant(f"{name}.scale", scale)
        self.constant(f"{name}.zero", np.zeros(scale.shape, np.int8))
        self.op("QuantizeLinear", [tensor, f"{name}.scale", f"{name}.zero"], f"{name}.q", **attributes)
        return self.op("DequantizeLinear", [f"{name}.q", f"{name}.scale", f"{name}.zero"], f"{name}.dq", **attributes)

    def weights(self, name: str, shape: tuple[int, ...], axis: int | None = 0) -> str:
        """int8 and DQ with a scale for each index of *axis*, or float where it is None."""
        values = self.generator.normal(0, 0.2, shape).astype(np.float32)
        if axis is None:
            return self.constant(name, values)
        others = tuple(index for index in range(len(shape)) if index != axis)
        scale = (np.abs(values).max(axis=others, keepdims=True) / 127).astype(np.float32)
        self.constant(f"{name}.q", np.clip(np.round(values / scale), -127, 127).astype(np.int8))
        self.constant(f"{name}.scale", scale.reshape(-1))
        self.constant(f"{name}.zero", np.zeros(scale.size, np.int8))
        return self.op("DequantizeLinear", [f"{name}.q", f"{name}.scale", f"{name}.zero"], f"{name}.dq", axis=axis)

    def bias(self, name: str, size: int) -> str:
        return self.constant(f"{name}.bias", self.generator.normal(0, 0.1, size).astype(np.float32))

    def conv(self, x: str, name: str, cin: int = 32, cout: int = 32, kernel: int = 3, **given: Any) -> str:
        """A Conv of *x* as it is; ``axis`` is of the weights' scales, ``group`` and others go to the node."""
        axis, group = given.pop("axis", 0), given.get("group", 1)
        weights = self.weights(f"{name}.w", (cout, cin // group, kernel, kernel), axis)
        return self.op("Conv", [x, weights, self.bias(name, cout)], name, pads=[kernel // 2] * 4, **given)

    def gemm(self, x: str, name: str, rows: int, columns: int, trans_b: int = 1, axis: int | None = -1) -> str:
        """x times (rows, columns) weights; *axis* -1: that of the columns, None: float weights."""
        shape, right = ((columns, rows), 0) if trans_b else ((rows, columns), 1)
        weights = self.weights(f"{name}.w", shape, right if axis == -1 else axis)
        return self.op("Gemm", [x, weights, self.bias(name, columns)], name, transB=trans_b)

    def matmul(self, x: str, name: str, rows: int, columns: int, axis: int | None = 1) -> str:
        product = self.op("MatMul", [x, self.weights(f"{name}.w", (rows, columns), axis)], name)
        return self.op("Add", [product, self.bias(name, columns)], f"{name}.sum")

    def model(self) -> onnx.ModelProto:
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "graph", self.inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)

    def save(self, folder: Path) -> Path:
        onnx.save(self.model(), folder / "graph.onnx")
        return folder / "graph.onnx"

    def spec(self, **ranges: list[Any]) -> dict[str, Any]:
        """The model's spec as JSON; *ranges* give the shapes of dynamic inputs."""
        inputs = [{"name": name, "shape": ranges.get(name, shape)} for name, shape in self.shapes.items()]
        return {"inputs": inputs, "outputs": self.outputs}
