"""Writing a bundle, whole or not at all: into a temporary folder that is renamed at the end. Standard library only.

``docs/bundle.md`` is the specification; :mod:`edgefuse.bundle` reads.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from edgefuse.bundle import FORMAT, NO_CHECKSUM, manifest_checksum, sha256
from edgefuse.errors import UsageError
from edgefuse.manifest import MANIFEST
from edgefuse.whole_file import whole_file

ZIP = ".zip"


def new_bundle(path: Path) -> AbstractContextManager[Path]:
    """A temporary folder that becomes the bundle at *path* when the block ends well, and vanishes when it does not.

    Where *path* ends in ``.zip`` the bundle is written as that one file.
    An older bundle at *path* (or where a link at *path* leads) is replaced; anything else that stands there is refused.
    """
    return new_folder(path, looks_like_bundle, "bundle")


@contextmanager
def new_folder(path: Path, ours: Callable[[Path], bool], what: str) -> Iterator[Path]:
    """As :func:`new_bundle`, for any folder that EdgeFuse writes: *ours* says whether what stands at *path* is an older
    one, and *what* such a folder is called."""
    shown = path
    try:
        path = path.resolve()
        _check_replaceable(path, shown, ours, what)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}-{os.getpid()}-", dir=path.parent))
    except (OSError, RuntimeError) as error:  # RuntimeError: what resolve() raises for links in a circle
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write there: {why}", where=str(shown), hint="Choose another -o.") from None
    packed = work.with_name(f"{work.name}{ZIP}")
    try:
        os.chmod(work, 0o755)  # mkdtemp's 0700 would make the bundle unreadable to a robot's service account
        yield work
        if path.suffix == ZIP:
            pack(work, packed)
        _replace(packed if path.suffix == ZIP else work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        packed.unlink(missing_ok=True)


def _check_replaceable(path: Path, shown: Path, ours: Callable[[Path], bool], what: str) -> None:
    if path.is_symlink():  # though resolved: it leads in a circle
        raise UsageError("cannot write there: the link leads to itself", where=str(shown), hint="Choose another -o.")
    seen = _identity(path)
    if seen is None or _is_empty_folder(path) or ours(path):
        return
    if _identity(path) != seen:  # another process has put its own there while we looked
        return _check_replaceable(path, shown, ours, what)
    raise UsageError(
        f"is there already and is no {what}; it is not overwritten",
        where=str(shown),
        hint="Choose another -o, or remove it yourself.",
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _is_empty_folder(path: Path) -> bool:
    try:
        return path.is_dir() and path != Path.cwd() and not any(path.iterdir())
    except FileNotFoundError:
        return False


def looks_like_bundle(path: Path) -> bool:
    """Damaged or not. By the manifest's keys: browser extensions and web apps have a manifest.json too, and every
    .npz and .pt file is a zip."""
    try:
        if path.is_dir():
            text = (path / MANIFEST).read_bytes()
        elif not path.is_file():  # a pipe would be waited for
            return False
        else:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(MANIFEST)
    except (OSError, KeyError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False
    return all(key in text for key in (b'"format"', b'"artifact"', b'"files"', b'"sha256"'))


def _remove_abandoned(path: Path) -> None:
    """Temporary folders of compilations of this bundle that were killed: their process is gone."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}-*-*"):
        pid = folder.name.removeprefix(f".{path.name}-").split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc").is_dir():
            _remove(folder)


def _replace(work: Path, path: Path) -> None:
    """Rename *work* to *path*; an older bundle (also one that appears meanwhile) is moved aside first, and moved back
    if the renaming fails."""
    aside = work.with_name(f"{work.name}-old")
    try:
        while True:
            with contextlib.suppress(FileNotFoundError):  # none is there, or another process has just moved it
                path.rename(aside)
            try:
                work.rename(path)
                break
            except OSError as error:  # another process was quicker: its bundle is the older one now
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                _remove(aside)
    except BaseException:
        if aside.exists() and not path.exists():
            aside.rename(path)
        raise
    finally:
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest last: it names size and SHA-256 of every other file in *folder*; what an earlier *manifest*
    says of these is written anew."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    listed = {
        path.relative_to(folder).as_posix(): {"size_bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in files
    }
    path = folder / MANIFEST
    write_json(path, {"format": FORMAT, **manifest, "files": listed, "checksum": NO_CHECKSUM})
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(NO_CHECKSUM, manifest_checksum(text)), encoding="utf-8")


def write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def pack(folder: Path, out: Path) -> None:
    """The single-file form: a zip whose members are the bundle's files."""
    with whole_file(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
