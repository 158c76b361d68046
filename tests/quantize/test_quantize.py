"""Q/DQ placement and rewriting on small graphs, judged by ONNX Runtime."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgefuse.errors import ModelError
from edgefuse.fidelity import decibels
from edgefuse.quantize import quantize_int8
from edgefuse.quantize.observe import Range
from edgefuse.quantize.rewrite import weight_quantization
from edgefuse.quantize.schemes import affine_uint8, symmetric_int8


def save(path, nodes, inputs, outputs, weights):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def run(path, feed, emulate=True):
    options = ort.SessionOptions()
    if emulate:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, feed)


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture
def conv_net(tmp_path):
    """Two convolutions with a residual connection, then a fully connected layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["y"], name="head", transB=1),
    ]
    weights = {
        "w1": random(8, 3, 3, 3),
        "b1": random(8),
        "w2": random(8, 8, 3, 3) / 4,
        "w3": random(5, 8 * 36) / 9,
        "b3": random(5),
    }
    return save(tmp_path / "net.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 3, 6, 6])}, ["y"], weights)


def samples(count=16):
    rng = np.random.default_rng(0)
    return [{"x": rng.normal(size=(1, 3, 6, 6)).astype(np.float32)} for _ in range(count)]


def test_every_weighted_operation_becomes_int8_and_stays_close(conv_net, tmp_path):
    out = tmp_path / "q.onnx"
    counts = quantize_int8(conv_net, out, samples())
    assert (counts.int8, counts.eligible, counts.operations) == (3, 3, 7)
    reference = np.concatenate([run(conv_net, feed)[0] for feed in samples()])
    got = np.concatenate([run(out, feed)[0] for feed in samples()])
    assert decibels(float((reference**2).sum()), float(((got - reference) ** 2).sum())) > 30


def test_weights_are_stored_as_int8_and_nothing_stands_between_a_convolution_and_its_activation(conv_net, tmp_path):
    quantize_int8(conv_net, tmp_path / "q.onnx", samples())
    graph = onnx.load(tmp_path / "q.onnx").graph
    kinds = Counter(node.op_type for node in graph.node)
    assert (kinds["QuantizeLinear"], kinds["DequantizeLinear"]) == (3, 6)
    assert {t.name: t.data_type for t in graph.initializer}["w2.q"] == TensorProto.INT8
    assert not {"w1", "w2", "w3"} & {t.name for t in graph.initializer}, "float weights were left behind"
    readers = {name: node.op_type for node in graph.node for name in node.input}
    assert readers["c1"] == "Relu" and readers["c2"] == "Add"


def test_quantizing_twice_gives_the_same_bytes(conv_net, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        quantize_int8(conv_net, tmp_path / name, samples())
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_shared_tensor_is_quantized_once(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", w], [f"y{w}"]) for w in ("q", "k", "v")]
    net = save(
        tmp_path / "n.onnx",
        nodes,
        {"x": (TensorProto.FLOAT, [1, 4, 8])},
        ["yq", "yk", "yv"],
        {w: random(8, 6 + i) for i, w in enumerate("qkv")},
    )
    quantize_int8(net, tmp_path / "q.onnx", [{"x": random(1, 4, 8)}])
    assert sum(n.op_type == "QuantizeLinear" for n in onnx.load(tmp_path / "q.onnx").graph.node) == 1


def test_products_of_two_computed_tensors_and_ids_stay_float(tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Transpose", ["e"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["e", "t"], ["y"]),
    ]
    net = save(tmp_path / "n.onnx", nodes, {"ids": (TensorProto.INT64, [1, 4])}, ["y"], {"table": random(9, 8)})
    with pytest.raises(ModelError, match="no convolution or matrix product"):
        quantize_int8(net, tmp_path / "q.onnx", [{"ids": np.array([[1, 2, 3, 4]])}])


def test_a_mask_of_minus_infinity_gets_no_range_and_its_reader_stays_float(tmp_path):
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
        helper.make_node("MatMul", ["x", "w2"], ["z"]),
    ]
    mask = np.array([[0, 0, -np.inf, 0]], np.float32)
    net = save(
        tmp_path / "n.onnx",
        nodes,
        {"x": (TensorProto.FLOAT, [1, 4])},
        ["y", "z"],
        {"mask": mask, "w": random(4, 3), "w2": random(4, 5)},
    )
    counts = quantize_int8(net, tmp_path / "q.onnx", [{"x": random(1, 4)}])
    assert (counts.int8, counts.eligible) == (1, 2)


def test_a_depthwise_convolution_stays_float_and_a_grouped_one_does_not(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "depthwise"], ["d"], group=4),
        helper.make_node("Conv", ["d", "grouped"], ["y"], group=2),
    ]
    weights = {"depthwise": random(4, 1, 3, 3), "grouped": random(6, 2, 1, 1)}
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4, 6, 6])}, ["y"], weights)
    counts = quantize_int8(net, tmp_path / "q.onnx", [{"x": random(1, 4, 6, 6)}])
    assert (counts.int8, counts.operations) == (1, 2)
    assert "depthwise" in {t.name for t in onnx.load(tmp_path / "q.onnx").graph.initializer}


