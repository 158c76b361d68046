"""The estimate is the formula of its docstring, and a bound."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefuse.compile.roofline import estimate
from edgefuse.device import Device, Figure, load_device
from edgefuse.quantize import quantize_int8


def profile(**figures: float) -> Device:
    values = {
        "sms": 8,
        "gpu_clock_ghz": 1.0,
        "int8_tops_dense": 32.0,
        "fp16_tflops_dense": 16.0,
        "bandwidth_gb_s": 100.0,
    }
    return Device("d", "tensorrt", figures={k: Figure(v, "", "measured") for k, v in (values | figures).items()})


def write(path, nodes, shape, dims_open=False, **weights):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n" if dims_open else shape[0], *shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(dims, np.float32), name) for name, dims in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def test_a_product_of_many_rows_is_bound_by_arithmetic(tmp_path):
    path = write(
        tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")], [4096, 512], w=(512, 512)
    )
    float_ms = 2 * 4096 * 512 * 512 / (8 * 0.256e12) * 1e3
    assert estimate({"float": path}, profile())["at_least_ms"]["float"] == pytest.approx(float_ms)
    quantize_int8(path, tmp_path / "q.onnx", [{"x": np.ones((4096, 512), np.float32)}], "tensorrt")
    moved_ms = (4096 * 512 * 4 * 2 + 512 * 512 + 512 * 5 + 5) / 100e9 * 1e3
    found = estimate({"int8": tmp_path / "q.onnx"}, profile())["at_least_ms"]["int8"]
    assert found == pytest.approx(max(2 * 4096 * 512 * 512 / 32e12 * 1e3, moved_ms), rel=1e-6)


def test_one_row_is_bound_by_reading_the_weights(tmp_path):
    path = write(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")], [1, 512], w=(512, 512))
    assert estimate({"float": path}, profile())["at_least_ms"]["float"] == pytest.approx(
        (512 * 512 + 512 + 512) * 4 / 100e9 * 1e3
    )


def test_convolutions_and_recurrence_are_counted(tmp_path):
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="c", pads=[1, 1, 1, 1])
    path = write(tmp_path / "c.onnx", [conv], [1, 64, 128, 128], w=(64, 64, 3, 3))
    assert estimate({"float": path}, profile(bandwidth_gb_s=1e9))["at_least_ms"]["float"] == pytest.approx(
        2 * 64 * 128 * 128 * 64 * 9 / (8 * 0.256e12) * 1e3
    )
    lstm = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="l", hidden_size=32)
    path = write(tmp_path / "l.onnx", [lstm], [50, 1, 16], w=(1, 128, 16), r=(1, 128, 32))
    assert estimate({"float": path}, profile(bandwidth_gb_s=1e9))["at_least_ms"]["float"] == pytest.approx(
        2 * 50 * 4 * 32 * (16 + 32) / (8 * 0.256e12) * 1e3
    )


def test_without_figures_or_fixed_shapes_nothing_is_guessed(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="m")
    path = write(tmp_path / "m.onnx", [node], [1, 8], dims_open=True, w=(8, 8))
    assert estimate({"float": path}, profile()) is None
    assert estimate({"float": path}, load_device("intel-cpu")) is None


def test_unverified_figures_are_called_so(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="m")
    path = write(tmp_path / "m.onnx", [node], [1, 8], w=(8, 8))
    assert "unverified" in estimate({"float": path}, load_device("jetson"))["assumes"]
    assert "unverified" not in estimate({"float": path}, profile())["assumes"]
