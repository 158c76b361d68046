"""Recorded streams of sensors, whatever wrote them.

An ``.npz`` holds the model's inputs themselves (:mod:`edgefuse.recordings.npz`). Everything else holds topics, of which
``[recording.INPUT]`` tables make inputs (:mod:`edgefuse.recordings.mapped`); how to add such a format stands in
:mod:`edgefuse.recordings.formats`. Standard library and numpy only.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from edgefuse.errors import RecordingError
from edgefuse.recordings.mapping import Sources
from edgefuse.resources import shipped_hint
from edgefuse.spec import Array, TensorSpec

NPZ = ".npz"


class Message(NamedTuple):
    """One delivery of *stream*: ``arrays`` by input name, acquired at ``stamp_ns``, there at ``arrival_ns``; ``number``
    is its place in :meth:`Recording.stamps`."""

    stream: str
    arrays: Mapping[str, Array]
    stamp_ns: int
    arrival_ns: int
    number: int = -1


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
    memory holds the times of its deliveries, and a few messages for each reading and stream."""

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

    @property
    def dropped(self) -> Mapping[str, Mapping[str, int]]:
        """Stream name (or "label") to reason to the number of its messages that were recorded and are no delivery, as
        far as has been read; one that is read twice counts once. Only streams and reasons that there are."""

    @property
    def damage(self) -> str:
        """What of the file cannot be read ("cut short after 12.3 s"); empty: nothing."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a person should see: what is missing, what clocks do not agree."""

    def messages(
        self, streams: Collection[str] | None = None, chosen: Mapping[str, Container[int]] | None = None
    ) -> Iterator[Message]:
        """In order of arrival, of all streams or of these. With *chosen*, stream name to indices of :meth:`stamps`,
        only those deliveries are decoded, and none of a stream that is not in it. A delivery that does not fit is
        left out and counted in ``dropped``. Raises ``RecordingError`` where an ``.npz`` is damaged."""

    def stamps(self, stream: str) -> NDArray[np.int64]:
        """(n,) when each delivery of *stream* was acquired, in order of arrival, also of those that may be dropped when
        they are read."""

    def arrivals(self, stream: str) -> Iterator[int]:
        """``arrival_ns`` of the deliveries of *stream*, as :meth:`stamps`, without reading their arrays."""

    def labels(self) -> Iterator[Label]:
        """In order of their stamps."""

    def close(self) -> None:
        """What has been read stays; nothing more can be read."""


class ArrayFormat(Protocol):
    def open(self, path: Path, wanted: Mapping[str, Wanted]) -> Recording:
        """Look at the file, and read no message yet. Raises ``RecordingError`` where it does not fit *wanted*, stream
        name to what the model takes; a stream that is not in it at all is no error, unless that is all of them."""


class TopicFormat(Protocol):
    def open(self, path: Path, wanted: Mapping[str, Wanted], sources: Sources, folder: Path | None) -> Recording:
        """As :class:`ArrayFormat`'s, of topics that *sources* map; files that transforms name start from *folder*."""


def open_recording(
    path: Path, wanted: Mapping[str, Wanted], sources: Sources | None = None, folder: Path | None = None
) -> Recording:
    """The recording at *path*; raises :class:`RecordingError` that names what is wrong with it.

    *sources* say which topics feed the inputs, where it has topics (an ``.npz`` has the inputs themselves); what their
    transforms read lies in *folder* (None: the working folder).
    """
    if not path.exists():
        raise RecordingError("there is no such file", where=str(path), hint=shipped_hint(path))
    if path.name.endswith(NPZ) and path.is_file():
        return cast(ArrayFormat, importlib.import_module("edgefuse.recordings.npz")).open(path, wanted)
    mapped = cast(TopicFormat, importlib.import_module("edgefuse.recordings.mapped"))
    return mapped.open(path, wanted, sources or {}, folder)
