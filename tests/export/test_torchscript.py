from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from export_models import (
    FUSION_INPUTS,
    Attention,
    Branches,
    Convolutions,
    Fusion,
    MaskedAttention,
    Mixed,
    Noisy,
    PairwiseAdd,
    Recurrent,
    Remembers,
    Reshapes,
    TakesDict,
    TakesList,
    tensor,
)
from torch import nn

from edgefuse.errors import ModelError
from edgefuse.export import load_source
from edgefuse.recipe import Recipe
from edgefuse.spec import DimRange

MakeRecipe = Callable[..., Recipe]
Parity = Callable[..., onnx.ModelProto]


def save(tmp_path: Path, model: nn.Module, way: str, *example: Any, fast_path: bool = True) -> Path:
    """Saved as users do it, without gradients: a trace then holds torch's fused attention."""
    torch.backends.mha.set_fastpath_enabled(fast_path)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer, about torch's own layers
            if way == "traced":
                script = torch.jit.trace(model, example, check_trace=False, strict=False)
            else:
                script = torch.jit.script(model)
                script = torch.jit.freeze(script) if way == "frozen" else script
        script.save(str(tmp_path / "model.pt"))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return tmp_path / "model.pt"


def test_script_exports_with_parity_and_named_weights(
    files: dict[str, Path], recipe: MakeRecipe, parity: Parity
) -> None:
    source = load_source(files["torchscript"], recipe(*FUSION_INPUTS))
    model = parity(source)
    assert (source.kind, source.spec.outputs, source.notes) == ("torchscript", ("logits", "seen"), ())
    names = {tensor.name for tensor in model.graph.initializer}
    assert "head.0.weight" in names
    assert not any("_tensor_constant" in name for name in names)


def test_script_without_inputs_shows_what_to_write(files: dict[str, Path], recipe: MakeRecipe) -> None:
    with pytest.raises(ModelError, match="does not say what the model's inputs look like") as caught:
        load_source(files["torchscript"], recipe())
    assert "[inputs.image]" in caught.value.hint
    assert "--input image:" in caught.value.hint


