from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from export_models import tensor
from onnx import numpy_helper

from edgefuse.errors import ModelError
from edgefuse.export import load_source
from edgefuse.recipe import Recipe
from edgefuse.spec import DimRange

MakeRecipe = Callable[..., Recipe]
Parity = Callable[..., onnx.ModelProto]


def save(tmp_path: Path, body: str, opset: int = 17, domains: str = "", **keys: Any) -> Path:
    header = f'<ir_version: 8, opset_import: ["": {opset}{domains}]>\n'
    onnx.save(onnx.parser.parse_model(header + body), tmp_path / "model.onnx", **keys)
    return tmp_path / "model.onnx"


def test_open_batch_becomes_one_with_a_note(files: dict[str, Path], recipe: MakeRecipe, parity: Parity) -> None:
    source = load_source(files["onnx"], recipe())
    model = parity(source, exporter="onnx")
    assert [spec.shape for spec in source.spec.inputs] == [(1, 4), (1, 4)]
    assert source.notes == ("The batch dimension (N) is open in the model; it is taken as 1.",)
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_recipe_sets_the_open_batch_for_all_inputs_that_share_it(
    files: dict[str, Path], recipe: MakeRecipe, parity: Parity
) -> None:
    source = load_source(files["onnx"], recipe(tensor("imu", 3, 4)))
    parity(source, exporter="onnx")
    assert [spec.shape for spec in source.spec.inputs] == [(3, 4), (3, 4)]


def test_recipe_may_keep_a_range(files: dict[str, Path], recipe: MakeRecipe, parity: Parity) -> None:
    source = load_source(files["onnx"], recipe(tensor("image", DimRange(1, 4), 4)))
    feeds = [{name: np.ones((n, 4), np.float32) for name in ("image", "imu")} for n in (1, 4)]
    model = parity(source, exporter="onnx", feeds=feeds)
    dims = [value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input]
    assert dims[0], "still dynamic"
    assert len(set(dims)) == 1, "one name for what must be equal"


