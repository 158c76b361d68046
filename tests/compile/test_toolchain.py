"""What the target's toolchain says of a graph, at the workstation."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefuse.compile.toolchain import inspect_graph
from edgefuse.device import load_device
from edgefuse.errors import ModelError
from edgefuse.quantize import quantize_int8
from edgefuse.spec import ModelSpec, TensorSpec

JETSON = load_device("jetson")


def write(path, nodes, shape, outputs, **weights):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return ModelSpec((TensorSpec("x", tuple(shape)),), tuple(outputs))


def weight(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_two_operations_that_compute_the_same_are_both_proven(tmp_path):
    """TensorRT keeps one kernel for both, and its log names one node."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs pip install 'edgefuse[trt-check]'")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="one"),
        helper.make_node("MatMul", ["x", "w"], ["b"], name="two"),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
        helper.make_node("Neg", ["b"], ["z"], name="neg"),
    ]
    spec = write(tmp_path / "float.onnx", nodes, [1, 16, 32], ["y", "z"], w=weight(32, 32))
    feed = {"x": weight(1, 16, 32)}
    counts = quantize_int8(tmp_path / "float.onnx", tmp_path / "int8.onnx", [feed], "tensorrt")
    found = inspect_graph(tmp_path / "int8.onnx", spec, JETSON, counts.nodes)["toolchain"]
    assert found["verdict"] == "pass" and set(found["int8"]) == {"one", "two"} and found["unknown"] == []


def test_a_lint_error_names_the_rule_the_node_and_the_cure(tmp_path):
    spec = write(tmp_path / "float.onnx", [helper.make_node("Unique", ["x"], ["y"], name="u")], [4], ["y"])
    with pytest.raises(ModelError, match=r"E9, u: ") as caught:
        inspect_graph(tmp_path / "float.onnx", spec, JETSON, ())
    assert caught.value.exit_code == 4 and caught.value.hint


def test_what_needs_a_plugin_is_not_called_checked(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["x"], ["i"], name="nz"),
        helper.make_node("Cast", ["i"], ["y"], name="cast", to=TensorProto.FLOAT),
    ]
    spec = write(tmp_path / "float.onnx", nodes, [2, 3], ["y"])
    found = inspect_graph(tmp_path / "float.onnx", spec, JETSON, ())
    assert found["toolchain"]["verdict"] == "not run" and "NonZero" in found["toolchain"]["text"]
    assert [item["rule"] for item in found["lint"]] == ["W6"]


def test_openvino_targets_are_not_held_to_tensorrts_rules(tmp_path):
    spec = write(tmp_path / "float.onnx", [helper.make_node("Unique", ["x"], ["y"], name="u")], [4], ["y"])
    found = inspect_graph(tmp_path / "float.onnx", spec, load_device("intel-cpu"), ())
    assert found["lint"] == [] and found["toolchain"]["verdict"] == "not run"
