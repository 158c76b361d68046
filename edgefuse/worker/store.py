"""The files that a device has been sent, kept by content, so that nothing is sent twice. Standard library only.

Below ``$XDG_CACHE_HOME/edgefuse/worker`` (or the same in ``~/.cache``): ``files/`` holds each file under its SHA-256,
``folders/`` bundles and recordings as links to them, ``work/PID-…/`` what a connection makes. A file is written beside
its place, verified and renamed, so that what is there is whole; what a killed worker left is removed by the next.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from edgefuse.bundle import sha256
from edgefuse.errors import ToolchainError, UsageError
from edgefuse.journal import cache_folder
from edgefuse.worker.work_folder import new_work_folder

LIMIT_BYTES = 8 << 30
"""The longest unused files go first; what is in use is kept whatever its size."""

SPARE_BYTES = 64 << 20
"""Left free on the disk for everybody else."""

DIGEST = re.compile(r"[0-9a-f]{64}")
NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
"""What a file system without hard links, or without one more, says."""

TREE, HELD = "tree", "files"
"""In a placed folder: its content, and the SHA-256 of its files."""


def open_store(root: Path | None = None, tick: Callable[[], None] = lambda: None) -> Store:
    """The store of a new connection, below *root*; what dead workers left there is removed. *tick* is called now and
    then while something takes long."""
    root = root or cache_folder() / "worker"
    for name in ("files", "folders", "work"):
        (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    work, held = new_work_folder(root / "work")
    return Store(work, tick, held)


class Store:
    """One connection's view: *work* is its own folder until :meth:`close`, the rest is shared with others."""

    def __init__(self, work: Path, tick: Callable[[], None] = lambda: None, held: int | None = None) -> None:
        self.work, self.root = work, work.parent.parent
        self.files, self.folders = self.root / "files", self.root / "folders"
        self._tick, self._held = tick, held
        self._used, self._whole = set[str](), set[str]()

    def missing(self, wanted: Mapping[str, int]) -> list[str]:
        """Those of *wanted* (SHA-256 to size) that have to be sent. Raises where the disk cannot hold them."""
        for digest in wanted:
            _check_digest(digest)
        self._used.update(wanted)
        found = [digest for digest, size in wanted.items() if not self._has(digest, size)]
        self._make_room(sum(wanted[digest] for digest in found))
        return found

    def _has(self, digest: str, size: int) -> bool:
        """What is there is read once a connection: a lost power supply or a bad card leaves damaged files of the right
        size, which would never be sent again."""
        path = self.files / digest
        try:
            if path.stat().st_size == size and (digest in self._whole or sha256(path, self._tick) == digest):
                self._whole.add(digest)
                os.utime(path)
                return True
        except FileNotFoundError:
            return False
        except OSError:  # a card that cannot be read there
            pass
        self._forget(digest)
        return False

    def _make_room(self, size: int) -> None:
        kept = sorted(self._sizes(), key=lambda item: item[0])
        total = sum(count for _, count, _ in kept)
        for _, count, path in kept:
            if total + size <= LIMIT_BYTES and shutil.disk_usage(self.root).free >= size + SPARE_BYTES:
                return
            if path.name not in self._used:
                self._forget(path.name)
                total -= count
        free = shutil.disk_usage(self.root).free
        if free < size + SPARE_BYTES:
            raise ToolchainError(
                f"No space left on device: {size / 1e6:.1f} MB are to be sent, {free / 1e6:.1f} MB are free there",
                where=str(self.root),
                hint="Free some, or set XDG_CACHE_HOME there to a folder on another disk.",
            )

    def _sizes(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.files.iterdir():
            with contextlib.suppress(OSError):
                found = path.stat()
                yield found.st_mtime, found.st_size, path

    def _forget(self, digest: str) -> None:
        """With the folders that hold it: their links would keep its space."""
        for folder in self.folders.iterdir():
            if digest in _held_by(folder):
                shutil.rmtree(folder, ignore_errors=True)
        (self.files / digest).unlink(missing_ok=True)

    def write(self, digest: str, size: int, chunks: Iterable[bytes]) -> None:
        """Take in one file; raises :class:`ToolchainError` where what came is not what was announced."""
        _check_digest(digest)
        found, written, part = hashlib.sha256(), 0, self.work / f"{digest}.part"
        try:
            with part.open("wb") as stream:
                for chunk in chunks:
                    written += stream.write(chunk)
                    found.update(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            if written != size or found.hexdigest() != digest:
                raise ToolchainError("what arrived is not what was sent (SHA-256 differs)", hint="Try again.")
            part.chmod(0o444)
            part.rename(self.files / digest)
            self._whole.add(digest)
        finally:
            part.unlink(missing_ok=True)

    def file(self, digest: str) -> Path:
        _check_digest(digest)
        path = self.files / digest
        if not path.is_file():
            raise ToolchainError(f"the file {digest[:12]} is not there any more", hint="Send it again.")
        return path

    def place_folder(self, key: str, names: Mapping[str, str]) -> None:
        """Make the folder *key* (a SHA-256 that stands for its content) of files that are here: name to SHA-256."""
        _check_digest(key)
        folder = self.folders / key
        inside = {name: _inside(name) for name in names}
        if set(names.values()) <= _held_by(folder) and all(
            (folder / TREE / path).is_file() for path in inside.values()
        ):
            return
        shutil.rmtree(folder, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix="folder-", dir=self.work))
        try:
            for name, digest in names.items():
                target = part / TREE / inside[name]
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self.file(digest), target)
                self._tick()
            (part / HELD).write_text("\n".join(names.values()), encoding="ascii")
            with contextlib.suppress(OSError):  # another connection was quicker
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if not folder.is_dir():
            raise ToolchainError("cannot put the files into their place", where=str(folder), hint="Try again.")

    def folder(self, key: str) -> Path:
        """A folder that was placed."""
        _check_digest(key)
        folder = self.folders / key / TREE
        if not folder.is_dir():
            raise ToolchainError(f"the folder {key[:12]} is not there any more", hint="Send it again.")
        return folder

    def made(self, key: str) -> Path:
        """A file or folder that this connection has made, by its path in :attr:`work`."""
        path = self.work / _inside(key)
        if not path.exists() or not path.resolve().is_relative_to(self.work.resolve()):
            raise UsageError(f"there is no result {key!r}")
        return path

    def listing(self, key: str) -> dict[str, dict[str, object]]:
        """The files below a result: relative name to SHA-256 and size; a file's own name is "". Raises for a link that
        leads out of it."""
        top = self.made(key)
        paths = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        for path in paths:
            self.made(path.relative_to(self.work).as_posix())
        names = ["" if path == top else path.relative_to(top).as_posix() for path in paths]
        return {
            name: {"sha256": sha256(path, self._tick), "size_bytes": path.stat().st_size}
            for name, path in zip(names, paths)
        }

    def close(self) -> None:
        now = time.time()
        for digest in self._used:
            with contextlib.suppress(OSError):
                os.utime(self.files / digest, (now, now))
        shutil.rmtree(self.work, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _held_by(folder: Path) -> set[str]:
    try:
        return set((folder / HELD).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return set()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:  # above all not EEXIST: a copy would write into what lies there, a link
            raise
        shutil.copyfile(source, target)


def _check_digest(digest: str) -> None:
    if not DIGEST.fullmatch(digest):
        raise UsageError(f"{digest[:80]!r} is no SHA-256")


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise UsageError(f"{name[:200]!r} lies outside the folder")
    return path
