"""The shipped recipes: expected parts, and parts in a row equal the whole in float and INT8."""

from __future__ import annotations

import onnx
import pytest

from edgefuse.calibration import open_calibration
from edgefuse.export import load_source
from edgefuse.partition import split
from edgefuse.quantize import quantize_int8
from edgefuse.recipe import find_recipe, read_recipe
from tests.partition.graphs import names, open_parts, run, run_parts, same, session_of

EXPECTED = {
    "digits": ["camera", "microphone", "keyboard", "trunk"],
    "digits-early": ["trunk"],
    "digits-decision": ["camera", "microphone", "keyboard", "trunk"],
}


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def exported(request, tmp_path_factory):
    """Name, spec, samples, and the float and INT8 graphs by name of the scheme."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = read_recipe(find_recipe(request.param))
    source = load_source(recipe.model.path or recipe.model.weights, recipe)
    source.export(folder / "float.onnx")
    calibration = open_calibration(recipe.calibration, source.spec, recipe.accuracy.label)
    samples = list(calibration.calibrate.first(8).feeds())
    for scheme in ("openvino", "tensorrt"):
        quantize_int8(folder / "float.onnx", folder / f"{scheme}.onnx", samples, scheme)
    graphs = {name: onnx.load(folder / f"{name}.onnx") for name in ("float", "openvino", "tensorrt")}
    return request.param, source.spec, samples, graphs


@pytest.mark.parametrize("optimize", ["none", "all"])
@pytest.mark.parametrize("graph", ["float", "openvino", "tensorrt"])
def test_the_parts_of_a_recipe_are_the_expected_ones_and_equal_the_whole(exported, graph, optimize):
    name, spec, samples, graphs = exported
    found = split(graphs[graph], spec)
    assert names(found.partition) == EXPECTED[name]
    whole, sessions = session_of(graphs[graph], optimize), open_parts(found.models(), optimize)
    for feed in samples:
        got, wanted = run_parts(sessions, found.partition, feed), run(whole, feed, list(spec.outputs))
        assert all(same(got[output], wanted[output]) for output in spec.outputs)