def test_one_weight_read_along_two_axes_gets_two_scales(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["y"], transB=0),
        helper.make_node("Gemm", ["x", "w"], ["z"], transB=1),
    ]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 6])}, ["y", "z"], {"w": random(6, 6)})
    feed = {"x": random(1, 6)}
    quantize_int8(net, tmp_path / "q.onnx", [feed])
    for reference, got in zip(run(net, feed), run(tmp_path / "q.onnx", feed)):
        assert np.abs(reference - got).max() < 0.05 * np.abs(reference).max()


finite = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(finite, finite)
def test_zero_and_both_ends_survive_the_affine_map(a, b):
    low, high = min(a, b), max(a, b)
    how = affine_uint8(Range(low, high))
    for value in (0.0, low, high):
        integer = np.clip(np.rint(value / how.scale) + how.zero_point, 0, 255)
        error = abs(how.scale * (integer - how.zero_point) - value)
        assert error <= how.scale * 1.001 and (value or error == 0)


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 1))
@settings(deadline=None)
def test_weights_are_within_half_a_step_per_channel(rows, columns, axis):
    weight = random(rows, columns)
    integers, scale = weight_quantization(weight, axis)
    shaped = scale.reshape(-1, 1) if axis == 0 else scale.reshape(1, -1)
    assert integers.dtype == np.int8 and np.abs(integers.astype(int)).max() <= 127
    assert (np.abs(integers * shaped - weight) <= shaped / 2 * 1.001).all()


def test_a_channel_of_zeros_keeps_a_positive_scale():
    integers, scale = weight_quantization(np.zeros((2, 3), np.float32), 0)
    assert (scale > 0).all() and not integers.any()


def qdq(path):
    """Reader of each DequantizeLinear'd tensor, by the name of the tensor that was quantized."""
    graph = onnx.load(path).graph
    return {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}, graph


def test_for_tensorrt_everything_is_signed_symmetric_and_scales_are_scalars(conv_net, tmp_path):
    quantize_int8(conv_net, tmp_path / "q.onnx", samples(), "tensorrt")
    _, graph = qdq(tmp_path / "q.onnx")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 4
    for node in pairs:
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any() and (scale > 0).all()
        if node.input[0] not in constants:  # an activation: TensorRT runs a scale of shape [1] in float, silently
            assert scale.shape == () and zero.shape == ()


def test_for_tensorrt_a_head_of_one_row_stays_float_and_one_of_many_rows_does_not(conv_net, tmp_path):
    counts = quantize_int8(conv_net, tmp_path / "q.onnx", samples(), "tensorrt")
    assert counts.nodes == ("conv1", "conv2") and counts.eligible == 2
    net = save(
        tmp_path / "n.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="rows")],
        {"x": (TensorProto.FLOAT, [1, 4, 8])},
        ["y"],
        {"w": random(8, 6)},
    )
    assert quantize_int8(net, tmp_path / "r.onnx", [{"x": random(1, 4, 8)}], "tensorrt").nodes == ("rows",)


