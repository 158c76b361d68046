"""The bundle: everything a robot needs of one compiled model, in one folder ``NAME.edgefuse/`` or one zip of it.

``docs/bundle.md`` is the specification. Every file's size and SHA-256 stand in the manifest and are checked here, at
load; :mod:`edgefuse.bundle_writer` writes. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from edgefuse.backends import BACKENDS, Settings
from edgefuse.errors import BundleError, nearest
from edgefuse.manifest import MANIFEST, check_manifest
from edgefuse.parts import Partition
from edgefuse.spec import ModelSpec

FORMAT = 3
SUFFIX = ".edgefuse"
NO_CHECKSUM = "0" * 64


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk. ``manifest`` is its checked JSON; ``path`` is a folder, ``shown`` what the user
    named, which may be a zip."""

    path: Path
    manifest: dict[str, Any] = field(repr=False)
    shown: Path

    @cached_property
    def spec(self) -> ModelSpec:
        return ModelSpec.from_json(self.manifest["model"])

    @property
    def portable(self) -> bool:
        """Whether no device has compiled it yet."""
        return self.manifest["artifact"] is None

    @property
    def settings(self) -> Settings:
        return Settings(**self.manifest["artifact"]["settings"])

    @property
    def artifact(self) -> Path:
        return self.path / str(self.manifest["artifact"]["path"])

    @cached_property
    def partition(self) -> Partition:
        """The branches and the trunk."""
        return Partition.from_json(self.manifest["partition"])

    @property
    def graphs(self) -> dict[str, Path]:
        """The ONNX graphs by the precision that they hold ("float", "int8" …)."""
        return {name: self.path / file for name, file in self.manifest["graphs"].items()}

    def check_files(self, folder: Path) -> None:
        """The hashes of all files in *folder* of the bundle; raises :class:`BundleError`."""
        for name, listed in self.manifest["files"].items():
            if (self.path / name).is_relative_to(folder):
                _verify_file(self.path, name, listed, str(self.shown))


def sha256(path: Path, tick: Callable[[], None] = lambda: None) -> str:
    """One small buffer, used again: it stays in the CPU's cache. *tick* is called for every buffer."""
    digest, buffer = hashlib.sha256(), bytearray(1 << 18)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
            tick()
    return digest.hexdigest()


@contextmanager
def open_bundle(path: Path, *, hashes: bool = True) -> Iterator[Bundle]:
    """The verified bundle at *path*, folder or zip (which is unpacked to a temporary folder for the block). Without
    *hashes* the manifest is verified, and of the other files that they are there and have their size: who reads one
    calls ``check_files`` before."""
    if not path.exists():
        raise BundleError("there is no such bundle", where=str(path))
    if path.is_dir():
        yield verify(path, hashes=hashes)
        return
    with _temporary_folder() as folder:
        _unpack(path, folder)
        yield verify(folder, shown=path, hashes=hashes)


class _Held:
    """Something to tie a finalizer to."""


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Removed at the end of the block, or of the process; not of a forked child, which has it from its parent."""
    folder, held = tempfile.mkdtemp(prefix="edgefuse-"), _Held()
    remove = weakref.finalize(held, _remove_own, folder, os.getpid())
    try:
        yield Path(folder)
    finally:
        remove()


def _remove_own(folder: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                target = (folder / info.filename).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise BundleError(f"the file {info.filename!r} points outside the bundle", where=str(path))
                archive.extract(info, folder)
            _refuse_outer_folder(archive.namelist(), path)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"is not a bundle: neither a folder nor a whole zip ({error})",
            where=str(path),
            hint="Copy or compile the bundle again.",
        ) from None


def _refuse_outer_folder(names: list[str], path: Path) -> None:
    inner = [name for name in names if name.endswith(f"/{MANIFEST}") and name.count("/") == 1]
    if inner and MANIFEST not in names:
        raise BundleError(
            f"holds {inner[0]!r} instead of {MANIFEST!r}",
            where=str(path),
            hint="Zip the files of the bundle, not its folder.",
        )


def verify(folder: Path, shown: Path | None = None, *, hashes: bool = True) -> Bundle:
    """Check format, completeness, sizes and *hashes*; raises :class:`BundleError` that names the file."""
    where = str(shown or folder)
    manifest = _read_manifest(folder, where)
    files: dict[str, Any] = manifest["files"]
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    for name in sorted(present - files.keys()):
        raise BundleError(f"holds {name!r}, which the manifest does not name", where=where, hint="Remove it.")
    for name, listed in files.items():
        _verify_file(folder, name, listed, where, hashes)
    return Bundle(folder, manifest, shown or folder)


def _read_manifest(folder: Path, where: str) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"has no {MANIFEST}, so it is not a bundle",
            where=where,
            hint="Make one with: edgefuse compile MODEL --target host",
        )
    damaged = BundleError("the manifest is damaged", where=where, hint="Copy or compile the bundle again.")
    try:
        text = path.read_bytes().decode("utf-8")  # read_text would take "\r" for "\n"
        manifest = json.loads(text)
        found, stored = manifest["format"], manifest["checksum"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    if found != FORMAT:
        raise BundleError(
            f"has format {found!r}; this version reads format {FORMAT}",
            where=where,
            hint="Compile the model again, or install the EdgeFuse version that wrote it.",
        )
    if stored != manifest_checksum(text):
        raise BundleError(
            "the manifest was changed after it was written", where=where, hint="Copy or compile the bundle again."
        )
    try:
        backend = check_manifest(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"the manifest is damaged: {error}", where=where, hint="Copy or compile the bundle again."
        ) from None
    if backend not in BACKENDS:
        raise BundleError(
            f"was made for the backend {backend!r}, which this EdgeFuse does not have",
            where=where,
            hint=nearest(backend, BACKENDS),
        )
    return dict(manifest)


def manifest_checksum(text: str) -> str:
    """SHA-256 of the manifest's text with the checksum's own 64 digits replaced by zeros: every byte counts."""
    zeroed = re.sub(r'("checksum": ")[0-9a-f]{64}(")', rf"\g<1>{NO_CHECKSUM}\g<2>", text)
    return hashlib.sha256(zeroed.encode()).hexdigest()


def _verify_file(folder: Path, name: str, listed: dict[str, Any], where: str, hashes: bool = True) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or path.is_symlink():
        raise BundleError(f"the file {name!r} points outside the bundle", where=where)
    if not path.is_file():
        raise BundleError(f"the file {name!r} is missing", where=where, hint="Copy or compile the bundle again.")
    size = path.stat().st_size
    if size != listed["size_bytes"]:
        raise BundleError(
            f"{name!r} has {size} bytes; the manifest says {listed['size_bytes']}",
            where=where,
            hint="The copy is incomplete. Copy or compile the bundle again.",
        )
    if hashes and sha256(path) != listed["sha256"]:
        raise BundleError(
            f"{name!r} was changed after it was written (SHA-256 differs)",
            where=where,
            hint="Copy or compile the bundle again.",
        )
