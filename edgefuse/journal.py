"""What an interrupted search has found out, so that ``--resume`` need not do it again. Standard library only.

One folder for each search below the user's cache folder: ``verdicts.jsonl`` (one line for each candidate that was
judged) and ``artifacts/``, the vendor's artifacts, which take minutes on some devices. It goes away when the search
ends. Latencies are not kept: those of two runs cannot be compared.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEPT_DAYS = 7
"""Then what was interrupted and never resumed is removed."""


@dataclass
class Journal:
    """The verdicts by key, and the folder for artifacts; ``resumed`` says whether an earlier search left any."""

    folder: Path
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    resumed: bool = False

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def add(self, key: str, verdict: dict[str, Any]) -> None:
        """On disk when this returns."""
        self.verdicts[key] = verdict
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"key": key, "verdict": verdict}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    @property
    def _file(self) -> Path:
        return self.folder / "verdicts.jsonl"

    def read(self) -> None:
        """A last line that was cut off is left out."""
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found = json.loads(line)
                self.verdicts[str(found["key"])] = dict(found["verdict"])
        self.resumed = bool(lines) or self.artifacts.exists()


def search_key(files: Iterable[Path], *words: str) -> str:
    """What a search belongs to: the content of *files* (a folder stands for the names, sizes and times in it)."""
    digest = hashlib.sha256("\0".join(words).encode())
    for path in files:
        if path.is_dir():
            listed = sorted(item for item in path.rglob("*") if item.is_file())
            stats = [(item.as_posix(), item.stat().st_size, item.stat().st_mtime_ns) for item in listed]
            digest.update(json.dumps(stats).encode())
        elif path.is_file():
            digest.update(_content(path))
    return digest.hexdigest()[:32]


def _content(path: Path) -> bytes:
    """Piece by piece: a recording may be larger than memory."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.digest()


@contextmanager
def kept_search(key: str, resume: bool) -> Iterator[Journal]:
    """The journal of the search *key*; it stays only when the block is interrupted (Ctrl-C, a kill).

    Without *resume* whatever an earlier search left is dropped. Where the cache cannot be written, or another process
    is at the same search, nothing is kept.
    """
    folder = cache_folder() / "searches" / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with tempfile.TemporaryDirectory(prefix="edgefuse-") as temporary:
            yield Journal(Path(temporary))
        return
    with lock:
        _remove_forgotten(folder)
        if not resume:
            _empty(folder)
        journal = Journal(folder)
        journal.read()
        try:
            yield journal
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/edgefuse``, or ``~/.cache/edgefuse``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "edgefuse"


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        elif item.name != "lock":
            item.unlink(missing_ok=True)


def _remove_forgotten(own: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86400
    for folder in own.parent.iterdir():
        with contextlib.suppress(OSError):
            if folder != own and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
