"""Writes ``references/``: small graphs, feeds, and what ONNX Runtime answers. Run it where onnxruntime is:

    python -m tests.gpu.make_references

They are committed so that a machine with a GPU needs neither onnx nor onnxruntime.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgefuse.backends.onnxruntime import open_session
from tests.backends.tensorrt.qdq_graphs import QdqGraph

REFERENCES = Path(__file__).parent / "references"
FEEDS = 6
SCALE = 4 / 127
"""Of every activation: most lie within ±4."""


def fusion(int8: bool, batch: int | str = 1) -> onnx.ModelProto:
    """A camera branch with a residual block and an IMU branch, joined: every kind of product that is quantized."""
    graph = QdqGraph()
    axis = 0 if int8 else None

    def q(tensor: str) -> str:
        return graph.qdq(tensor, SCALE) if int8 else tensor

    def relu(tensor: str) -> str:
        return graph.op("Relu", [tensor], f"{tensor}.relu")

    image, imu = graph.input("image", batch, 3, 32, 32), graph.input("imu", batch, 50, 6)
    first = q(relu(graph.conv(q(image), "stem", 3, 16, axis=axis, strides=[2, 2])))
    inner = relu(graph.conv(first, "block.a", 16, 16, axis=axis))
    block = relu(graph.op("Add", [graph.conv(q(inner), "block.b", 16, 16, axis=axis), first], "block"))
    pooled = graph.op("GlobalAveragePool", [block], "pool")
    camera = graph.op("Flatten", [pooled], "camera")
    step = relu(graph.matmul(q(imu), "imu.a", 6, 32, axis=1 if int8 else None))
    motion = graph.op("ReduceMean", [graph.matmul(q(step), "imu.b", 32, 16, axis=1 if int8 else None)], "motion")
    graph.nodes[-1].attribute.extend([helper.make_attribute("keepdims", 0)])
    graph.nodes[-1].input.append(graph.constant("motion.axes", np.array([1], np.int64)))
    joined = graph.op("Concat", [camera, motion], "joined", axis=1)
    graph.output(graph.gemm(joined, "velocity", 32, 3, axis=None))
    return graph.model()


def integers() -> onnx.ModelProto:
    """int64 in and out: rows = table[ids], next = ids + 1."""
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="rows"),
        helper.make_node("Add", ["ids", "one"], ["next"], name="next"),
    ]
    table = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    initializers = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(1, np.int64), "one")]
    outputs = [info("rows", TensorProto.FLOAT, [1, 5, 4]), info("next", TensorProto.INT64, [1, 5])]
    graph = helper.make_graph(nodes, "integers", [info("ids", TensorProto.INT64, [1, 5])], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def models() -> dict[str, onnx.ModelProto]:
    plain = fusion(int8=False)
    return {
        "float": plain,
        "fp16": convert_float_to_float16(plain, keep_io_types=True),
        "int8": fusion(int8=True),
        "dynamic": fusion(int8=False, batch="batch"),
        "integers": integers(),
    }


def feeds(name: str) -> list[dict[str, Any]]:
    generator = np.random.default_rng(1)
    if name == "integers":
        return [{"ids": generator.integers(0, 10, (1, 5))} for _ in range(FEEDS)]
    sizes = [1 + index % 4 if name == "dynamic" else 1 for index in range(FEEDS)]
    return [
        {
            "image": generator.normal(size=(size, 3, 32, 32)).astype(np.float32),
            "imu": generator.normal(size=(size, 50, 6)).astype(np.float32),
        }
        for size in sizes
    ]


def answers(name: str, model: onnx.ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    """Every feed and its answers, as they go into the .npz. FP16 is compared with the float model."""
    reference = fusion(int8=False) if name == "fp16" else model
    session: ort.InferenceSession = open_session(reference.SerializeToString(), emulate=True)
    names = [output.name for output in session.get_outputs()]
    found: dict[str, np.ndarray[Any, Any]] = {}
    for index, feed in enumerate(feeds(name)):
        found |= {f"in/{index}/{key}": value for key, value in feed.items()}
        found |= {f"out/{index}/{key}": value for key, value in zip(names, session.run(names, feed))}
    return found


def main() -> None:
    REFERENCES.mkdir(exist_ok=True)
    for name, model in models().items():
        onnx.save(model, REFERENCES / f"{name}.onnx")
        np.savez_compressed(REFERENCES / f"{name}.npz", **answers(name, model))
        sys.stderr.write(f"{name}\n")


if __name__ == "__main__":
    main()
