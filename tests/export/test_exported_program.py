from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from export_models import FUSION_INPUTS, Attention, Mixed, Noisy, PairwiseAdd, Remembers, TakesDict, tensor
from torch import nn
from torch.export import Dim

from edgefuse.errors import ModelError, UntrustedError
from edgefuse.export import load_source
from edgefuse.recipe import Recipe
from edgefuse.spec import DimRange, TensorSpec

MakeRecipe = Callable[..., Recipe]
Parity = Callable[..., onnx.ModelProto]


def save(tmp_path: Path, model: nn.Module, *example: Any, **shapes: Any) -> Path:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(model, example, **shapes), path)
    return path


def test_file_describes_itself_without_a_recipe(files: dict[str, Path], recipe: MakeRecipe, parity: Parity) -> None:
    source = load_source(files["exported-program"], recipe())
    model = parity(source)
    assert source.spec.inputs == FUSION_INPUTS
    assert (source.spec.outputs, source.notes) == (("logits", "seen"), ())
    assert "head.0.weight" in {tensor.name for tensor in model.graph.initializer}


def test_recipe_adds_the_sensors(files: dict[str, Path], recipe: MakeRecipe) -> None:
    imu = TensorSpec("imu", (1, 5, 6), modality="imu", stream="body", rate_hz=200)
    assert load_source(files["exported-program"], recipe(imu)).spec.inputs == (FUSION_INPUTS[0], imu)


@pytest.mark.parametrize(
    ("wrong", "what", "hint"),
    [
        (tensor("imus", 1, 5, 6), "no input 'imus'", "'imu'"),
        (tensor("imu", 1, 9, 6), "1x5x6 in the model and 1x9x6 in the recipe", ""),
        (tensor("imu", 1, 5, 6, dtype="int64"), "float32 in the model and int64", 'dtype = "float32"'),
    ],
)
def test_recipe_that_disagrees_is_refused(
    files: dict[str, Path], recipe: MakeRecipe, wrong: TensorSpec, what: str, hint: str
) -> None:
    with pytest.raises(ModelError) as caught:
        load_source(files["exported-program"], recipe(wrong))
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_bounded_dimension_stays_dynamic(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    batch = {0: Dim("batch", min=2, max=6)}
    path = save(tmp_path, PairwiseAdd(), torch.ones(3, 4), torch.ones(3, 4), dynamic_shapes=(batch, batch))
    source = load_source(path, recipe())
    assert source.spec.inputs[0].shape == (DimRange(2, 6), 4)
    feeds = [{name: np.ones((n, 4), np.float32) for name in ("image", "imu")} for n in (2, 6)]
    model = parity(source, feeds=feeds)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_unbounded_batch_becomes_one_with_a_note(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    batch = {0: Dim("batch")}
    path = save(tmp_path, PairwiseAdd(), torch.ones(3, 4), torch.ones(3, 4), dynamic_shapes=(batch, batch))
    source = load_source(path, recipe())
    assert [spec.shape for spec in source.spec.inputs] == [(1, 4), (1, 4)]
    assert any("batch" in note and "taken as 1" in note for note in source.notes)
    model = parity(source)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_unbounded_length_needs_the_recipe(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    length = {1: Dim("length")}
    path = save(tmp_path, PairwiseAdd(), torch.ones(1, 4), torch.ones(1, 4), dynamic_shapes=(length, length))
    with pytest.raises(ModelError, match="not all of its sizes are known") as caught:
        load_source(path, recipe())
    assert "[inputs.image]" in caught.value.hint
    source = load_source(path, recipe(tensor("image", 1, DimRange(1, 9))))
    assert source.spec.inputs[0].shape == (1, DimRange(1, 9))
    parity(source, feeds=[{name: np.ones((1, n), np.float32) for name in ("image", "imu")} for n in (1, 9)])


def test_dict_argument_gives_its_keys(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(tmp_path, TakesDict(), {"image": torch.ones(1, 4), "imu": torch.ones(1, 4)})
    source = load_source(path, recipe())
    assert source.spec.names == ("image", "imu")
    parity(source)


def test_keyword_and_baked_arguments_work(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def forward(self, image: torch.Tensor, scale: float, *, imu: torch.Tensor) -> torch.Tensor:
            return image * scale - imu

    program = torch.export.export(Scaled(), (torch.ones(1, 4), 3.0), {"imu": torch.ones(1, 4)})
    torch.export.save(program, tmp_path / "model.pt2")
    source = load_source(tmp_path / "model.pt2", recipe())
    assert source.spec.names == ("image", "imu")
    parity(source)


def test_integer_bool_and_unused_inputs_stay(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(
        tmp_path,
        Mixed(),
        torch.zeros(1, 5, dtype=torch.int64),
        torch.ones(1, 5, dtype=torch.bool),
        torch.ones(2),
    )
    source = load_source(path, recipe())
    assert [spec.dtype for spec in source.spec.inputs] == ["int64", "bool", "float32"]
    assert any("'spare' is not used" in note for note in source.notes)
    parity(source)


def test_fused_attention_of_a_frozen_model_exports(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    model = Attention(norm_first=True, activation="gelu").eval().requires_grad_(False)
    parity(load_source(save(tmp_path, model, torch.randn(1, 6, 8)), recipe()))


@pytest.mark.parametrize(
    ("model", "what", "hint"),
    [
        (Noisy(), "random operator rand_like", "as an input"),
        (Remembers(), "changes its buffer 'last'", "input of forward"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train(), "random operator dropout", "model.eval()"),
        (nn.Sequential(nn.BatchNorm1d(4)).train(), "batch norm is in training mode", "model.eval()"),
    ],
    ids=["random", "state", "dropout", "batch norm"],
)
def test_program_without_one_answer_is_refused(
    recipe: MakeRecipe, tmp_path: Path, model: nn.Module, what: str, hint: str
) -> None:
    rows = 1 if isinstance(model, Remembers) else 3  # batch norm needs several in training mode
    with pytest.raises(ModelError) as caught:
        load_source(save(tmp_path, model, torch.randn(rows, 4)), recipe())
    assert what in caught.value.what
    assert hint in caught.value.hint


def tampered(source: Path, target: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith(member) else data)
    return target


def test_program_that_carries_code_needs_trust(files: dict[str, Path], recipe: MakeRecipe, tmp_path: Path) -> None:
    path = tampered(
        files["exported-program"],
        tmp_path / "evil.pt2",
        "/model.json",
        lambda data: data.replace(b"torch.ops.aten.flatten.using_ints", b"torch.hub.load"),
    )
    with pytest.raises(UntrustedError, match=r"torch\.hub\.load") as caught:
        load_source(path, recipe())
    assert "--trust" in caught.value.hint


def test_program_of_another_torch_is_explained(files: dict[str, Path], recipe: MakeRecipe, tmp_path: Path) -> None:
    path = tampered(
        files["exported-program"],
        tmp_path / "new.pt2",
        "/model.json",
        lambda data: data.replace(b'"schema_version": {"major": ', b'"schema_version": {"major": 9'),
    )
    with pytest.raises(ModelError, match="cannot load the program") as caught:
        load_source(path, recipe())
    assert "this version of torch" in caught.value.hint


def test_closed_runner_says_so(files: dict[str, Path], recipe: MakeRecipe) -> None:
    source = load_source(files["exported-program"], recipe())
    source.runner.close()
    source.runner.close()
    feed = {spec.name: np.zeros(spec.smallest(), np.float32) for spec in source.spec.inputs}
    with pytest.raises(ModelError, match="closed"):
        source.runner(feed)
