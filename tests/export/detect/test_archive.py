from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from edgefuse.export.detect.archive import code_in_archive


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("true",)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(f"m/{name.replace('__', '/')}", data)
    return path


def torch_saved(value: object, **keys: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **keys)
    return buffer.getvalue()


def model(**values: Any) -> bytes:
    return json.dumps({"graph": values}).encode()


def test_what_torch_writes_is_clean(files: dict[str, Path]) -> None:
    assert code_in_archive(files["exported-program"]) == ""


@pytest.mark.parametrize(
    "members",
    [
        {"data__sample_inputs__model.pt": torch_saved((torch.ones(2), Bomb()))},
        {"data__weights__weight_0": torch_saved(Bomb())},
        {"data__weights__weight_0": torch_saved(Bomb(), _use_new_zipfile_serialization=False)},
        {"data__constants__opaque_obj_0": pickle.dumps(1)},
        {"data__constants__tensor_0": pickle.dumps(Bomb())[:-1]},
        {"data__weights__weight_0": b"\x80\x02ctorch.storage\n_load_from_bytes\n."},
        {"models__model.json": model(target="torch.load")},
        {"models__model.json": model(target="torch.ops.aten.add.__init__.__globals__.get")},
        {"models__model.json": model(target="_operator.call")},
        {"models__model.json": model(target="torch.ops.load_library")},
        {"models__model.json": model(nodes=[{"name": "x=exec"}])},
        {"models__model.json": model(expr_str="__import__('os').system('true')")},
        {"models__model.json": model(expr_str="Symbol('s0').func")},
        {"models__model.json": model(forward_arg_names=["x", "y=print()"])},
        {"models__model.json": model(in_spec='{"default_factory_module": "os"}')},
    ],
    ids=str,
)
def test_code_is_found(tmp_path: Path, members: dict[str, bytes]) -> None:
    assert code_in_archive(archive(tmp_path / "m.pt2", **members))


@pytest.mark.parametrize(
    "members",
    [
        {"data__sample_inputs__model.pt": torch_saved((torch.ones(2), {"k": torch.zeros(1)}))},
        {"data__weights__weight_0": b"\x80\x02cos\x00\nsystem\n" + bytes(8)},
        {"models__model.json": model(expr_str="Max(1, 2*Symbol('s0', positive=True, integer=True)) + 1.5")},
        {"models__model.json": model(target="torch.ops.aten.add.Tensor", name="add_1")},
        {"models__model.json": model(target="_operator.floordiv")},
        {"models__model.json": model(target="torch.ops.aten.__and__.Tensor")},
    ],
    ids=["tensors", "raw weight", "expression", "operator", "arithmetic", "bitwise"],
)
def test_harmless_content_is_not_suspected(tmp_path: Path, members: dict[str, bytes]) -> None:
    assert code_in_archive(archive(tmp_path / "m.pt2", **members)) == ""
