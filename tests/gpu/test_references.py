"""The committed references are what ``make_references`` would write now; needs onnxruntime and no GPU."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgefuse.backends.onnxruntime import open_graph
from edgefuse.backends.tensorrt import offline
from tests.gpu.references import onnx_path, samples, spec, sqnr_db

NAMES = ("float", "fp16", "int8", "dynamic", "integers")


@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_still_gives_the_committed_answers(name):
    """Within 90 dB, the noise of another order of summation; FP16's references are the float model's answers."""
    pairs = samples(name)
    runner = open_graph(onnx_path(name), spec(name), emulate=True)
    found = [runner(feed) for feed, _ in pairs]
    for output in spec(name).outputs:
        least = 45 if name == "fp16" else 90
        assert sqnr_db([answer[output] for _, answer in pairs], [item[output] for item in found]) > least


def test_int8_is_close_to_float_so_that_its_test_means_something():
    expected, found = samples("float"), samples("int8")
    assert all(np.array_equal(a["image"], b["image"]) for (a, _), (b, _) in zip(expected, found))
    assert 15 < sqnr_db([a["velocity"] for _, a in expected], [b["velocity"] for _, b in found]) < 60


@pytest.mark.skipif(offline.available() is None, reason="TensorRT-RTX is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_nvidias_builder_takes_every_reference(name):
    products = ["stem", "block.a", "block.b", "imu.a", "imu.b"] if name == "int8" else []
    found = offline.check_offline(str(onnx_path(name)), spec(name).to_json(), "8.6", products)
    assert found["int8"] == products
