"""What a tensor between parts stands for: QuantizeLinear as onnxruntime computes it, names followed back."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefuse.blame.seams import Affine, Seam, find_seam, settle
from edgefuse.quantize.graph import Graph
from tests.partition.graphs import node, session_of


def graph_of(nodes, **constants):
    """From ``x`` (2, 3, 4) float32."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


UINT8 = {"s": np.array(0.02, np.float32), "z": np.array(100, np.uint8)}
INT8 = {"s": np.array(0.02, np.float32), "z": np.array(0, np.int8)}
PER_AXIS = {"s": np.array([0.01, 0.02, 0.5], np.float32), "z": np.array([0, 3, -5], np.int8)}


@pytest.mark.parametrize("constants", [UINT8, INT8, PER_AXIS], ids=["uint8", "int8", "per axis"])
def test_values_cross_as_onnxruntime_quantizes_them(constants):
    model = graph_of([node("QuantizeLinear", "x s z", "x.q", axis=1)], **constants)
    x = np.random.default_rng(0).normal(0, 2, (2, 3, 4)).astype(np.float32)
    x[0, 0, :3] = [0.03, -0.03, 1e6]  # halves, and what saturates
    seam = find_seam(Graph(model), "x.q", "uint8", {"x"})
    assert (seam.source, seam.disagree) == ("x", False)
    integers = session_of(model).run(None, {"x": x})[0]
    assert np.array_equal(seam.encode(x), integers) and seam.encode(x).dtype == integers.dtype
    back = graph_of(
        [node("QuantizeLinear", "x s z", "x.q", axis=1), node("DequantizeLinear", "x.q s z", "y", axis=1)], **constants
    )
    assert np.array_equal(seam.decode(integers), session_of(back).run(None, {"x": x})[0])


def test_names_are_followed_back_through_casts_and_pairs_that_round():
    pair = [node("QuantizeLinear", "x s z", "x.q"), node("DequantizeLinear", "x.q s z", "x.dq")]
    cast = node("Cast", "x.dq", "x.half", to=TensorProto.FLOAT16)
    graph = Graph(graph_of([*pair, cast], **UINT8))
    seam = find_seam(graph, "x.half", "float16", {"x"})
    assert seam == Seam("x.half", "x", "float16")
    assert seam.encode(np.array([1.0], np.float32)).dtype == np.float16
    nearest = find_seam(graph, "x.half", "float16", {"x", "x.dq"})
    assert nearest.source == "x.dq"


def test_what_computes_has_no_source_but_keeps_its_scale():
    nodes = [node("Relu", "x", "r"), node("QuantizeLinear", "r s z", "r.q")]
    graph = Graph(graph_of(nodes, **UINT8))
    seam = find_seam(graph, "r.q", "uint8", {"x"})
    assert seam.source is None and seam.decode(np.array([101], np.uint8)) == pytest.approx(0.02)
    assert find_seam(graph, "r", "float32", {"x"}).source is None


def test_a_scale_that_is_computed_is_not_believed():
    nodes = [node("ReduceMax", "x", "s", keepdims=0), node("QuantizeLinear", "x s z", "x.q")]
    assert find_seam(Graph(graph_of(nodes, z=UINT8["z"])), "x.q", "uint8", {"x"}).source is None


def test_of_two_scales_the_one_that_fits_the_values_is_right():
    nodes = [node("QuantizeLinear", "x s z", "x.q"), node("DequantizeLinear", "x.q t z", "y")]
    reals = [np.linspace(-2, 3.1, 12, dtype=np.float32)]  # of a range of 5.1, as 255 steps of 0.02
    right, wrong = np.array(0.02, np.float32), np.array(0.04, np.float32)
    for made, read in ((right, wrong), (wrong, right)):
        graph = Graph(graph_of(nodes, s=made, t=read, z=UINT8["z"]))
        seam = settle(find_seam(graph, "x.q", "uint8", {"x"}), graph, reals)
        assert seam.disagree and seam.affine is not None and seam.affine.scale == right
    graph = Graph(graph_of(nodes, s=wrong, t=wrong, z=UINT8["z"]))
    assert not settle(find_seam(graph, "x.q", "uint8", {"x"}), graph, reals).disagree, "both agree, whatever the values"


def test_the_width_is_that_of_the_integers():
    assert Affine(np.array(0.5, np.float32), np.array(0, np.uint8), 1).width == pytest.approx(127.5)
