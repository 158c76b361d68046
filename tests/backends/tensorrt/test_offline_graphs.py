"""The check without a GPU, with the real TensorRT-RTX: shapes, targets, and what is said of a graph that it refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgefuse.backends.tensorrt import offline
from edgefuse.errors import ModelError, ToolchainError
from tests.backends.tensorrt.qdq_graphs import QdqGraph
from tests.backends.tensorrt.test_offline import check, image

pytestmark = pytest.mark.skipif(offline.available() is None, reason="TensorRT-RTX is not installed")


def test_dynamic_inputs_are_built_for_the_range_in_the_spec(tmp_path):
    graph = QdqGraph()
    x = graph.input("x", "batch", 32, 16, 16)
    graph.output(graph.conv(graph.qdq(x), "conv"))
    assert check(graph, tmp_path, ["conv"], x=["1..4", 32, 16, 16])["int8"] == ["conv"]
    assert check(graph, tmp_path, ["conv"], x=[2, 32, 16, 16])["int8"] == ["conv"]
    with pytest.raises(ModelError, match="open"):
        check(graph, tmp_path, ["conv"], x=["1..4", 32])


def test_a_graph_that_cannot_be_built_carries_the_builders_sentence(tmp_path):
    graph = QdqGraph()
    x, y = graph.input("x", "batch", 8), graph.input("y", "batch", 8)
    graph.output(graph.op("Add", [x, y], "sum"))
    with pytest.raises(ToolchainError, match=r"cannot build the graph for SM86: .*contradictory"):
        check(graph, tmp_path, [], x=["1..4", 8], y=["5..6", 8])


@pytest.mark.parametrize(("asked", "built"), [("8.6", "SM86"), ("8.7", "SM86"), ("9.0", "SM89"), ("12.0", "SM120")])
def test_a_capability_without_a_target_is_built_for_the_next_lower(tmp_path, asked, built):
    graph, x = image()
    graph.output(graph.conv(graph.qdq(x), "conv"))
    found = check(graph, tmp_path, ["conv"], asked)
    assert found["sm"] == built and found["int8"] == ["conv"]


def test_a_capability_below_all_targets_is_an_error(tmp_path):
    graph, x = image()
    graph.output(graph.conv(graph.qdq(x), "conv"))
    with pytest.raises(ToolchainError, match=r"compute capability 7\.5 and later; asked for 7\.2"):
        check(graph, tmp_path, ["conv"], "7.2")


def test_a_refusal_names_the_node_and_carries_the_parsers_sentence(tmp_path):
    graph, x = image()
    graph.output(graph.op("Relu", [graph.qdq(x)], "relu"))
    model = graph.model()
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".zero"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.int8), tensor.name))
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match=r"[Zz]ero point") as caught:
        offline.check_offline(str(tmp_path / "bad.onnx"), graph.spec(), "8.6", [])
    assert "QuantizeLinear node 'x." in caught.value.where and "bad.onnx" in caught.value.where


def test_an_operator_that_is_unknown_is_named(tmp_path):
    graph, x = image()
    graph.output(graph.op("MatMulInteger", [x, x], "product"))
    with pytest.raises(ModelError, match="parser refused the graph: UNSUPPORTED_NODE") as caught:
        check(graph, tmp_path, [])
    assert "MatMulInteger node 'product'" in caught.value.where


def test_a_file_that_is_no_onnx_is_a_model_error(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="parser refused"):
        offline.check_offline(str(tmp_path / "junk.onnx"), {"inputs": [], "outputs": []}, "8.6", [])


def test_an_operator_that_needs_a_plugin_is_refused_by_rtx_which_has_none(tmp_path):
    graph, x = image()
    graph.output(graph.op("NonZero", [x], "where"))
    with pytest.raises(ModelError, match=r"plugin .* not found"):
        check(graph, tmp_path, [])
