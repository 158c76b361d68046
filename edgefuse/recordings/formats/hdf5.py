"""HDF5 files (``.h5``, ``.hdf5``): every dataset of n rows is a topic, named by its path (``observations/qpos``), and a
row is a message. The only file that imports ``h5py``.

When a row was acquired is looked for, for a dataset ``a/image``, in this order; what has not n entries is passed over:

1. ``a/image.stamp_ns``, in nanoseconds
2. in ``a``, then in each group above it: ``stamp_ns``, ``timestamp``, ``timestamps``, ``time``; floats are seconds,
   integers nanoseconds
3. the attribute ``rate_hz`` or ``fps`` of the dataset, of ``a``, of each group above it, of the file

It arrived at ``a/image.arrival_ns`` or ``a/arrival_ns``, otherwise when it was acquired; nothing arrives before what
stands in an earlier row.

A file of episodes (``data/demo_0/…``, as robomimic writes it) has the topics of one episode; the episodes lie one
behind another, at least 10 s apart, so that streams begin anew. Rows are read when they are decoded, a few together.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.errors import MissingToolError, RecordingError
from edgefuse.recordings.formats import Raw, Topic, reading
from edgefuse.recordings.formats.hdf5_times import START_NS, Times, is_time, read_times
from edgefuse.spec import shape_text

try:
    import h5py  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingToolError(
        "the package 'h5py' is not installed", hint="Install it with: pip install 'edgefuse[hdf5]'"
    ) from error

EPISODE = re.compile(r"(?:data/)?(?:demo|episode)_(\d+)/(.+)")
GAP_NS = 10_000_000_000
SLAB = 1 << 20
"""Bytes of rows that are read together."""
LARGEST_CHUNK = 16 << 20
"""A chunk up to this is read as a whole, since it has to be unpacked as a whole."""
LARGEST_CACHE = 256 << 20
"""For a larger one, which would be unpacked again for every few rows."""
VLEN_ROWS = 16
MOST_ROWS, LARGEST_ROW = 1 << 28, 1 << 30
"""What claims more is damaged, or made to fill the memory."""

READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)
"""What h5py raises where a file is damaged."""


Shapes = dict[str, tuple[tuple[int, ...], Any, int]]
"""Place to shape, dtype and bytes of a chunk."""


@dataclass(frozen=True)
class Part:
    """The rows of a topic in one dataset: the only one, or an episode's."""

    place: str
    rows: int
    episode: int | None
    chunk_bytes: int


@dataclass(frozen=True)
class Hdf5Topics:
    """See :class:`edgefuse.recordings.formats.Topics`. ``shifts``: episode to what is added to its times."""

    path: Path
    topics: Mapping[str, Topic]
    parts: Mapping[str, tuple[Part, ...]]
    shifts: Mapping[int | None, int]
    damage: str

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        with reading(self.path):
            chosen = [topic for topic in self.parts if topic in names]
            largest = max((part.chunk_bytes for topic in chosen for part in self.parts[topic]), default=0)
            file = _open_file(self.path, min(largest + SLAB, LARGEST_CACHE) if largest > LARGEST_CHUNK else SLAB)
            found = [self._rows(file, topic) for topic in chosen]
        return heapq.merge(*found, key=attrgetter("arrival_ns"))

    def close(self) -> None:
        """The file is open as long as messages of it are held."""

    def _rows(self, file: Any, topic: str) -> Iterator[Raw]:
        """Raises at once where the topic has no times."""
        times = [_read_times(self.path, file, part) for part in self.parts[topic]]
        return self._each(file, topic, times)

    def _each(self, file: Any, topic: str, times: Sequence[Times]) -> Iterator[Raw]:
        for part, (stamps, arrivals) in zip(self.parts[topic], times):
            rows, shift = _Rows(file, part.place), self.shifts[part.episode]
            for index, (stamp_ns, arrival_ns) in enumerate(zip(stamps.tolist(), arrivals.tolist())):
                yield Raw(topic, stamp_ns + shift, arrival_ns + shift, partial(rows.row, index))


