"""FP16 casts on small graphs: what fits is cast, what would overflow stays, and onnxruntime agrees."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefuse.errors import ModelError
from edgefuse.fidelity import decibels
from edgefuse.quantize import quantize_int8
from edgefuse.quantize.fp16 import observe_floats, to_fp16
from tests.quantize.test_quantize import conv_net, random, run, samples, save  # noqa: F401 (conv_net is a fixture)


def types(path):
    """Element type of every tensor that a node makes."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load(path))
    return {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}


def test_a_graph_that_fits_runs_in_fp16_and_stays_close(conv_net, tmp_path):  # noqa: F811
    out = tmp_path / "h.onnx"
    assert to_fp16(conv_net, out, observe_floats(conv_net, samples())) == ()
    assert types(out)["c1"] == types(out)["r2"] == TensorProto.FLOAT16
    model = onnx.load(out)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT, "a feed stays as it was"
    assert model.opset_import[0].version == 18
    reference = np.concatenate([run(conv_net, feed)[0] for feed in samples()])
    got = np.concatenate([run(out, feed)[0] for feed in samples()])
    assert 50 < decibels(float((reference**2).sum()), float(((got - reference) ** 2).sum())) < 120


def test_int8_between_fp16_keeps_its_integers(conv_net, tmp_path):  # noqa: F811
    quantize_int8(conv_net, tmp_path / "q.onnx", samples(), "tensorrt")
    out = tmp_path / "qh.onnx"
    assert to_fp16(tmp_path / "q.onnx", out, observe_floats(conv_net, samples())) == ()
    model = onnx.load(out)
    assert model.opset_import[0].version == 19, "the first with FP16 scales"
    assert {t.name: t.data_type for t in model.graph.initializer}["w2.q"] == TensorProto.INT8
    assert types(out)["x.dq"] == types(out)["c2"] == TensorProto.FLOAT16
    reference = np.concatenate([run(tmp_path / "q.onnx", feed)[0] for feed in samples()])
    got = np.concatenate([run(out, feed)[0] for feed in samples()])
    assert decibels(float((reference**2).sum()), float(((got - reference) ** 2).sum())) > 35


def test_what_would_overflow_stays_in_float32(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "thousand"], ["big"], name="grow"),
        helper.make_node("Mul", ["big", "big"], ["square"], name="square"),
        helper.make_node("Div", ["square", "million"], ["small"], name="shrink"),
        helper.make_node("Relu", ["small"], ["y"], name="relu"),
    ]
    constants = {"thousand": np.float32(1000), "million": np.float32(1e6)}
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4])}, ["y"], constants)
    feed = {"x": np.array([[-3, 1, 2, 3]], np.float32)}
    kept = to_fp16(net, tmp_path / "h.onnx", observe_floats(net, [feed]))
    assert kept == ("grow", "square", "shrink")
    assert np.allclose(run(tmp_path / "h.onnx", feed)[0], [[9, 1, 4, 9]], rtol=1e-3)


def test_a_mask_of_minus_infinity_stays_infinite(tmp_path):
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["m"], name="m"),
        helper.make_node("Softmax", ["m"], ["y"], name="s"),
    ]
    mask = np.array([[0, 0, -np.inf, 0]], np.float32)
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4])}, ["y"], {"mask": mask})
    feed = {"x": random(1, 4)}
    assert to_fp16(net, tmp_path / "h.onnx", observe_floats(net, [feed])) == ()
    got = run(tmp_path / "h.onnx", feed)[0]
    assert got[0, 2] == 0 and np.allclose(got, run(net, feed)[0], atol=1e-3)


def test_int8_scales_that_fp16_cannot_hold_stay_float32_with_their_operation(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="tiny")]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4, 8])}, ["y"], {"w": random(8, 6) * 1e-6})
    feed = {"x": random(1, 4, 8)}
    quantize_int8(net, tmp_path / "q.onnx", [feed], "tensorrt")
    kept = to_fp16(tmp_path / "q.onnx", tmp_path / "h.onnx", observe_floats(net, [feed]))
    assert "tiny" in kept
    reference, got = run(tmp_path / "q.onnx", feed)[0], run(tmp_path / "h.onnx", feed)[0]
    assert decibels(float((reference**2).sum()), float(((got - reference) ** 2).sum())) > 50


