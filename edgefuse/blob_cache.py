"""Compiled blobs kept on disk, so that a model's second start is quicker. Standard library and numpy.

One file for each key, ``KEY.blob``: the SHA-256 of key and blob, then the blob. It is verified at every read, so an
entry that is damaged, cut short or put under another's name is a miss and nothing worse. That is also why nothing is
synced to the disk: what a power cut leaves behind does not verify. Nothing here raises for the state of the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.journal import cache_folder

FORMAT = 1
LIMIT_BYTES = 2 << 30
DIGEST_BYTES = 32
PART = ".blob.part"
"""A temporary file's name ends so: those of others, in a folder that is not ours alone, end in ``.part``."""

ABANDONED_S = 3600.0
"""How old a temporary file is before it is taken for one whose writer was killed."""

Blob = NDArray[np.uint8]


def blob_folder() -> Path | None:
    """``$XDG_CACHE_HOME/edgefuse/blobs``, or the same below ``~/.cache``; None for a user without a home folder."""
    try:
        return cache_folder() / "blobs"
    except RuntimeError:
        return None


@dataclass(frozen=True)
class BlobCache:
    """Where the blobs of one artifact are. ``content`` says what the artifact holds (its files' SHA-256, as the
    manifest has them), ``check_artifact`` verifies that: it is called before the artifact itself is read, which a hit
    makes unnecessary."""

    folder: Path
    content: str
    check_artifact: Callable[[], None] = lambda: None
    limit_bytes: int = LIMIT_BYTES

    def key(self, *words: Any) -> str:
        """What a blob depends on: the artifact's content and *words*, JSON values in a fixed order."""
        text = json.dumps([FORMAT, self.content, *words], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def read(self, key: str) -> tuple[Blob | None, str]:
        """The blob, on memory pages of its own; or None and why not ("" where there simply is none)."""
        path = self._path(key)
        try:
            with path.open("rb") as stream:
                digest = stream.read(DIGEST_BYTES)
                size = os.fstat(stream.fileno()).st_size - DIGEST_BYTES
                if not 0 < size <= self.limit_bytes:
                    return None, "the kept blob was damaged"
                pages = mmap.mmap(-1, size)
                if stream.readinto(pages) != size or _digest(key, pages) != digest:
                    return None, "the kept blob was damaged"
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, OverflowError) as error:
            return None, f"the kept blob could not be read: {_cause(error)}"
        with contextlib.suppress(OSError):  # a cache that may only be read serves all the same
            os.utime(path)
        return np.frombuffer(pages, np.uint8), ""

    def write(self, key: str, blob: bytes | memoryview) -> str:
        """Keep *blob*, whole or not at all; "" or why it was not kept. The longest unused go to make room."""
        size = len(blob) + DIGEST_BYTES
        if size > self.limit_bytes:
            return f"not kept: {size} bytes are more than the cache's {self.limit_bytes}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_room(size)
            descriptor, part = tempfile.mkstemp(prefix=key[:16], suffix=PART, dir=self.folder)
        except OSError as error:
            return f"not kept: {_cause(error)}"
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(_digest(key, blob))
                stream.write(blob)
            os.replace(part, self._path(key))
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(part)
            if not isinstance(error, OSError):
                raise  # Ctrl-C
            return f"not kept: {_cause(error)}"
        return ""

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.blob"

    def _make_room(self, size: int) -> None:
        """Remove the longest unused entries until *size* bytes fit, and what killed writers left."""
        for path, stat in _stats(self.folder, PART):
            if time.time() - stat.st_mtime > ABANDONED_S:
                path.unlink(missing_ok=True)
        entries = sorted(_stats(self.folder, ".blob"), key=lambda entry: entry[1].st_mtime_ns)
        kept = sum(stat.st_size for _, stat in entries)
        for path, stat in entries:
            if kept + size <= self.limit_bytes:
                return
            path.unlink(missing_ok=True)
            kept -= stat.st_size


def miss(*reasons: str) -> str:
    """What a runner's ``cached`` says after a miss: "miss", or "miss: " and those of *reasons* that are not empty."""
    return ": ".join(["miss", *filter(None, ["; ".join(filter(None, reasons))])])


def _digest(key: str, blob: bytes | memoryview | mmap.mmap) -> bytes:
    """The key is part of it: a whole entry under another's name is refused too."""
    digest = hashlib.sha256(key.encode())
    digest.update(blob)
    return digest.digest()


def _stats(folder: Path, suffix: str) -> list[tuple[Path, os.stat_result]]:
    """The files of *folder* that end in *suffix*; one that another process has just removed is left out."""
    found = []
    for path in folder.glob(f"*{suffix}"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path, path.stat()))
    return found


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