def open(path: Path) -> Hdf5Topics:
    """See :class:`edgefuse.recordings.formats.Format`."""
    topics, parts, damage = dict[str, Topic](), dict[str, list[Part]](), ""
    with reading(path), _open_file(path) as file:
        shapes: Shapes = {}
        try:
            file.visititems(partial(_note_dataset, shapes))
            endless = [place for place, (shape, *_) in shapes.items() if shape[0] > MOST_ROWS]
            for place in endless:
                damage = f"{place} claims to have {shapes.pop(place)[0][0]} rows"
        except READ_ERRORS as error:
            damage = f"not all of its datasets can be found: {_reason(error)}"
            if not shapes:
                raise RecordingError(damage, where=str(path)) from error
        for place, (shape, dtype, chunk_bytes) in shapes.items():
            match = EPISODE.fullmatch(place)
            name, episode = (match[2], int(match[1])) if match else (place, None)
            parts.setdefault(name, []).append(Part(place, shape[0], episode, chunk_bytes))
            count = (topics[name].count or 0) if name in topics else 0
            kind = "text" if h5py.check_string_dtype(dtype) else dtype
            topics[name] = Topic(name, f"{kind} {shape_text(shape[1:])}".strip(), count + shape[0])
        ordered = {name: tuple(sorted(found, key=lambda part: part.episode or 0)) for name, found in parts.items()}
        return Hdf5Topics(path, topics, ordered, _lay_out(path, file, ordered), damage)


def _note_dataset(shapes: Shapes, name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset) and item.shape and not is_time(name) and not item.external:
        shapes[name] = item.shape, item.dtype, math.prod(item.chunks or ()) * int(item.dtype.itemsize)


def _lay_out(path: Path, file: Any, parts: Mapping[str, Sequence[Part]]) -> dict[int | None, int]:
    """What is added to the times of each episode, so that they lie one behind another."""
    spans: dict[int, tuple[int, int]] = {}
    for part in (part for found in parts.values() for part in found):
        if part.episode is None or not part.rows:
            continue
        try:
            stamps, arrivals = _read_times(path, file, part)
        except RecordingError:  # only those that are asked for must have times
            continue
        first, last = int(stamps.min()), int(arrivals[-1])
        start, end = spans.get(part.episode, (first, last))
        spans[part.episode] = min(start, first), max(end, last)
    shifts: dict[int | None, int] = {None: 0}
    at = START_NS
    for episode, (start, end) in sorted(spans.items()):
        shifts[episode] = at - start
        at += end - start + GAP_NS
    return shifts


def _read_times(path: Path, file: Any, part: Part) -> Times:
    where = f"{path}: {part.place}"
    try:
        return read_times(file, part.place, part.rows, where)
    except READ_ERRORS as error:
        raise RecordingError(f"its times cannot be read: {_reason(error)}", where=where) from error


def _open_file(path: Path, cache_bytes: int = SLAB) -> Any:
    size = path.stat().st_size
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=cache_bytes)
    except OSError as error:
        if error.errno:
            raise
        what = f"is no HDF5 file that can be read: {_reason(error)}"
        if not size:
            what = "is empty: 0 bytes"
        elif "signature" in str(error):
            what = "is no HDF5 file"
        elif "truncated" in str(error):
            what = f"is cut short: {size} bytes are there, and HDF5 cannot open such a file"
        hint = "Its writer did not close it? Try: h5clear -s FILE" if "consistency" in str(error) else ""
        raise RecordingError(what, where=str(path), hint=hint) from error


class _Rows:
    """The rows of a dataset, the newest few of them in memory."""

    def __init__(self, file: Any, place: str) -> None:
        self._file, self._place = file, place
        self._dataset: Any = None
        self._start, self._slab = 0, np.zeros(0)

    def row(self, index: int) -> Any:
        """An array, a text, or a dict of the fields of a compound; raises ``ValueError``."""
        try:
            if not self._start <= index < self._start + len(self._slab):
                self._dataset = self._dataset or self._file[self._place]
                count = _rows_together(self._dataset)
                start = index // count * count
                self._slab, self._start = self._dataset[start : start + count], start
            return _plain(self._slab[index - self._start])
        except READ_ERRORS as error:
            raise ValueError(f"row {index} cannot be read: {_reason(error)}") from error


def _rows_together(dataset: Any) -> int:
    if dataset.dtype.hasobject:
        return VLEN_ROWS
    size = max(int(dataset.dtype.itemsize) * math.prod(dataset.shape[1:]), 1)
    if size > LARGEST_ROW:
        raise ValueError(f"it claims to have {size} bytes")
    if dataset.chunks and dataset.chunks[0] * size <= LARGEST_CHUNK:
        return int(dataset.chunks[0])
    return int(max(SLAB // size, 1))


def _plain(value: Any) -> Any:
    if isinstance(value, np.void) and value.dtype.names:
        return {name: _plain(value[name]) for name in value.dtype.names}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else np.array(value)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
