from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from export_models import FUSION_INPUTS, Fusion, tensor

from edgefuse.errors import ModelError, RecipeError
from edgefuse.export import load_source
from edgefuse.recipe import Accuracy, Recipe

MakeRecipe = Callable[..., Recipe]
Parity = Callable[..., onnx.ModelProto]


def test_weights_and_factory_export_with_parity(files: dict[str, Path], recipe: MakeRecipe, parity: Parity) -> None:
    source = load_source(files["state-dict"], recipe(*FUSION_INPUTS, factory="factory.py:build"))
    model = parity(source)
    assert (source.kind, source.spec.outputs, source.notes) == ("state-dict", ("logits", "seen"), ())
    assert source.spec.inputs == FUSION_INPUTS
    assert "head.0.weight" in {tensor.name for tensor in model.graph.initializer}, "weights keep the user's names"
    assert [node.op_type for node in model.graph.node].count("LSTM") == 2
    assert not any(node.metadata_props for node in model.graph.node), "stack traces tell the author's folders"


def test_every_lstm_weight_is_a_constant(files: dict[str, Path], recipe: MakeRecipe, parity: Parity) -> None:
    model = parity(load_source(files["state-dict"], recipe(*FUSION_INPUTS, factory="factory.py:build")))
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "LSTM":
            assert set(node.input[1:]) - {""} <= constants


def test_missing_factory_shows_the_lines_to_write(files: dict[str, Path], recipe: MakeRecipe) -> None:
    with pytest.raises(ModelError, match="without the model's code") as caught:
        load_source(files["state-dict"], recipe(*FUSION_INPUTS))
    assert 'factory = "model.py:build"' in caught.value.hint


@pytest.mark.parametrize(
    ("factory", "what", "hint"),
    [
        ("nowhere.py:build", "does not exist", "relative to the recipe"),
        ("factory.py:bild", "there is no function 'bild'", "'build'"),
        ("factory.py:fail", "RuntimeError: no such dataset", ""),
        ("factory.py:number", "returned a int", ""),
    ],
)
def test_factory_that_does_not_work_is_explained(
    files: dict[str, Path], recipe: MakeRecipe, factory: str, what: str, hint: str
) -> None:
    with pytest.raises(ModelError) as caught:
        load_source(files["state-dict"], recipe(*FUSION_INPUTS, factory=factory))
    assert what in caught.value.what
    assert hint in caught.value.hint
    if factory.endswith(":fail"):
        assert caught.value.where.endswith("factory.py:8"), "the user's own line"


def test_factory_with_a_syntax_error_names_its_line(files: dict[str, Path], recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def build(:\n    pass\n")
    with pytest.raises(ModelError, match="not valid Python") as caught:
        load_source(files["state-dict"], recipe(*FUSION_INPUTS, factory="broken.py:build", folder=tmp_path))
    assert caught.value.where.endswith("broken.py:1")


def test_factory_may_lie_in_another_folder_and_import_its_neighbours(
    files: dict[str, Path], recipe: MakeRecipe, tmp_path: Path
) -> None:
    for folder in ("model", "recipe"):
        (tmp_path / folder).mkdir()
    (tmp_path / "model" / "beside.py").write_text("from export_models import Fusion as Net\n")
    (tmp_path / "model" / "net.py").write_text("from beside import Net\ndef build():\n    return Net()\n")
    folder = tmp_path / "recipe"
    source = load_source(files["state-dict"], recipe(*FUSION_INPUTS, factory="../model/net.py:build", folder=folder))
    assert source.spec.outputs == ("logits", "seen")


def saved(tmp_path: Path, value: Any) -> Path:
    torch.save(value, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def test_mismatched_weights_give_one_error_with_names(recipe: MakeRecipe, tmp_path: Path) -> None:
    weights = Fusion().state_dict()
    weights["head.0.weigth"] = weights.pop("head.0.weight")
    weights["image.0.bias"] = torch.zeros(7)
    with pytest.raises(ModelError, match="do not fit") as caught:
        load_source(saved(tmp_path, weights), recipe(*FUSION_INPUTS, factory="factory.py:build"))
    assert "Missing from the file: head.0.weight" in caught.value.hint
    assert "Did you mean 'head.0.weight'?" in caught.value.hint
    assert "image.0.bias is 7 in the file and 4 in the module" in caught.value.hint


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_checkpoint_with_an_obvious_key_is_accepted_with_a_note(recipe: MakeRecipe, tmp_path: Path, key: str) -> None:
    path = saved(tmp_path, {key: Fusion().state_dict(), "epoch": 3})
    source = load_source(path, recipe(*FUSION_INPUTS, factory="factory.py:build"))
    assert any(repr(key) in note for note in source.notes)


def test_checkpoint_with_another_key_is_refused_by_name(recipe: MakeRecipe, tmp_path: Path) -> None:
    path = saved(tmp_path, {"generator": Fusion().state_dict(), "epoch": 3})
    with pytest.raises(ModelError, match="checkpoint") as caught:
        load_source(path, recipe(*FUSION_INPUTS, factory="factory.py:build"))
    assert "'generator'" in caught.value.hint


def test_prefix_of_data_parallel_is_dropped_with_a_note(recipe: MakeRecipe, tmp_path: Path) -> None:
    weights = {f"module.{name}": value for name, value in Fusion().state_dict().items()}
    source = load_source(saved(tmp_path, weights), recipe(*FUSION_INPUTS, factory="factory.py:build"))
    assert any("'module.'" in note for note in source.notes)


def test_a_lone_tensor_is_not_a_state_dict(recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds a Tensor"):
        load_source(saved(tmp_path, torch.ones(3)), recipe(*FUSION_INPUTS, factory="factory.py:build"))


def test_recipe_without_inputs_is_told_what_to_write(files: dict[str, Path], recipe: MakeRecipe) -> None:
    with pytest.raises(ModelError) as caught:
        load_source(files["state-dict"], recipe(factory="factory.py:build"))
    assert "[inputs.image]" in caught.value.hint
    assert "--input imu:" in caught.value.hint


def test_shapes_that_the_model_does_not_take_point_at_the_users_line(
    files: dict[str, Path], recipe: MakeRecipe
) -> None:
    with pytest.raises(ModelError, match="forward failed on an example") as caught:
        load_source(
            files["state-dict"],
            recipe(tensor("image", 1, 4, 8, 8), FUSION_INPUTS[1], factory="factory.py:build"),
        )
    assert "export_models.py:" in caught.value.where


def test_metric_on_an_unknown_output_is_refused(files: dict[str, Path], recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match="no output 'logit'"):
        load_source(
            files["state-dict"],
            recipe(*FUSION_INPUTS, factory="factory.py:build", accuracy=Accuracy(output="logit")),
        )
