"""Batch normalization goes into the convolution, also into one that two sensors share."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefuse.backends.onnxruntime import open_session
from edgefuse.export.batchnorm import fold_batchnorm


def shared_backbone(read_twice: bool = False) -> onnx.ModelProto:
    """Two images through one convolution and one normalization each (the same parameters), then their sum."""
    random = np.random.default_rng(0)
    values = {
        "w": random.normal(size=(4, 3, 3, 3)),
        "scale": random.uniform(0.5, 2, 4),
        "shift": random.normal(size=4),
        "mean": random.normal(size=4),
        "variance": random.uniform(0.5, 2, 4),
    }
    nodes = []
    for side in ("left", "right"):
        nodes.append(helper.make_node("Conv", [side, "w"], [f"{side}_c"], name=f"{side}.conv", pads=[1, 1, 1, 1]))
        inputs = [f"{side}_c", "scale", "shift", "mean", "variance"]
        nodes.append(helper.make_node("BatchNormalization", inputs, [f"{side}_n"], name=f"{side}.bn", epsilon=1e-3))
    nodes.append(helper.make_node("Add", ["left_n", "right_n"], ["y" if not read_twice else "z"], name="add"))
    if read_twice:
        nodes.append(helper.make_node("Add", ["z", "left_c"], ["y"], name="again"))
    images = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in ("left", "right")]
    graph = helper.make_graph(
        nodes,
        "shared",
        images,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 8, 8))],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(("read_twice", "folded"), [(False, 2), (True, 1)])
def test_normalizations_go_and_answers_stay(read_twice, folded):
    before = shared_backbone(read_twice)
    model = ir.from_proto(before)
    assert fold_batchnorm(model) == folded
    after = ir.to_proto(model)
    onnx.checker.check_model(after)
    assert sum(node.op_type == "BatchNormalization" for node in after.graph.node) == 2 - folded
    random = np.random.default_rng(1)
    feed = {name: random.normal(size=(1, 3, 8, 8)).astype(np.float32) for name in ("left", "right")}
    old, new = (open_session(item.SerializeToString()).run(["y"], feed)[0] for item in (before, after))
    assert np.allclose(old, new, atol=1e-5)


def test_what_was_shared_stays_shared():
    model = ir.from_proto(shared_backbone())
    fold_batchnorm(model)
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    assert len(convolutions) == 2 and convolutions[0].inputs[1] is convolutions[1].inputs[1]
    assert [node.name for node in convolutions] == ["left.conv", "right.conv"]
