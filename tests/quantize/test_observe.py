"""How far the ranges had settled when half of the samples had been seen."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefuse.quantize.observe import observe_ranges, settled_text


@pytest.fixture
def double():
    """``y`` = ``x`` + ``x``, (1, 2) float32."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def grown(model: onnx.ModelProto, peaks):
    growth = {}
    feeds = ({"x": np.array([[-1.0, peak]], np.float32)} for peak in peaks)
    ranges = observe_ranges(model, ["x", "y"], feeds, growth=growth)
    assert (ranges["y"].low, ranges["y"].high) == (-2.0, 2 * max(peaks))
    return growth


def test_growth_is_the_share_of_the_width_that_only_the_second_half_has_shown(double):
    assert grown(double, [1, 1, 3, 1]) == {"x": 0.5, "y": 0.5}
    assert grown(double, [3, 1, 1, 1, 1]) == {"x": 0.0, "y": 0.0}
    assert grown(double, [1, 3, 2, 1]) == {"x": 0.0, "y": 0.0}


def test_it_is_told_in_percent_of_the_tensors():
    text = settled_text({"a": 0.0, "b": 0.009, "c": 0.02, "d": 0.5})
    assert text == "ranges of 50% of the tensors moved by less than 1% over the last half of the samples"