def test_open_length_needs_the_recipe(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(tmp_path, "net (float[1,T] imu) => (float[1,T] y) { y = Relu(imu) }")
    with pytest.raises(ModelError, match="not all of its sizes are known") as caught:
        load_source(path, recipe())
    assert "[inputs.imu]" in caught.value.hint
    parity(load_source(path, recipe(tensor("imu", 1, 50))), exporter="onnx")


def test_opset_stays_as_it_is(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(tmp_path, "net (float[1,4] x) => (float[1,4] y) { y = Relu(x) }", opset=15)
    model = parity(load_source(path, recipe()), exporter="onnx")
    assert model.opset_import[0].version == 15


def test_opset_11_is_raised_with_a_note_and_older_ones_are_refused(
    recipe: MakeRecipe, parity: Parity, tmp_path: Path
) -> None:
    body = "net (float[2,4] x) => (float[2,4] y) { y = Softmax<axis = 1>(x) }"
    source = load_source(save(tmp_path, body, opset=11), recipe())
    parity(source, exporter="onnx")
    assert source.notes == ("Opset 11 was raised to 13.",)
    with pytest.raises(ModelError, match="opset 9") as caught:
        load_source(save(tmp_path, body, opset=9), recipe())
    assert "opset 18" in caught.value.hint


def external(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>\n'
        "net (float[1,64] x) => (float[1,64] y) <float[64] w> { y = Add(x, w) }"
    )
    model.graph.initializer.append(numpy_helper.from_array(np.arange(64, dtype=np.float32), "w"))
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    return tmp_path / "model.onnx"


def test_external_weights_come_inside(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    model = parity(load_source(external(tmp_path / "in"), recipe()), exporter="onnx")
    assert model.graph.initializer[0].data_location != onnx.TensorProto.EXTERNAL


def test_missing_external_file_is_named(recipe: MakeRecipe, tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"missing: 'w\.bin'") as caught:
        load_source(path, recipe())
    assert "beside model.onnx" in caught.value.hint


REFUSED = {
    "random": (
        "net (float[1,4] x) => (float[1,4] y) { r = RandomNormalLike(x) y = Add(x, r) }",
        "random operator (RandomNormalLike)",
        "dropout",
    ),
    "dropout": (
        "net (float[1,4] x) => (float[1,4] y) <bool t = {1}, float p = {0.5}> { y = Dropout(x, p, t) }",
        "random operator (Dropout)",
        "dropout",
    ),
    "nested random": (
        "net (float[1,4] x, bool b) => (float[1,4] y) { y = If (b) <then_branch = t () => "
        "(float[1,4] a) { a = RandomUniformLike(x) }, else_branch = e () => (float[1,4] c) "
        "{ c = Identity(x) }> }",
        "random operator (RandomUniformLike)",
        "dropout",
    ),
    "custom": (
        "net (float[1,4] x) => (float[1,4] y) { y = com.rover.Magic(x) }",
        "Magic of the domain 'com.rover'",
        "without it",
    ),
    "sequence": (
        "net (seq(float[1,4]) x) => (float[1,4] y) { y = ConcatFromSequence<axis = 0>(x) }",
        "is a sequence",
        "",
    ),
    "string": ("net (string[1] x) => (string[1] y) { y = Identity(x) }", "has dtype", "float32"),
    "invalid": (
        "net (float[1,4] x) => (float[1,4] y) { y = Relu(z) }",
        "not a valid ONNX model",
        "check_model",
    ),
    "no inputs": ("net () => (float[1] y) { y = Constant<value_floats = [1.0]>() }", "has no inputs", ""),
    "wrong shapes": ("net (float[1,4] x, float[1,3] z) => (float y) { y = MatMul(x, z) }", "onnxruntime", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_graph_that_cannot_be_deployed_is_refused_by_name(recipe: MakeRecipe, tmp_path: Path, name: str) -> None:
    body, what, hint = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        load_source(save(tmp_path, body, domains=', "com.rover": 1' if name == "custom" else ""), recipe())
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert caught.value.where.startswith(str(tmp_path))


def test_quantized_model_is_noted_and_kept(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    body = """net (float[1,4] x) => (float[1,4] y) <float s = {0.1}, int8 z = {0}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"""
    source = load_source(save(tmp_path, body), recipe())
    model = parity(source, exporter="onnx")
    assert any("quantized already" in note for note in source.notes)
    assert [node.op_type for node in model.graph.node] == ["QuantizeLinear", "DequantizeLinear"]


def test_input_that_is_also_an_output_gets_a_second_name(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(tmp_path, "net (float[1,4] x) => (float[1,4] x, float[1,4] y) { y = Relu(x) }")
    source = load_source(path, recipe())
    assert source.spec.outputs == ("x_output", "y")
    parity(source, exporter="onnx")


def test_model_functions_are_inlined(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    body = """net (float[1,4] x) => (float[1,4] y) { y = local.twice(x) }
    <opset_import: ["": 17], domain: "local"> twice (a) => (b) { b = Add(a, a) }"""
    model = parity(load_source(save(tmp_path, body, domains=', "local": 1'), recipe()), exporter="onnx")
    assert [node.op_type for node in model.graph.node] == ["Add"]


def test_unknown_recipe_input_names_the_nearest(files: dict[str, Path], recipe: MakeRecipe) -> None:
    with pytest.raises(ModelError, match="no input 'imag'") as caught:
        load_source(files["onnx"], recipe(tensor("imag", 1, 4)))
    assert "'image'" in caught.value.hint


def test_inputs_that_share_a_dimension_have_one_range_for_it(tmp_path: Path, recipe: MakeRecipe) -> None:
    path = save(tmp_path, "g (float[n, 4] x, float[n, 4] s) => (float[n, 4] y) { y = Add(x, s) }")
    with pytest.raises(ModelError, match=r"'x' and 's' share the dimension 'n', which is 1\.\.8 in one and 1 in the"):
        load_source(path, recipe(tensor("x", DimRange(1, 8), 4), tensor("s", 1, 4)))
