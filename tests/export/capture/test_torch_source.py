"""Modules in memory: how they are called, what they may return, and what no single graph can stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from export_models import (
    AlwaysDropout,
    Answer,
    Attention,
    Branches,
    ConstantOutput,
    Echo,
    Fails,
    FixedLength,
    Mixed,
    Noisy,
    PairwiseAdd,
    Recurrent,
    Remembers,
    Returns,
    TakesDict,
    TakesList,
    TracedBranch,
    Unrolls,
    Window,
    WritesInput,
    tensor,
)
from torch import nn

from edgefuse.errors import FeedError, ModelError
from edgefuse.export import Source
from edgefuse.export.capture.torch_source import module_source
from edgefuse.recipe import Recipe
from edgefuse.spec import DimRange, TensorSpec

MakeRecipe = Callable[..., Recipe]
Parity = Callable[..., onnx.ModelProto]
X = tensor("x", 1, 4)


@pytest.fixture
def load(recipe: MakeRecipe) -> Callable[..., Source]:
    def make(model: nn.Module, *inputs: TensorSpec) -> Source:
        return module_source("module", model.eval(), recipe(*inputs), "model.pt", ())

    return make


Load = Callable[..., Source]
SHAPES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "tensor": (lambda a, b: a, ("output",)),
    "tuple": (lambda a, b: (a, b), ("output_0", "output_1")),
    "list": (lambda a, b: [a], ("output_0",)),
    "dict": (lambda a, b: {"left": a, "right": b}, ("left", "right")),
    "dataclass": (lambda a, b: Answer(a, (a + 1, b)), ("velocity", "pose.0", "pose.1")),
    "nested": (
        lambda a, b: (a, {"b": b, "all": [a * 2, {"c": b * 2}]}),
        ("output_0", "output_1.b", "output_1.all.0", "output_1.all.1.c"),
    ),
    "named tuple": (lambda a, b: torch.max(a, dim=1), ("values", "indices")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_have_stable_names(load: Load, shape: str) -> None:
    make, names = SHAPES[shape]
    source = load(Returns(make), X)
    assert source.spec.outputs == names
    assert tuple(source.runner({"x": np.ones((1, 4), np.float32)})) == names


def test_nested_outputs_export_with_parity(load: Load, parity: Parity) -> None:
    parity(load(Returns(SHAPES["nested"][0]), X))


def test_none_is_left_out_with_a_note(load: Load, parity: Parity) -> None:
    source = load(Returns(lambda a, b: {"a": a, "loss": None}), X)
    assert source.spec.outputs == ("a",)
    assert source.notes == ("Output 'loss' is None and was left out.",)
    parity(source)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda a, b: {"a": a, "n": 3}, "output 'n' is a int"),
        (lambda a, b: SimpleNamespace(a=a), "is a SimpleNamespace"),
        (lambda a, b: {"a b": a}, "an output is called 'a b'"),
        (lambda a, b: {"a.b": a, "a": {"b": b}}, "two outputs are called 'a.b'"),
        (lambda a, b: a.to(torch.bfloat16), "dtype bfloat16"),
        (lambda a, b: None, "returns nothing"),
    ],
    ids=["number", "object", "blank", "twice", "bfloat16", "nothing"],
)
def test_what_cannot_be_an_output_is_refused(load: Load, make: Any, what: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(Returns(make), X)
    assert what in caught.value.what
    assert caught.value.hint


def test_output_named_as_an_input_gets_a_name_of_its_own(load: Load, parity: Parity) -> None:
    source = load(Echo(), tensor("image", 1, 4))
    assert source.spec.outputs == ("image_output", "a", "b")
    parity(source)


def test_parameters_are_matched_by_name_whatever_the_order(load: Load) -> None:
    source = load(PairwiseAdd(), tensor("imu", 1, 4), tensor("image", 1, 4))
    ones = np.ones((1, 4), np.float32)
    assert source.runner({"image": 5 * ones, "imu": ones})["output"][0, 0] == 3


def test_parameters_of_other_names_are_matched_by_order_with_a_note(load: Load, parity: Parity) -> None:
    source = load(PairwiseAdd(), tensor("camera", 1, 4), tensor("gyro", 1, 4))
    assert any("camera -> image, gyro -> imu" in note for note in source.notes)
    parity(source)


def test_a_mix_of_known_and_unknown_names_is_refused(load: Load) -> None:
    with pytest.raises(ModelError, match="forward takes image, imu; the inputs are image, imuu") as caught:
        load(PairwiseAdd(), tensor("image", 1, 4), tensor("imuu", 1, 4))
    assert "'imu'" in caught.value.hint


@pytest.mark.parametrize("model", [TakesDict(), TakesList()], ids=["dict", "list"])
def test_one_parameter_for_several_inputs_is_packed(load: Load, parity: Parity, model: nn.Module) -> None:
    source = load(model, tensor("image", 1, 4), tensor("imu", 1, 4))
    assert any("one parameter (batch)" in note for note in source.notes)
    parity(source)


def test_integer_bool_and_unused_inputs_stay(load: Load, parity: Parity) -> None:
    inputs = (tensor("ids", 1, 5, dtype="int64"), tensor("mask", 1, 5, dtype="bool"), tensor("spare", 2))
    source = load(Mixed(), *inputs)
    assert source.notes == ("Input 'spare' is not used by the model.",)
    model = parity(source)
    assert [value.name for value in model.graph.input] == ["ids", "mask", "spare"]


def test_output_that_depends_on_no_input_is_noted(load: Load, parity: Parity) -> None:
    source = load(ConstantOutput(), X)
    assert source.notes == ("Output 'output_1' does not depend on any input.",)
    parity(source)


@pytest.mark.parametrize(
    ("model", "what", "where"),
    [
        (Noisy(), "random operator rand_like", "export_models.py:"),
        (AlwaysDropout(), "random operator dropout", "export_models.py:"),
        (Remembers(), "keeps a state between calls: every call changes its buffer 'last'", "model.pt"),
        (WritesInput(), "changes its input 'x' in place", "model.pt"),
        (Fails(), "ValueError: expected a longer window", "export_models.py:"),
    ],
    ids=["random", "dropout", "state", "in place", "raises"],
)
def test_model_without_one_answer_is_refused(load: Load, model: nn.Module, what: str, where: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(model, X)
    assert what in caught.value.what
    assert where in caught.value.where
    assert caught.value.hint


def test_branch_by_value_is_refused_and_not_fixed_at_the_example(load: Load, tmp_path: Any) -> None:
    for model in (Branches(), TracedBranch()):
        source = load(model, X)
        with pytest.raises(ModelError, match="torch cannot export the model") as caught:
            source.export(tmp_path / "out.onnx")
        assert "export_models.py:" in caught.value.where
        assert "torch.where" in caught.value.hint
        log = caught.value.hint.rpartition(" ")[2]
        assert "Traceback" in Path(log).read_text()


def test_shared_dynamic_batch_stays_dynamic(load: Load, parity: Parity) -> None:
    batch = DimRange(1, 8)
    source = load(PairwiseAdd(), tensor("image", batch, 4), tensor("imu", batch, 4))
    parity(source, feeds=[{k: np.ones((n, 4), np.float32) for k in ("image", "imu")} for n in (1, 3, 8)])


def test_dynamic_length_of_an_lstm_goes_to_the_legacy_exporter(load: Load, parity: Parity) -> None:
    """torch 2.13 fixes it at the example's length without a word."""
    source = load(Window(), tensor("x", 1, DimRange(2, 9), 4))
    feeds = [{"x": np.random.default_rng(n).standard_normal((1, n, 4)).astype(np.float32)} for n in (2, 5, 9)]
    parity(source, exporter="torchscript-legacy", feeds=feeds)


