"""Every kind of file is told by its content, and every wrong one is named with a cure."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from export_models import Fusion

from edgefuse.errors import ModelError
from edgefuse.export.detect import detect_kind

KINDS = ("state-dict", "module", "torchscript", "exported-program", "onnx")


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_told_by_content(files: dict[str, Path], kind: str) -> None:
    assert detect_kind(files[kind]) == kind


def test_files_of_old_torch_save_are_recognised(tmp_path: Path) -> None:
    model = Fusion()
    torch.save(model.state_dict(), tmp_path / "weights", _use_new_zipfile_serialization=False)
    torch.save(model, tmp_path / "module", _use_new_zipfile_serialization=False)
    assert detect_kind(tmp_path / "weights") == "state-dict"
    assert detect_kind(tmp_path / "module") == "module"


def test_state_dict_of_a_newer_pickle_protocol_is_recognised(tmp_path: Path) -> None:
    torch.save(Fusion().state_dict(), tmp_path / "weights", pickle_protocol=4)
    torch.save(Fusion(), tmp_path / "module", pickle_protocol=4)
    assert detect_kind(tmp_path / "weights") == "state-dict"
    assert detect_kind(tmp_path / "module") == "module"


def write_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, image=np.zeros(3))


def write_zip(*members: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.writestr(member, "{}")

    return write


def write_safetensors(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def write_folder(*members: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.mkdir()
        for member in members:
            (path / member).write_text("{}")

    return write


def content(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


GRAPH_DEF = b"\x0a\x06\x0a\x04conv" * 3  # three NodeDefs with a name
SAVED_MODEL = b"\x08\x01\x12\x04\x0a\x02\x08\x01"  # schema version 1, one meta graph

WRONG = {
    "missing": (lambda path: None, "there is no such file", ""),
    "folder": (write_folder("readme"), "is a folder", ""),
    "bundle": (write_folder("manifest.json"), "is an EdgeFuse bundle", "edgefuse check"),
    "saved model": (write_folder("saved_model.pb"), "TensorFlow SavedModel", "ONNX"),
    "empty": (content(b""), "the file is empty", "cut short"),
    "lfs": (
        content(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "Git LFS pointer",
        "git lfs pull",
    ),
    "npz": (write_npz, "looks like calibration data", "--calibration"),
    "npy": (content(b"\x93NUMPY\x01\x00"), "looks like calibration data", "--calibration"),
    "bundle zip": (write_zip("rover.edgefuse/manifest.json"), "is an EdgeFuse bundle", "edgefuse check"),
    "flat bundle zip": (write_zip("manifest.json", "model.onnx"), "is an EdgeFuse bundle", "edgefuse check"),
    "keras": (write_zip("config.json", "model.weights.h5"), "Keras", "ONNX"),
    "other zip": (write_zip("readme.txt"), "holds no model", "EdgeFuse reads"),
    "aotinductor": (write_zip("m/data/aotinductor/model/x.so"), "AOTInductor", "torch.export.save"),
    "safetensors": (write_safetensors, "safetensors", "torch.save"),
    "tflite": (content(b"\x1c\0\0\0TFL3" + bytes(64)), "TensorFlow Lite", "ONNX"),
    "hdf5": (content(b"\x89HDF\r\n\x1a\n" + bytes(64)), "HDF5", "ONNX"),
    "graph def": (content(GRAPH_DEF), "TensorFlow graph", "ONNX"),
    "saved model file": (content(SAVED_MODEL), "TensorFlow graph", "ONNX"),
    "html": (content(b"<!DOCTYPE html><html><body>404</body></html>"), "HTML page", "raw file"),
    "text": (content(b"hello\n"), "is a text file", "EdgeFuse reads"),
    "python": (content(b"import torch\nclass Net: pass\n"), "Python source", "factory"),
    "openvino": (
        content(b'<?xml version="1.0"?>\n<net name="m" version="11">'),
        "OpenVINO IR",
        "converted from",
    ),
    "engine": (content(b"ftrt" + bytes(64)), "TensorRT engine", "built from"),
    "gzip": (content(b"\x1f\x8b\x08" + bytes(16)), "gzip", "Unpack"),
    "plain pickle": (content(b"\x80\x04]\x94."), "torch.save did not write", "torch.export.save"),
    "noise": (content(bytes(range(128, 256)) * 8), "not a model file", "EdgeFuse reads"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file_is_named_with_a_cure(tmp_path: Path, name: str) -> None:
    write, what, hint = WRONG[name]
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(ModelError) as caught:
        detect_kind(path)
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("kind", ("state-dict", "onnx"))
def test_truncated_file_is_called_truncated(files: dict[str, Path], tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cut"
    path.write_bytes(files[kind].read_bytes()[:-30])
    with pytest.raises(ModelError, match="truncated") as caught:
        detect_kind(path)
    assert "cut short" in caught.value.hint


def test_missing_file_lists_the_models_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rover.pt2").write_bytes(b"")
    with pytest.raises(ModelError) as caught:
        detect_kind(tmp_path / "rovr.pt2")
    assert "rover.pt2" in caught.value.hint


def test_detecting_imports_neither_torch_nor_onnx() -> None:
    code = "import sys, edgefuse.export.detect; print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
