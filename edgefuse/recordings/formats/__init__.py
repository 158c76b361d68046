"""What robots record: topics of messages, each with the time at which it was written down. Standard library only.

A format is a module of this package with a function ``open(path) -> Topics``, plus one line in ``TOPICS``; its library
is imported inside that one file. Which topic feeds which input is the recipe's (:mod:`edgefuse.recordings.mapping`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from edgefuse.errors import RecordingError

TOPICS = {
    ".mcap": "edgefuse.recordings.formats.mcap",
    ".bag": "edgefuse.recordings.formats.rosbag",
    ".bag.active": "edgefuse.recordings.formats.rosbag",
    ".db3": "edgefuse.recordings.formats.rosbag",
    ".h5": "edgefuse.recordings.formats.hdf5",
    ".hdf5": "edgefuse.recordings.formats.hdf5",
    "meta/info.json": "edgefuse.recordings.formats.lerobot",
    "metadata.yaml": "edgefuse.recordings.formats.rosbag",
    "*.db3": "edgefuse.recordings.formats.rosbag",
    "*.mcap": "edgefuse.recordings.formats.rosbag",
}
"""The end of a file's name, or what a folder holds, to the module that reads it; the first that fits."""


@dataclass(frozen=True)
class Topic:
    """``type`` is the format's own name of the message type; ``count`` None where it is not known beforehand."""

    name: str
    type: str
    count: int | None = None


class Raw(NamedTuple):
    """A message as it was recorded. ``stamp_ns``: when its data were acquired (``header.stamp``), None where it does
    not say; ``arrival_ns``: when it was recorded. ``decode()`` gives its content: an object with attributes or a dict,
    nested; or an array. It raises ``ValueError`` where the bytes are not what the type says."""

    topic: str
    stamp_ns: int | None
    arrival_ns: int
    decode: Callable[[], Any]


class Topics(Protocol):
    """An open recording. It can be read any number of times, also at the same time; memory holds one message, or one
    chunk of the file, for each reading."""

    @property
    def topics(self) -> Mapping[str, Topic]: ...

    @property
    def damage(self) -> str:
        """What of the file cannot be read ("cut short after 12.3 s"), as far as is known by now; empty: nothing."""

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        """Those of the topics *names*, in order of ``arrival_ns``. Ends where the file is damaged, and ``damage`` says
        so then; raises ``RecordingError`` where nothing can be read at all."""

    def close(self) -> None: ...


class Format(Protocol):
    def open(self, path: Path) -> Topics:
        """Find out which topics there are, and read no message. Raises ``RecordingError`` where it is no such recording
        or nothing of it can be read, ``MissingToolError`` where the format's library is not installed."""


def open_topics(path: Path) -> Topics:
    """The recording at *path*; raises :class:`RecordingError` that names what is wrong with it."""
    with reading(path):
        if not path.exists():
            raise RecordingError("there is no such file", where=str(path))
        folder = path.is_dir()
        for mark, module in TOPICS.items():
            if _has(path, mark) if folder else path.name.lower().endswith(mark):
                return cast(Format, importlib.import_module(module)).open(path)
        held = sorted(item.name for item in path.iterdir())[:3] if folder else []
    kind = "a file without a suffix" if not path.suffix else f"a {path.suffix} file"
    if folder:
        kind = f"a folder of {', '.join(held)} …" if held else "an empty folder"
    files = ", ".join(mark for mark in TOPICS if mark.startswith("."))
    folders = ", ".join(mark for mark in TOPICS if not mark.startswith("."))
    raise RecordingError(
        f"is {kind}; expected a recording",
        where=str(path),
        hint=f"Known are files that end with {files} (and .npz), and folders that hold {folders}.",
    )


def _has(folder: Path, mark: str) -> bool:
    return not mark.startswith(".") and next(iter(folder.glob(mark)), None) is not None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What the operating system refuses becomes a :class:`RecordingError` that names *path*."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise RecordingError(f"cannot be read: {reason}", where=str(error.filename or path)) from error


def read_small(path: Path, limit: int) -> bytes:
    """A file that is read as a whole; raises :class:`RecordingError` where it is larger than *limit* bytes."""
    with reading(path):
        size = path.stat().st_size
        if size > limit:
            raise RecordingError(f"has {size} bytes; expected at most {limit}", where=str(path))
        return path.read_bytes()
