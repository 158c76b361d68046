"""The check without a GPU, with the real TensorRT-RTX: INT8 is proven for each operation, and a fall back is seen.

What TensorRT-RTX 1.7.1.116 runs in INT8 was found with these graphs; a release that answers otherwise changes what the
quantizer should do, and fails here.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgefuse import child
from edgefuse.backends.tensorrt import offline
from tests.backends.tensorrt.qdq_graphs import QdqGraph

OFFLINE = "edgefuse.backends.tensorrt.offline"
pytestmark = pytest.mark.skipif(offline.available() is None, reason="TensorRT-RTX is not installed")


def check(graph: QdqGraph, tmp_path, expected, capability="8.6", **ranges):
    return offline.check_offline(str(graph.save(tmp_path)), graph.spec(**ranges), capability, expected)


def image(channels: int = 32, size: int = 16) -> tuple[QdqGraph, str]:
    graph = QdqGraph()
    return graph, graph.input("x", 1, channels, size, size)


def test_a_child_process_answers_in_json(tmp_path):
    graph, x = image()
    graph.output(graph.conv(graph.qdq(x), "conv"))
    arguments = {
        "onnx_path": str(graph.save(tmp_path)),
        "spec": graph.spec(),
        "compute_capability": "8.6",
        "expected_int8": ["conv"],
    }
    found = child.call(f"{OFFLINE}:check_offline", arguments, what="TensorRT-RTX", timeout_s=120)
    assert (found["tool"], found["sm"], found["int8"]) == ("TensorRT-RTX", "SM86", ["conv"])
    assert found["version"] == child.call(f"{OFFLINE}:available", {}, what="TensorRT-RTX")
    assert found["plan_bytes"] > 10_000 and 0 < found["seconds"] < 60
    kernel = next(item for item in found["kernels"] if item["kind"] == "correlation")
    assert (kernel["inputs"], kernel["output"]) == (["Int8", "Int8"], "Float") and "conv" in kernel["nodes"]


CONVS = {
    "plain": {},
    "1x1": {"kernel": 1},
    "one input channel": {"cin": 1, "cout": 16},
    "three input channels": {"cin": 3, "cout": 32, "kernel": 7},
    "odd channels": {"cin": 17, "cout": 33},
    "strided": {"strides": [2, 2]},
    "grouped": {"group": 4},
    "depthwise": {"group": 32},
}


@pytest.mark.parametrize("given", CONVS.values(), ids=CONVS.keys())
def test_convolutions_run_in_int8(tmp_path, given):
    graph, x = image(given.get("cin", 32))
    graph.output(graph.op("Relu", [graph.conv(graph.qdq(x), "conv", **given)], "relu"))
    assert check(graph, tmp_path, ["conv"])["int8"] == ["conv"]


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize(("batch", "rows", "columns"), [(1, 64, 64), (1, 7, 5), (16, 64, 10), (1, 8192, 1)])
def test_gemms_run_in_int8_also_for_one_row(tmp_path, batch, rows, columns, trans_b):
    graph = QdqGraph()
    x = graph.input("x", batch, rows)
    graph.output(graph.gemm(graph.qdq(x), "gemm", rows, columns, trans_b))
    assert check(graph, tmp_path, ["gemm"])["int8"] == ["gemm"]


@pytest.mark.parametrize("shape", [(16, 64), (1, 16, 64), (4, 16, 64), (1, 1, 64)], ids=str)
def test_matrix_products_run_in_int8(tmp_path, shape):
    graph = QdqGraph()
    graph.output(graph.matmul(graph.qdq(graph.input("x", *shape)), "product", 64, 32))
    assert check(graph, tmp_path, ["product"])["int8"] == ["product"]


def test_a_residual_block_runs_in_int8(tmp_path):
    graph, x = image()
    first = graph.op("Relu", [graph.conv(graph.qdq(x), "conv0")], "relu0")
    skip = graph.qdq(first)
    inner = graph.op("Relu", [graph.conv(skip, "conv1")], "relu1")
    total = graph.op("Add", [graph.conv(graph.qdq(inner), "conv2"), skip], "add")
    graph.output(graph.op("Relu", [total], "relu2"))
    assert check(graph, tmp_path, ["conv0", "conv1", "conv2"])["int8"] == ["conv0", "conv1", "conv2"]


def test_products_of_one_input_that_become_one_kernel_are_all_found(tmp_path):
    graph = QdqGraph()
    x = graph.qdq(graph.input("x", 16, 64))
    names = ["query", "key", "value"]
    graph.output(*[graph.matmul(x, name, 64, 64) for name in names])
    found = check(graph, tmp_path, names)
    assert found["int8"] == names
    assert sum(kernel["kind"] == "gemm" for kernel in found["kernels"]) == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_transposed_convolutions_never_run_in_int8(tmp_path, axis):
    graph, x = image(size=8)
    weights = graph.weights("up.w", (32, 32, 4, 4), axis)
    graph.output(graph.op("ConvTranspose", [graph.qdq(x), weights], "up", strides=[2, 2]))
    assert check(graph, tmp_path, ["up"])["fallback"] == [{"node": "up", "ran_as": "Float"}]


def wrong(kind: str) -> QdqGraph:
    """One operation that builds without a warning and multiplies in float."""
    graph, x = image()
    scales = np.full(32, 0.05)
    if kind == "conv, weight scales on the wrong axis":
        product = graph.conv(graph.qdq(x), "wrong", axis=1)
    elif kind == "conv, activation scale per channel":
        product = graph.conv(graph.qdq(x, scales, axis=1), "wrong")
    elif kind == "conv, activation scale of shape [1]":
        product = graph.conv(graph.qdq(x, [0.05]), "wrong")
    elif kind == "conv, activation only":
        product = graph.conv(graph.qdq(x), "wrong", axis=None)
    elif kind == "conv, weights only":
        product = graph.conv(x, "wrong")
    elif kind == "conv, a Relu after DQ":
        product = graph.conv(graph.op("Relu", [graph.qdq(x)], "relu"), "wrong")
    else:
        product = wrong_product(graph, kind)
    graph.output(product)
    return graph


def wrong_product(graph: QdqGraph, kind: str) -> str:
    rows = graph.input("rows", 1 if kind.startswith("gemv") else 16, 64)
    if kind.endswith("weight scales on the wrong axis"):
        return graph.gemm(graph.qdq(rows), "wrong", 64, 64, axis=1)
    if kind.endswith("activation scale per channel"):
        return graph.matmul(graph.qdq(rows, np.full(64, 0.05), axis=1), "wrong", 64, 64)
    if kind.endswith("activation only"):
        return graph.matmul(graph.qdq(rows), "wrong", 64, 64, axis=None)
    return graph.gemm(rows, "wrong", 64, 64)


WRONG = [
    "conv, weight scales on the wrong axis",
    "conv, activation scale per channel",
    "conv, activation scale of shape [1]",
    "conv, activation only",
    "conv, weights only",
    "conv, a Relu after DQ",
    *(
        f"{kind}, {what}"
        for kind in ("gemm", "gemv")
        for what in (
            "weight scales on the wrong axis",
            "activation scale per channel",
            "activation only",
            "weights only",
        )
    ),
]


@pytest.mark.parametrize("kind", WRONG)
def test_a_fall_back_to_float_cannot_be_missed(tmp_path, kind):
    found = check(wrong(kind), tmp_path, ["wrong"])
    assert found["int8"] == [] and found["unknown"] == []
    assert [item["node"] for item in found["fallback"]] == ["wrong"]
    assert found["fallback"][0]["ran_as"].startswith("Float")


def test_operations_of_equal_shape_are_told_apart(tmp_path):
    graph, x = image()
    rows = graph.input("rows", 16, 64)
    graph.output(
        graph.conv(graph.qdq(x), "conv.a"),
        graph.conv(x, "conv.b"),
        graph.conv(graph.qdq(x, 0.06), "conv.c"),
        graph.conv(graph.qdq(x), "conv.d", axis=1),
        graph.gemm(graph.qdq(rows), "gemm.a", 64, 64),
        graph.gemm(graph.qdq(rows), "gemm.b", 64, 64, axis=1),
        graph.gemm(rows, "gemm.c", 64, 64, axis=None),
        graph.gemm(graph.qdq(rows, 0.06), "gemm.d", 64, 64),
    )
    names = [f"{kind}.{letter}" for kind in ("conv", "gemm") for letter in "abcd"]
    found = check(graph, tmp_path, names)
    assert found["int8"] == ["conv.a", "conv.c", "gemm.a", "gemm.d"]
    assert [item["node"] for item in found["fallback"]] == ["conv.b", "conv.d", "gemm.b", "gemm.c"]


def test_two_nodes_of_one_name_are_judged_by_the_worse(tmp_path):
    graph, x = image()
    graph.output(graph.conv(graph.qdq(x), "good"), graph.conv(x, "bad"))
    model = graph.model()
    for node in model.graph.node:
        node.name = "twin" if node.op_type == "Conv" else node.name
    onnx.save(model, tmp_path / "twins.onnx")
    found = offline.check_offline(str(tmp_path / "twins.onnx"), graph.spec(), "8.6", ["twin"])
    assert found["fallback"] == [{"node": "twin", "ran_as": "Float"}]


def test_a_node_that_no_kernel_names_is_unknown_and_not_fine(tmp_path):
    graph, x = image()
    graph.output(graph.conv(graph.qdq(x), "conv"))
    assert check(graph, tmp_path, ["conv", "elsewhere"])["unknown"] == ["elsewhere"]
