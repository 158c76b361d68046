from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from export_models import FUSION_INPUTS, Fusion, tensor

from edgefuse.errors import ModelError, UntrustedError
from edgefuse.export import load_source
from edgefuse.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
Parity = Callable[..., onnx.ModelProto]


class Bomb:
    """Leaves a trace on disk when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_pickle_is_refused_without_trust_and_runs_nothing(recipe: MakeRecipe, tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(2), "bomb": Bomb(tmp_path / "went-off")}, tmp_path / "model.pt")
    with pytest.raises(UntrustedError) as caught:
        load_source(tmp_path / "model.pt", recipe(tensor("x", 1, 4)))
    assert "exec" in caught.value.what
    assert "--trust" in caught.value.hint
    assert "torch.export.save" in caught.value.hint
    assert caught.value.exit_code == 4
    assert not (tmp_path / "went-off").exists()


def test_trusted_module_exports_with_parity(files: dict[str, Path], recipe: MakeRecipe, parity: Parity) -> None:
    source = load_source(files["module"], recipe(*FUSION_INPUTS), trust=True)
    parity(source)
    assert (source.kind, source.notes) == ("module", ())


def test_module_in_training_mode_is_put_in_evaluation_mode(recipe: MakeRecipe, tmp_path: Path) -> None:
    torch.save(Fusion().train(), tmp_path / "model.pt")
    source = load_source(tmp_path / "model.pt", recipe(*FUSION_INPUTS), trust=True)
    assert any("training mode" in note for note in source.notes)


def test_class_beside_the_file_is_found(recipe: MakeRecipe, parity: Parity, tmp_path: Path) -> None:
    _save_with_class(tmp_path, "rovernet")
    parity(load_source(tmp_path / "model.pt", recipe(tensor("x", 1, 4)), trust=True))


def test_missing_class_is_named_with_a_cure(recipe: MakeRecipe, tmp_path: Path) -> None:
    _save_with_class(tmp_path, "lostnet")
    (tmp_path / "lostnet.py").unlink()
    with pytest.raises(ModelError, match="code is missing: the module 'lostnet'") as caught:
        load_source(tmp_path / "model.pt", recipe(tensor("x", 1, 4)), trust=True)
    assert "model.pt" in caught.value.hint
    assert "torch.export.save" in caught.value.hint


def _save_with_class(folder: Path, name: str) -> None:
    """A pickled ``name.Net`` and its source beside it; the module is forgotten again."""
    (folder / f"{name}.py").write_text("from torch import nn\nclass Net(nn.Linear):\n    pass\n")
    sys.path.insert(0, str(folder))
    try:
        torch.save(__import__(name).Net(4, 2).eval(), folder / "model.pt")
    finally:
        sys.path.remove(str(folder))
        del sys.modules[name]


def test_trusted_checkpoint_with_other_objects_is_read_through_the_factory(recipe: MakeRecipe, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"state_dict": Fusion().state_dict(), "folder": Path("/data")}, path)
    source = load_source(path, recipe(*FUSION_INPUTS, factory="factory.py:build"), trust=True)
    assert source.spec.outputs == ("logits", "seen")


def test_trusted_file_without_a_module_is_refused(recipe: MakeRecipe, tmp_path: Path) -> None:
    torch.save({"folder": Path("/data")}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="holds a dict"):
        load_source(tmp_path / "model.pt", recipe(tensor("x", 1, 4)), trust=True)