def test_a_graph_with_a_body_is_refused(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], name="branch", then_branch=body, else_branch=body)]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4])}, ["y"], {"yes": np.array(True)})
    with pytest.raises(ModelError, match="If"):
        to_fp16(net, tmp_path / "h.onnx", {})


def test_an_operation_whose_weights_fp16_would_round_away_stays_float32(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "tiny"], ["small"], name="shrink"),
        helper.make_node("Mul", ["small", "huge"], ["y"], name="grow"),
    ]
    constants = {"tiny": np.full(4, 1e-9, np.float32), "huge": np.full(4, 1e9, np.float32)}
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4])}, ["y"], constants)
    feed = {"x": random(1, 4)}
    assert to_fp16(net, tmp_path / "h.onnx", observe_floats(net, [feed])) == ("shrink", "grow")
    assert np.allclose(run(tmp_path / "h.onnx", feed)[0], feed["x"], rtol=1e-3)


def test_names_that_the_graph_already_has_are_not_taken_again(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["x.fp16"], name="x.fp16.cast"),
        helper.make_node("Neg", ["x.fp16"], ["y.fp16"], name="neg"),
        helper.make_node("Relu", ["y.fp16"], ["y"], name="y.cast"),
    ]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4])}, ["y"], {})
    feed = {"x": random(1, 4)}
    to_fp16(net, tmp_path / "h.onnx", observe_floats(net, [feed]))
    assert np.allclose(run(tmp_path / "h.onnx", feed)[0], run(net, feed)[0], atol=1e-3)


def test_all_that_share_a_pair_of_q_and_dq_stay_together(tmp_path):
    """One reader's weights do not fit into FP16; a cast between the DQ and the other would keep that out of INT8."""
    nodes = [
        helper.make_node("MatMul", ["x", "small"], ["a"], name="small"),
        helper.make_node("MatMul", ["x", "usual"], ["b"], name="usual"),
        helper.make_node("Relu", ["b"], ["c"], name="relu"),
    ]
    weights = {"small": random(8, 6) * 1e-7, "usual": random(8, 5)}
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4, 8])}, ["a", "c"], weights)
    feed = {"x": random(1, 4, 8)}
    quantize_int8(net, tmp_path / "q.onnx", [feed], "tensorrt")
    kept = set(to_fp16(tmp_path / "q.onnx", tmp_path / "h.onnx", observe_floats(net, [feed])))
    assert {"small", "usual", "x.Q", "x.DQ"} <= kept and "relu" not in kept


@pytest.mark.parametrize("op", ["Celu", "IsInf"])
def test_an_operator_that_onnx_has_in_float32_only_stays_float32(op, tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node(op, ["r"], ["i"], name="it"),
        helper.make_node("Cast", ["i"], ["y"], name="cast", to=TensorProto.FLOAT),
    ]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4])}, ["y"], {})
    feed = {"x": random(1, 4)}
    kept = to_fp16(net, tmp_path / "h.onnx", observe_floats(net, [feed]))
    assert "it" in kept and "relu" not in kept
    assert np.allclose(run(tmp_path / "h.onnx", feed)[0], run(net, feed)[0], atol=1e-3)


def test_an_older_opset_is_raised_for_the_fp16_scales(tmp_path):
    """ReduceMean's axes were an attribute before opset 18: the number alone would break it."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="m"),
        helper.make_node("ReduceMean", ["m"], ["y"], name="mean", axes=[1], keepdims=0),
    ]
    net = save(tmp_path / "n.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 4, 8])}, ["y"], {"w": random(8, 6)})
    model = onnx.load(net)
    model.opset_import[0].version = 13
    onnx.save(model, net)
    feed = {"x": random(1, 4, 8)}
    quantize_int8(net, tmp_path / "q.onnx", [feed], "tensorrt")
    to_fp16(tmp_path / "q.onnx", tmp_path / "h.onnx", observe_floats(net, [feed]))
    assert onnx.load(tmp_path / "h.onnx").opset_import[0].version == 19
    assert np.allclose(run(tmp_path / "h.onnx", feed)[0], run(tmp_path / "q.onnx", feed)[0], rtol=0.02, atol=0.02)