def test_trace_of_convolutions_exports_with_parity(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    """A trace holds aten::_convolution, which no ONNX exporter takes from a captured graph."""
    path = save(tmp_path, Convolutions().eval(), "traced", torch.randn(1, 3, 8, 8))
    model = parity(load_source(path, recipe(tensor("x", 1, 3, 8, 8))))
    assert {"Conv", "ConvTranspose"} <= {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_recurrent_layers_stay_operators(recipe: MakeRecipe, parity: Parity, tmp_path: Path, way: str) -> None:
    path = save(tmp_path, Recurrent().eval(), way, torch.randn(1, 3, 4))
    model = parity(load_source(path, recipe(tensor("x", 1, 3, 4))))
    assert {"LSTM", "GRU"} <= {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(
    ("way", "norm_first", "activation"),
    [
        ("scripted", False, "relu"),
        ("traced", True, "gelu"),
        ("frozen", True, "relu"),
    ],
)
def test_attention_exports_with_parity(
    recipe: MakeRecipe, parity: Parity, tmp_path: Path, way: str, norm_first: bool, activation: str
) -> None:
    path = save(tmp_path, Attention(norm_first, activation).eval(), way, torch.randn(1, 6, 8))
    model = parity(load_source(path, recipe(tensor("x", 1, 6, 8))))
    assert "Softmax" in {node.op_type for node in model.graph.node}


PADDING = torch.tensor([[False] * 4 + [True] * 2])


def padded_feeds() -> list[dict[str, Any]]:
    window = np.random.default_rng(0).standard_normal((1, 6, 8)).astype(np.float32)
    return [{"x": window, "padding": np.arange(6)[None] >= kept} for kept in (2, 4, 6)]


@pytest.mark.parametrize(("way", "fast_path"), [("scripted", True), ("traced", False)])
def test_padding_mask_of_attention_is_kept(
    recipe: MakeRecipe, parity: Parity, tmp_path: Path, way: str, fast_path: bool
) -> None:
    path = save(tmp_path, MaskedAttention().eval(), way, torch.randn(1, 6, 8), PADDING, fast_path=fast_path)
    source = load_source(path, recipe(tensor("x", 1, 6, 8), tensor("padding", 1, 6, dtype="bool")))
    parity(source, feeds=padded_feeds())


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_arithmetic_on_sizes_is_no_obstacle(recipe: MakeRecipe, parity: Parity, tmp_path: Path, way: str) -> None:
    path = save(tmp_path, Reshapes().eval(), way, torch.randn(1, 6, 4))
    parity(load_source(path, recipe(tensor("x", 1, 6, 4))))


def test_script_that_decides_by_value_keeps_both_branches(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(tmp_path, Branches(), "scripted")
    source = load_source(path, recipe(tensor("x", 1, 4)))
    feeds = [{"x": np.full((1, 4), sign, np.float32)} for sign in (-1, 1)]
    model = parity(source, exporter="torchscript-legacy", feeds=feeds)
    assert "If" in {node.op_type for node in model.graph.node}


def test_dynamic_batch_goes_through_the_legacy_exporter(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(tmp_path, PairwiseAdd(), "scripted")
    batch = DimRange(1, 8)
    source = load_source(path, recipe(tensor("image", batch, 4), tensor("imu", batch, 4)))
    feeds = [{name: np.ones((n, 4), np.float32) for name in ("image", "imu")} for n in (1, 3, 8)]
    parity(source, exporter="torchscript-legacy", feeds=feeds)


def test_dynamic_batch_that_no_exporter_takes_is_refused_with_a_cure(
    files: dict[str, Path], recipe: MakeRecipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = DimRange(1, 8)
    source = load_source(files["torchscript"], recipe(tensor("image", batch, 3, 8, 8), tensor("imu", batch, 5, 6)))
    with pytest.raises(ModelError, match="fixed shapes only") as caught:
        source.export(tmp_path / "out.onnx")
    assert "a number instead of the range" in caught.value.hint
    assert capfd.readouterr() == ("", ""), "the legacy exporter prints its graph from C++"
    assert not list(tmp_path.glob("*")), "no half-written file stays"


@pytest.mark.parametrize("model", [TakesDict(), TakesList()], ids=["dict", "list"])
def test_one_packed_argument_gets_all_inputs(
    recipe: MakeRecipe, parity: Parity, tmp_path: Path, model: nn.Module
) -> None:
    source = load_source(save(tmp_path, model, "scripted"), recipe(tensor("image", 1, 4), tensor("imu", 1, 4)))
    assert any("one parameter (batch)" in note for note in source.notes)
    parity(source)


def test_inputs_may_come_in_another_order_than_forwards(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    path = save(tmp_path, PairwiseAdd(), "scripted")
    parity(load_source(path, recipe(tensor("imu", 1, 4), tensor("image", 1, 4))))


def test_integer_bool_and_unused_inputs_stay(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    inputs = (tensor("ids", 1, 5, dtype="int64"), tensor("mask", 1, 5, dtype="bool"), tensor("spare", 2))
    source = load_source(save(tmp_path, Mixed().eval(), "scripted"), recipe(*inputs))
    assert any("'spare' is not used" in note for note in source.notes)
    parity(source)


def test_script_in_training_mode_is_put_in_evaluation_mode(recipe: MakeRecipe, tmp_path: Path) -> None:
    path = save(tmp_path, Fusion().train(), "scripted")
    assert any("training mode" in note for note in load_source(path, recipe(*FUSION_INPUTS)).notes)


@pytest.mark.parametrize(
    ("model", "what"),
    [(Noisy(), "random operator rand_like"), (Remembers(), "changes its buffer 'last'")],
    ids=["random", "state"],
)
def test_script_without_one_answer_is_refused(recipe: MakeRecipe, tmp_path: Path, model: nn.Module, what: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_source(save(tmp_path, model, "scripted"), recipe(tensor("x", 1, 4)))
    assert what in caught.value.what


def test_wrong_shape_is_explained_in_one_sentence(files: dict[str, Path], recipe: MakeRecipe) -> None:
    with pytest.raises(ModelError, match="forward failed on an example") as caught:
        load_source(files["torchscript"], recipe(tensor("image", 1, 4, 8, 8), FUSION_INPUTS[1]))
    assert "\n" not in caught.value.what
    assert "TorchScript interpreter" not in caught.value.what
