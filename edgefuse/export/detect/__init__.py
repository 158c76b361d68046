"""Which frontend a model file needs, told by its content; suffixes lie (``.pt`` holds four different
formats).

Standard library only, so that a wrong file is refused before torch is imported. Nothing is unpickled here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgefuse.errors import ModelError
from edgefuse.export.detect.pickles import LEGACY_MAGIC, looks_like_state_dict, skip_legacy_header
from edgefuse.export.detect.protobuf import is_onnx, is_tensorflow, truncated_onnx

FORMATS = (
    "EdgeFuse reads: a torch.export file (.pt2), TorchScript, a state_dict with a factory in the recipe, "
    "ONNX, and (with --trust) a pickled module."
)
EXPORT_FIRST = "Export it to ONNX with its own framework's exporter, and give EdgeFuse the .onnx file."
SAVE_IN_TORCH = "In Python: torch.export.save(torch.export.export(model.eval(), example_inputs), 'model.pt2')"

MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "is a Git LFS pointer, not the model itself",
        "Fetch the file with: git lfs pull",
    ),
    (4, b"TFL3", "is a TensorFlow Lite model", EXPORT_FIRST),
    (0, b"\x89HDF\r\n\x1a\n", "is an HDF5 file (a Keras model?)", EXPORT_FIRST),
    (
        0,
        b"ftrt",
        "is a TensorRT engine, which is already compiled",
        "Give EdgeFuse the model that it was built from.",
    ),
    (
        0,
        b"ptrt",
        "is a TensorRT engine, which is already compiled",
        "Give EdgeFuse the model that it was built from.",
    ),
    (4, b"ET12", "is an ExecuTorch program, which is already lowered", SAVE_IN_TORCH),
    (0, b"GGUF", "is a GGUF file of a language model", FORMATS),
    (0, b"\x93NUMPY", "is a NumPy array: this looks like calibration data", "Give it as --calibration."),
    (0, b"\x1f\x8b", "is gzip-compressed", "Unpack it first."),
    (257, b"ustar", "is a tar archive", "Unpack it first."),
)
"""(offset, bytes, what, hint) of files that are easily mistaken for a model, or are one of another
framework."""


def detect_kind(path: Path) -> str:
    """A key of ``FRONTENDS``; raises :class:`ModelError` that says what the file is instead."""
    if path.is_dir():
        raise _folder_error(path)
    try:
        with path.open("rb") as file:
            if not file.seekable():
                raise ModelError(
                    "is a pipe, which can be read only once", where=str(path), hint="Save it to a file first."
                )
            return _detect(file, path)
    except FileNotFoundError:
        raise ModelError("there is no such file", where=str(path), hint=_siblings(path)) from None
    except OSError as error:
        raise ModelError(f"cannot read the file: {error.strerror or error}", where=str(path)) from None


def _detect(file: BinaryIO, path: Path) -> str:
    head = file.read(4096)
    if not head:
        raise ModelError("the file is empty", where=str(path), hint="Was the download or the copy cut short?")
    for offset, magic, what, hint in MAGIC:
        if head[offset : offset + len(magic)] == magic:
            raise ModelError(what, where=str(path), hint=hint)
    if head.startswith(b"PK\x03\x04"):
        return _detect_zip(file, path)
    if head.startswith(LEGACY_MAGIC):
        skip_legacy_header(file)
        return _kind_of_pickle(file, path)
    _refuse_pickle_and_safetensors(head, path)
    _refuse_text(head, path)
    return _detect_protobuf(file, path)


def _folder_error(path: Path) -> ModelError:
    if (path / "manifest.json").is_file():
        return _bundle_error(path)
    if (path / "saved_model.pb").is_file():
        return ModelError("is a TensorFlow SavedModel", where=str(path), hint=EXPORT_FIRST)
    return ModelError("is a folder; expected a model file", where=str(path), hint=_siblings(path / "model.pt"))


def _bundle_error(path: Path) -> ModelError:
    hint = f"Check it with: edgefuse check {path}"
    return ModelError("is an EdgeFuse bundle: the model in it is compiled already", where=str(path), hint=hint)


def _siblings(path: Path) -> str:
    """The model files that lie where *path* was looked for."""
    suffixes = {".pt", ".pt2", ".pth", ".onnx"}
    found = sorted(p.name for p in path.parent.glob("*") if p.suffix in suffixes) if path.parent.is_dir() else []
    return f"Model files in {path.parent}: {', '.join(found[:8])}" if found else ""


def _detect_zip(file: BinaryIO, path: Path) -> str:
    try:
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        hint = "Was the download or the copy cut short? Compare the size with the original's."
        raise ModelError("the zip archive is truncated or damaged", where=str(path), hint=hint) from None
    with archive:
        return _kind_of_zip(archive, names, path)


def _kind_of_zip(archive: zipfile.ZipFile, names: list[str], path: Path) -> str:
    inner = {name.partition("/")[2] for name in names}  # torch puts all members below one folder
    if any(name.startswith("models/") and name.endswith(".json") for name in inner):
        return "exported-program"
    if {"serialized_exported_program.json", "serialized_exported_program.bin"} & (inner | set(names)):
        return "exported-program"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "torchscript"
    _refuse_zip(inner, names, path)
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if not pickles:
        raise ModelError("is a zip archive, but holds no model", where=str(path), hint=FORMATS)
    with archive.open(pickles[0]) as file:
        return _kind_of_pickle(file, path)


def _refuse_zip(inner: set[str], names: list[str], path: Path) -> None:
    if names and all(name.endswith(".npy") for name in names):
        raise ModelError(
            "is a NumPy .npz file: this looks like calibration data",
            where=str(path),
            hint="Give it as --calibration and the model's file as the model.",
        )
    if "manifest.json" in inner | set(names):
        raise _bundle_error(path)
    if any(name.startswith("data/aotinductor") for name in inner):
        raise ModelError("is an AOTInductor package, which is already compiled", where=str(path), hint=SAVE_IN_TORCH)
    if {"config.json", "model.weights.h5"} <= set(names):
        raise ModelError("is a Keras model", where=str(path), hint=EXPORT_FIRST)
    if ".data/extern_modules" in inner:
        raise ModelError("is a torch.package archive", where=str(path), hint=SAVE_IN_TORCH)


def _kind_of_pickle(file: object, path: Path) -> str:
    try:
        return "state-dict" if looks_like_state_dict(file) else "module"
    except ValueError as error:
        raise ModelError(
            f"the pickle in it is damaged: {error}",
            where=str(path),
            hint="Was the download or the copy cut short?",
        ) from None


def _refuse_pickle_and_safetensors(head: bytes, path: Path) -> None:
    length = int.from_bytes(head[:8], "little")
    if len(head) > 8 and head[8:9] == b"{" and 2 <= length < 100_000_000:  # the format's own limit for its header
        raise ModelError(
            "is a safetensors file: weights without the model's code",
            where=str(path),
            hint=f"{_FROM_SAFETENSORS} Then name the factory in the recipe's [model].",
        )
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise ModelError("is a pickle that torch.save did not write", where=str(path), hint=SAVE_IN_TORCH)


_FROM_SAFETENSORS = "In Python: torch.save(safetensors.torch.load_file('model.safetensors'), 'weights.pt')."


def _refuse_text(head: bytes, path: Path) -> None:
    try:  # a multi-byte character may be cut at the end of what was read
        text = head.decode("utf-8", errors="strict" if len(head) < 4096 else "ignore").lstrip("\ufeff \r\n\t")
    except UnicodeDecodeError:
        return
    if any(ord(char) < 32 and char not in "\r\n\t\f" for char in text):
        return
    lower = text.lower()
    for is_so, what, hint in _TEXTS:
        if is_so(lower):
            raise ModelError(what, where=str(path), hint=hint)
    raise ModelError("is a text file, not a model", where=str(path), hint=FORMATS)


_TEXTS: tuple[tuple[Callable[[str], bool], str, str], ...] = (
    (
        lambda text: text.startswith(("<!doctype html", "<html")),
        "is an HTML page, not a model",
        "A download link often answers with a page: fetch the raw file.",
    ),
    (
        lambda text: text.startswith("<?xml") and "<net" in text,
        "is an OpenVINO IR, which is already converted",
        "Give EdgeFuse the model that it was converted from (.onnx or .pt2).",
    ),
    (
        lambda text: "import torch" in text,
        "is Python source, not a model file",
        'Name its factory in the recipe ([model] factory = "FILE.py:FUNCTION") and give the weights file.',
    ),
)


def _detect_protobuf(file: BinaryIO, path: Path) -> str:
    if is_onnx(file):
        return "onnx"
    if truncated_onnx(file):
        raise ModelError(
            "is a truncated ONNX file",
            where=str(path),
            hint="Was the download or the copy cut short? Compare the size with the original's.",
        )
    if is_tensorflow(file):
        raise ModelError("is a TensorFlow graph", where=str(path), hint=EXPORT_FIRST)
    raise ModelError("is not a model file that EdgeFuse knows", where=str(path), hint=FORMATS)
