"""Scales, zero points and axes that pass, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto as T
from onnx import helper

from tests.lint.cases import rules
from tests.lint.graphs import Graph, convolution, product, random

FLOAT32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, 16, elements=FLOAT32))
def test_a_scale_is_accepted_if_and_only_if_positive_and_finite(value):
    graph = convolution().constant(weight_scale=value)
    good = bool(np.all(np.isfinite(value) & (value > 0)))
    assert rules(graph.model()) == ([] if good else ["E3"])


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.int8, 16))
def test_a_zero_point_is_accepted_if_and_only_if_zero(value):
    assert rules(convolution().constant(weight_zero=value).model()) == (["E2"] if value.any() else [])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["Gemm", "MatMul"]), st.booleans(), st.integers(-2, 1), st.booleans())
def test_a_weights_axis_is_right_if_and_only_if_it_is_the_output_channels(op, transposed, axis, turned):
    """Given as transB, as a Transpose of the weight, or both."""
    trans_b = transposed and op == "Gemm"
    shape = (64, 32) if trans_b != turned else (32, 64)
    graph = product(op, shape, axis, **({"transB": 1} if trans_b else {}))
    if turned:
        graph.nodes[-1].input[1] = "turned"
        graph.nodes.insert(-1, helper.make_node("Transpose", ["weight_dq"], ["turned"], perm=[1, 0]))
    right = shape[axis] == 64
    assert rules(graph.model()) == ([] if right else ["W1"])


def test_the_zero_point_of_integers_that_have_a_type_may_be_left_out():
    graph = convolution()
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear":
            del node.input[2]
    assert rules(graph.model()) == []


def test_output_dtype_stands_for_the_zero_point():
    for dtype, expected in ((T.INT8, []), (T.UINT8, ["E1"])):
        graph = Graph().feed([4]).constant(scale=np.float32(0.1))
        graph.add("QuantizeLinear", "x scale", "q", output_dtype=dtype)
        assert rules(graph.model("q", dtype, opset=21)) == expected


def test_a_float_weight_behind_both_nodes_is_a_quantized_weight():
    graph = convolution(weight=random(16, 16, 3, 3))
    graph.nodes.insert(2, helper.make_node("QuantizeLinear", ["weight", "weight_scale", "weight_zero"], ["q"], axis=0))
    graph.nodes[3].input[0] = "q"
    assert rules(graph.model()) == []


def test_microsofts_quantization_is_the_standard_one():
    graph = Graph().feed([4]).constant(scale=np.float32(0.1), zero=np.int8(0)).quantize("x", domain="com.microsoft")
    assert rules(graph.model("x_dq", domain="com.microsoft")) == []
    graph.constant(zero=np.uint8(0))
    assert rules(graph.model("x_dq", domain="com.microsoft")) == ["E1"]


@pytest.mark.parametrize(
    ("op", "passes"), [("MaxPool", True), ("Identity", True), ("Relu", False), ("AveragePool", False)]
)
def test_integers_pass_what_only_moves_them(op, passes):
    graph = convolution()
    graph.nodes[-1].input[0] = "moved"
    attributes = {"kernel_shape": [2, 2]} if "Pool" in op else {}
    graph.nodes.insert(2, helper.make_node(op, ["x_dq"], ["moved"], **attributes))
    assert rules(graph.model()) == ([] if passes else ["W7"])
