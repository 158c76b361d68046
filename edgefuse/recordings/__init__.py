"""Recorded streams of sensors, whatever wrote them, and how to add a format.

A format is a module of this package that satisfies :class:`Format`, plus one line in ``RECORDINGS``. Its library, where
it needs one, is imported inside that one file. Standard library and numpy only.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from edgefuse.errors import RecordingError
from edgefuse.spec import Array, TensorSpec

RECORDINGS = {
    ".npz": "edgefuse.recordings.npz",
}
"""The end of a file's name to the module that reads it."""


class Message(NamedTuple):
    """One delivery of *stream*: ``arrays`` by input name, acquired at ``stamp_ns``, there at ``arrival_ns``."""

    stream: str
    arrays: Mapping[str, Array]
    stamp_ns: int
    arrival_ns: int


class Label(NamedTuple):
    """What the model should answer from ``stamp_ns`` on, until the next label."""

    value: Array
    stamp_ns: int


@dataclass(frozen=True)
class Wanted:
    """A stream as the model takes it: the inputs that are delivered together; ``axis`` is time's in a window's input,
    None where a delivery is whole."""

    inputs: tuple[TensorSpec, ...]
    axis: int | None = None


class Recording(Protocol):
    """A recording that has been found to fit the model. It can be read any number of times, also at the same time;
    memory holds one message for each reading and stream."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Stream name to the number of its deliveries; only streams that have some."""

    @property
    def start_ns(self) -> int:
        """Arrival of the first message."""

    @property
    def end_ns(self) -> int:
        """Arrival of the last one."""

    @property
    def label_count(self) -> int:
        """0 where there are no labels."""

    @property
    def unused(self) -> tuple[str, ...]:
        """What it also holds and the model does not take."""

    def messages(self, streams: Collection[str] | None = None) -> Iterator[Message]:
        """In order of arrival, of all streams or of these. Raises ``RecordingError`` where the data are damaged."""

    def arrivals(self, stream: str) -> Iterator[int]:
        """``arrival_ns`` of the messages of *stream*, in order, without reading their arrays."""

    def labels(self) -> Iterator[Label]:
        """In order of their stamps."""


class Format(Protocol):
    def open(self, path: Path, wanted: Mapping[str, Wanted]) -> Recording:
        """Look at the file, and read no message yet. Raises ``RecordingError`` where it does not fit *wanted*, stream
        name to what the model takes; a stream that is not in it at all is no error, unless that is all of them."""


def open_recording(path: Path, wanted: Mapping[str, Wanted]) -> Recording:
    """The recording at *path*; raises :class:`RecordingError` that names what is wrong with it."""
    if not path.exists():
        raise RecordingError("there is no such file", where=str(path))
    for suffix, module in RECORDINGS.items():
        if path.name.endswith(suffix) and path.is_file():
            return cast(Format, importlib.import_module(module)).open(path, wanted)
    kind = "a folder" if path.is_dir() else f"{path.suffix!r}" if path.suffix else "a file without a suffix"
    known = ", ".join(RECORDINGS)
    raise RecordingError(f"is {kind}; expected a recording", where=str(path), hint=f"Known formats: {known}.")