def test_range_that_the_model_does_not_take_is_refused(load: Load) -> None:
    with pytest.raises(ModelError, match="forward failed on an example"):
        load(FixedLength(), tensor("x", 1, DimRange(6, 9)))


def test_range_that_no_exporter_keeps_is_refused(load: Load, tmp_path: Any) -> None:
    """torch.export fixes the length at the example's without a word, and tracing unrolls the loop."""
    source = load(Unrolls(), tensor("x", 1, DimRange(2, 9)))
    with pytest.raises(ModelError, match=r"dimension 1 fixed at 2; expected 2\.\.9") as caught:
        source.export(tmp_path / "out.onnx")
    assert "a number instead of the range" in caught.value.hint


def test_attention_exports_with_parity(load: Load, parity: Parity) -> None:
    parity(load(Attention(True, "gelu"), tensor("x", 1, 6, 8)))


def test_runner_checks_the_feed_and_gives_copies(load: Load) -> None:
    source = load(ConstantOutput(), X)
    with pytest.raises(FeedError, match="dtype float64"):
        source.runner({"x": np.zeros((1, 4))})
    feed = {"x": np.ones((1, 4), np.float32)}
    source.runner(feed)["output_0"][:] = 7
    assert source.runner(feed)["output_0"][0, 0] == 2


def test_export_prints_nothing(load: Load, tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    load(Recurrent(), tensor("x", 1, 6, 4)).export(tmp_path / "out.onnx")
    assert capfd.readouterr() == ("", "")
