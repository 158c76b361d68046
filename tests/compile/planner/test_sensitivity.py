"""Where the accuracy goes: one unit at a time, from kept tensors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefuse.backends.onnxruntime import open_graph, open_session
from edgefuse.check import make_judge
from edgefuse.compile.planner.sensitivity import MAX_BLOCKS, Probe, block_units, part_units
from edgefuse.golden import GoldenSample
from edgefuse.quantize import Quantizer, Treatment
from edgefuse.recipe import Accuracy
from edgefuse.spec import ModelSpec, TensorSpec

SPEC = ModelSpec((TensorSpec("x", (1, 16)), TensorSpec("y", (1, 16))), ("left", "both"))
PARTS = {"x0": "x", "x1": "x", "y0": "y", "top": "trunk"}


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """Two layers on ``x``, one on ``y`` (calibrated with an outlier), one on their sum; ``left`` hangs on x alone."""
    path, random = tmp_path_factory.mktemp("units") / "float.onnx", np.random.default_rng(0)
    weights = [numpy_helper.from_array(random.normal(size=(16, 16)).astype(np.float32), f"w{i}") for i in range(4)]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="x0"),
        helper.make_node("MatMul", ["a", "w1"], ["left"], name="x1"),
        helper.make_node("MatMul", ["y", "w2"], ["b"], name="y0"),
        helper.make_node("Add", ["left", "b"], ["c"], name="add"),
        helper.make_node("MatMul", ["c", "w3"], ["both"], name="top"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 16)) for name in ("x", "y", "left", "both")]
    graph = helper.make_graph(nodes, "units", values[:2], values[2:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    feeds = [{n: random.normal(size=(1, 16)).astype(np.float32) for n in ("x", "y")} for _ in range(12)]
    strange = {**feeds[0], "y": feeds[0]["y"] * 100}
    runner = open_graph(path, SPEC)
    samples = [GoldenSample(feed, runner(feed), None, None) for feed in feeds]
    return path, Quantizer(path, [*feeds, strange]), samples


def losses(probed):
    _, quantizer, samples = probed
    units = part_units(quantizer.weighted(), {"x0": 256}, PARTS)
    probe = Probe(quantizer, units, samples, make_judge(Accuracy(), None, SPEC.outputs))
    return {unit.name: probe.loss(unit, Treatment()) for unit in units}


def test_the_part_with_an_outlier_loses_most(probed):
    found = losses(probed)
    assert list(found) == ["x", "y", "trunk"]
    assert found["y"].sqnr_db < found["x"].sqnr_db - 6


def test_running_on_from_kept_tensors_equals_quantizing_the_unit_in_the_whole_graph(probed):
    _, quantizer, samples = probed
    found = losses(probed)["trunk"]
    model = quantizer.model(Treatment(floats=frozenset({"x0", "x1", "y0"})))
    session = open_session(model.SerializeToString(), emulate=True)
    wrong = [session.run(["both"], sample.feed)[0] - sample.reference["both"] for sample in samples]
    signal = sum(float((sample.reference["both"].astype(np.float64) ** 2).sum()) for sample in samples)
    plain = 10 * np.log10(signal / sum(float((item.astype(np.float64) ** 2).sum()) for item in wrong))
    assert found.sqnr_db <= plain + 1e-6 and found.sqnr_db == pytest.approx(plain, abs=1.5)  # mean-free is lower


def test_outputs_that_a_unit_does_not_reach_are_exact(probed):
    _, quantizer, samples = probed
    units = part_units(quantizer.weighted(), {}, PARTS)
    probe = Probe(quantizer, units, samples, make_judge(Accuracy(), None, SPEC.outputs))
    runner = probe._behind(quantizer.model(Treatment(frozenset({"x0", "x1", "top"}))), units[1])
    assert (runner(samples[0].feed)["left"] == samples[0].reference["left"]).all()


def test_blocks_are_few_and_the_first_and_the_last_operation_stand_alone(probed):
    _, quantizer, _ = probed
    candidates = [item for item in quantizer.weighted() for _ in range(1)]
    blocks = block_units(candidates, {}, PARTS)
    assert [unit.name for unit in blocks] == ["x/1", "x/2", "y/1", "trunk/1"]
    assert len(blocks) <= 3 * MAX_BLOCKS


def test_the_same_treatment_gives_the_same_graph_bit_for_bit(probed, tmp_path):
    path, _, samples = probed
    for name in ("one", "two"):
        Quantizer(path, [sample.feed for sample in samples]).write(tmp_path / name, Treatment(frozenset({"x0"})))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
