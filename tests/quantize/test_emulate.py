"""FP16 as a device rounds it, against numpy."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgefuse.fidelity import decibels
from edgefuse.quantize.emulate import write_emulation
from edgefuse.quantize.fp16 import observe_floats, to_fp16
from tests.quantize.test_quantize import random, run, save


def emulated(net, feed, tmp_path):
    to_fp16(net, tmp_path / "h.onnx", observe_floats(net, [feed]))
    write_emulation(tmp_path / "h.onnx", tmp_path / "e.onnx")
    return run(tmp_path / "e.onnx", feed)[0]


def test_what_fp16_loses_is_lost(tmp_path):
    """onnxruntime's own FP16 computes this chain in float32 and finds nothing wrong with it."""
    nodes = [
        helper.make_node("Add", ["x", "c"], ["big"], name="add"),
        helper.make_node("Sub", ["big", "c"], ["y"], name="sub"),
    ]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 64])}, ["y"], {"c": np.float32(500)})
    feed = {"x": random(1, 64)}
    c = np.float16(500)
    expected = ((feed["x"].astype(np.float16) + c) - c).astype(np.float32)
    assert np.array_equal(emulated(net, feed, tmp_path), expected)
    error = expected - feed["x"]
    assert decibels(float((feed["x"] ** 2).sum()), float((error**2).sum())) < 25


def test_every_result_is_a_half_and_inputs_and_outputs_keep_their_type(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="m"),
        helper.make_node("Softmax", ["m"], ["s"], name="s"),
        helper.make_node("Transpose", ["s"], ["t"], name="t", perm=[0, 2, 1]),
        helper.make_node("Mul", ["t", "t"], ["y"], name="mul"),
    ]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4, 8])}, ["y"], {"w": random(8, 6)})
    feed = {"x": random(1, 4, 8)}
    got = emulated(net, feed, tmp_path)
    assert got.dtype == np.float32 and np.array_equal(got, got.astype(np.float16).astype(np.float32))
    assert np.allclose(got, run(net, feed)[0], atol=2e-3)
    model = onnx.load(tmp_path / "e.onnx")
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in model.graph.initializer}
