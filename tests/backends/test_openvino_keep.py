"""Inputs that nobody writes to are not copied twice into OpenVINO's buffers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgefuse.backends import Settings, openvino
from tests.partition.graphs import build, node


@pytest.fixture
def runner(tmp_path):
    model, spec = build([node("Sub", "a b", "y")], {"a": (1, 3), "b": (1, 3)}, ["y"])
    onnx.save(model, tmp_path / "model.onnx")
    openvino.compile(tmp_path / "model.onnx", tmp_path, spec, Settings())
    opened = openvino.open(tmp_path, spec, Settings())
    yield opened
    opened.close()


def row(*numbers):
    return np.array([numbers], np.float32)


def test_a_kept_input_is_copied_when_it_is_another_array_and_only_then(runner):
    runner.keep({"a", "unknown"})
    first, second, b = row(1, 2, 3), row(7, 8, 9), row(1, 1, 1)
    assert runner({"a": first, "b": b})["y"].tolist() == [[0, 1, 2]]
    first[:] = 100  # against the promise: it shows that nothing was copied
    assert runner({"a": first, "b": b})["y"].tolist() == [[0, 1, 2]]
    assert runner({"a": second, "b": b})["y"].tolist() == [[6, 7, 8]]
    assert runner({"a": first, "b": b})["y"].tolist() == [[99, 99, 99]]
    b[:] = 0
    assert runner({"a": first, "b": b})["y"].tolist() == [[100, 100, 100]], "the others are copied each time"


def test_a_copy_that_was_interrupted_is_made_again(runner):
    runner.keep({"a"})
    first, b = row(1, 2, 3), row(0, 0, 0)
    runner({"a": first, "b": b})
    with pytest.raises(ValueError, match="broadcast"):
        runner({"a": np.zeros((1, 5), np.float32), "b": b})  # stands for Ctrl-C within the copy
    assert runner({"a": first, "b": b})["y"].tolist() == [[1, 2, 3]]
    assert runner._there["a"] is first