def residual_net(tmp_path, projection):
    """conv1 → conv2, joined with conv1's output (or its projection) by Add and ReLU, then conv3."""
    skip = "p" if projection else "r1"
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c2", "w2"], ["c22"], name="conv22", pads=[1, 1, 1, 1]),
        *([helper.make_node("Conv", ["r1", "wp"], ["p"], name="project")] if projection else []),
        helper.make_node("Add", ["c22", skip], ["sum"], name="join"),
        helper.make_node("Relu", ["sum"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["y"], name="conv3"),
    ]
    weights = {"w1": random(8, 3, 3, 3), "w2": random(8, 8, 3, 3), "wp": random(8, 8, 1, 1), "w3": random(4, 8, 1, 1)}
    used = {name: value for name, value in weights.items() if projection or name != "wp"}
    return save(tmp_path / "res.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 3, 6, 6])}, ["y"], used)


@pytest.mark.parametrize("projection", [False, True])
def test_for_tensorrt_the_skip_input_of_a_residual_add_is_quantized_and_the_convolution_branch_is_not(
    projection, tmp_path
):
    quantize_int8(residual_net(tmp_path, projection), tmp_path / "q.onnx", samples(), "tensorrt")
    quantized, graph = qdq(tmp_path / "q.onnx")
    join = next(node for node in graph.node if node.name == "join")
    assert list(join.input) == ["c22", "p.dq" if projection else "r1.dq"]
    assert "c22" not in quantized
    quantize_int8(residual_net(tmp_path, projection), tmp_path / "cpu.onnx", samples())
    assert next(n for n in onnx.load(tmp_path / "cpu.onnx").graph.node if n.name == "join").input[1] in ("p", "r1")


def concat_net(tmp_path, gain):
    """Two convolutions' outputs meet in a Concat, one of them *gain* times as large and read once more."""
    nodes = [
        helper.make_node("Conv", ["x", "wa"], ["a"], name="a"),
        helper.make_node("Conv", ["x", "wb"], ["b"], name="b"),
        helper.make_node("Concat", ["a", "b"], ["joined"], axis=1),
        helper.make_node("Conv", ["joined", "wj"], ["y"], name="join"),
        helper.make_node("Conv", ["b", "wz"], ["z"], name="again"),
    ]
    weights = {"wa": random(8, 3, 1, 1), "wb": random(8, 3, 1, 1), "wj": random(4, 16, 1, 1), "wz": random(4, 8, 1, 1)}
    weights["wb"] = (weights["wb"] * gain).astype(np.float32)
    return save(tmp_path / "cat.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 3, 6, 6])}, ["y", "z"], weights)


@pytest.mark.parametrize(("gain", "shared"), [(1.0, True), (0.6, True), (0.01, False)])
def test_for_tensorrt_tensors_that_meet_in_a_concat_share_a_scale_unless_one_would_drown(gain, shared, tmp_path):
    quantize_int8(concat_net(tmp_path, gain), tmp_path / "q.onnx", samples(), "tensorrt")
    _, graph = qdq(tmp_path / "q.onnx")
    scale = {
        t.name: float(numpy_helper.to_array(t)) for t in graph.initializer if t.name in ("joined.scale", "b.scale")
    }
    assert len(scale) == 2 and (scale["joined.scale"] == scale["b.scale"]) is shared


def test_for_tensorrt_a_transposed_convolution_stays_float(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("ConvTranspose", ["c", "t"], ["y"], name="up"),
    ]
    weights = {"w": random(4, 3, 3, 3), "t": random(4, 2, 2, 2)}
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 3, 6, 6])}, ["y"], weights)
    assert quantize_int8(net, tmp_path / "q.onnx", samples(), "tensorrt").nodes == ("conv",)
    assert quantize_int8(net, tmp_path / "c.onnx", samples()).nodes == ("conv", "up")


@given(finite, finite)
def test_the_symmetric_map_keeps_zero_and_the_far_end(a, b):
    low, high = min(a, b), max(a, b)
    how = symmetric_int8(Range(low, high))
    assert how.zero_point == 0 and how.dtype is np.int8
    for value in (0.0, low, high):
        integer = np.clip(np.rint(value / how.scale), -128, 127)
        assert abs(integer * how.scale - value) <= how.scale / 2 * 1.001


def test_names_that_the_graph_already_has_are_not_taken_again(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["x.dq"], name="x.Q"),
        helper.make_node("MatMul", ["x", "w"], ["x.q"], name="m"),
        helper.make_node("Add", ["x.q", "w.scale"], ["y"], name="w.DQ"),
        helper.make_node("Neg", ["x.dq"], ["z"], name="n"),
    ]
    weights = {"w": random(8, 6), "w.scale": random(6)}
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4, 8])}, ["y", "z"], weights)
    feed = {"x": random(1, 4, 8)}
    quantize_int8(net, tmp_path / "q.onnx", [feed])
    for reference, got in zip(run(net, feed), run(tmp_path / "q.onnx", feed)):
        assert np.abs(reference - got).max() < 0.05 * np.abs(reference).max()


def test_for_tensorrt_a_sum_that_is_read_as_int8_further_on_has_its_skip_quantized_too(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "x"], ["sum"], name="join"),
        helper.make_node("Relu", ["sum"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], axis=2),
        helper.make_node("MatMul", ["f", "m"], ["y"], name="mul"),
    ]
    weights = {"w": random(3, 3, 3, 3), "m": random(9, 5)}
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 3, 6, 6])}, ["y"], weights)
    quantize_int8(net, tmp_path / "q.onnx", samples(), "tensorrt")
    join = next(node for node in onnx.load(tmp_path / "q.onnx").graph.node if node.name == "join")
    assert list(join.input) == ["c", "x.dq"]
