"""What a device answered when somebody looked at it: files to commit, against which later answers are held to the bit.

Answers are the same to the bit only for one bundle, backend release, precision and class of device, instruction sets
included: these are a record's key. A file is a plain .npz (``NAME.edgefuse.golden/CLASS-KEY.npz``): ``answers.OUTPUT``
(n, *shape), and ``key``, the key as JSON text.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.bundle import Bundle
from edgefuse.errors import CalibrationError, InputError
from edgefuse.pytest_plugin.case import DEVICE, row_of
from edgefuse.runtime import portable_error
from edgefuse.samples import SampleWriter, iterate_rows, read_headers
from edgefuse.spec import Array

Key = dict[str, str]
ANSWERS = "answers."
KEY = "key"
NAMES = {"bundle": "bundle", "backend": "backend", "precision": "precision", "device_class": "class of device"}


def record_key(bundle: Bundle, device_class: str) -> Key:
    """Raises ``DeviceMismatchError`` for a bundle that no device has compiled yet."""
    if bundle.portable:
        raise portable_error(bundle)
    made = bundle.manifest["artifact"]
    return {
        "bundle": str(bundle.manifest["checksum"]),
        "backend": f"{made['backend']} {made['version']}",
        "precision": str(bundle.manifest["plan"]["precision"]),
        "device_class": device_class,
    }


def records_folder(bundle: Path, golden_dir: Path | None) -> Path:
    """A zip has the same as the folder that it was made of. *golden_dir* is the folder that this one lies in, or this
    one itself."""
    name = f"{bundle.name.removesuffix('.zip')}.golden"
    return golden_dir if golden_dir and golden_dir.name == name else (golden_dir or bundle.parent) / name


def record_path(folder: Path, key: Key) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    return folder / f"{key['device_class'][:80]}-{digest}.npz"


def write_record(path: Path, key: Key, answers: Path) -> None:
    """What *answers* (:meth:`Case.answers`) holds, to *path*: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        part = Path(folder) / path.name
        with SampleWriter(part) as writer:
            for row in read_answers(answers, f"{DEVICE}."):
                writer.write({f"{ANSWERS}{name}": array for name, array in row.items()})
        with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(f"{KEY}.npy", (1980, 1, 1, 0, 0, 0)), _npy(np.array(json.dumps(key))))
        os.replace(part, path)


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_answers(path: Path, prefix: str = ANSWERS) -> Iterator[dict[str, Array]]:
    """Output name to array, sample after sample. Raises :class:`InputError` for a damaged file."""
    with _damage_told(path):
        headers = {name: item for name, item in read_headers(path).items() if name.startswith(prefix)}
        for row in iterate_rows(path, headers):
            yield row_of(row, prefix)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except CalibrationError as error:
        raise InputError(error.what, where=str(path), hint="Restore it, or record again.") from None


def count_rows(path: Path) -> dict[str, int]:
    """Rows of each of a record's arrays of answers. Raises :class:`InputError` for a damaged file."""
    with _damage_told(path):
        headers = read_headers(path)
    return {name: item.shape[0] for name, item in headers.items() if name.startswith(ANSWERS) and item.shape}


def read_key(path: Path) -> Key | None:
    """None where *path* is no record."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: Any = json.loads(str(arrays[KEY]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else None


def other_records(folder: Path, key: Key) -> list[str]:
    """What is recorded there and does not fit, and how its key differs from *key*: "for backend openvino 2026.3"."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        other = read_key(path) or {}
        differs = [
            f"{words} {_short(name, other.get(name))}" for name, words in NAMES.items() if other.get(name) != key[name]
        ]
        found.append(f"{path.name} is for {', '.join(differs)}")
    return found


def _short(name: str, value: str | None) -> str:
    return "?" if value is None else value[:12] if name == "bundle" else value
