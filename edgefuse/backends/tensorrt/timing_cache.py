"""Where TensorRT remembers how long each kernel took on this GPU, so that the next build need not measure it again.

One file per TensorRT version and GPU under ``$XDG_CACHE_HOME/edgefuse``, which only its owner may read or write: the
vendor's library parses it. It makes builds faster and nothing else, so whatever is wrong with it is a note.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def cache_file(version: str, arch: str) -> Path:
    return _folder() / f"tensorrt-{version}-{arch}.timing"


def _folder() -> Path:
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "edgefuse"
    try:
        return Path.home() / ".cache" / "edgefuse"
    except RuntimeError:  # a container's user without a home
        return Path(tempfile.gettempdir()) / f"edgefuse-{os.geteuid()}"


def read_cache(path: Path, notes: list[str]) -> bytes:
    """The file's content; nothing where it is missing, or where others may have written it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = path.parent.stat()
        if folder.st_uid != os.geteuid() or folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            notes.append(f"timing cache not used: others may write to {path.parent}")
            return b""
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        notes.append(f"timing cache not read: {error}")
        return b""


def write_cache(path: Path, content: bytes, notes: list[str]) -> None:
    """Replace the file in one step, so that a build beside this one never reads half of it."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".timing-", delete=False) as stream:
            try:
                stream.write(content)
                stream.close()
                os.replace(stream.name, path)
            except OSError:
                os.unlink(stream.name)
                raise
    except OSError as error:
        notes.append(f"timing cache not written: {error}")
