"""Recordings in one ``.npz`` file (``docs/recordings.md``): per input NAME the arrays ``NAME`` (n, …), one row a
delivery, ``NAME.stamp_ns`` (n,) int64 and, where data took time to arrive, ``NAME.arrival_ns``; also ``label`` and
``label.stamp_ns``. Rows are read one at a time; times are held. Standard library and numpy only; never unpickles.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefuse.errors import CalibrationError, RecordingError
from edgefuse.recordings import Label, Message, Wanted
from edgefuse.samples import DAMAGED, ArrayHeader, iterate_rows, read_headers
from edgefuse.spec import Array, TensorSpec, shape_text
from edgefuse.stream.inbox import fit_samples

STAMP, ARRIVAL, LABEL = ".stamp_ns", ".arrival_ns", "label"

Times = NDArray[np.int64]
Headers = Mapping[str, ArrayHeader]


@dataclass(frozen=True)
class _Stream:
    """``bare``: names of the arrays whose rows lack the input's batch dimension."""

    headers: Headers
    bare: frozenset[str]
    stamps: Times
    arrivals: Times


@dataclass(frozen=True)
class NpzRecording:
    """See :class:`edgefuse.recordings.Recording`."""

    path: Path
    streams: Mapping[str, _Stream]
    label: ArrayHeader | None
    label_stamps: Times
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()
    damage: str = ""

    @property
    def dropped(self) -> dict[str, dict[str, int]]:
        return {}

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(stream.stamps) for name, stream in self.streams.items()}

    @property
    def start_ns(self) -> int:
        return min(int(stream.arrivals[0]) for stream in self.streams.values())

    @property
    def end_ns(self) -> int:
        return max(int(stream.arrivals[-1]) for stream in self.streams.values())

    @property
    def label_count(self) -> int:
        return len(self.label_stamps)

    def messages(
        self, streams: Collection[str] | None = None, chosen: Mapping[str, Container[int]] | None = None
    ) -> Iterator[Message]:
        names = [name for name in self.streams if streams is None or name in streams]
        found = [self._deliveries(name, chosen.get(name, ()) if chosen is not None else None) for name in names]
        return heapq.merge(*found, key=attrgetter("arrival_ns"))

    def stamps(self, stream: str) -> Times:
        return self.streams[stream].stamps

    def arrivals(self, stream: str) -> Iterator[int]:
        return map(int, self.streams[stream].arrivals)

    def labels(self) -> Iterator[Label]:
        if self.label is not None:
            for row, stamp in zip(self._rows({LABEL: self.label}), self.label_stamps):
                yield Label(row[LABEL], int(stamp))

    def close(self) -> None:
        """A file is open only while it is read."""

    def _deliveries(self, name: str, chosen: Container[int] | None) -> Iterator[Message]:
        stream = self.streams[name]
        for index, row in enumerate(self._rows(stream.headers)):
            if chosen is None or index in chosen:
                arrays = {key: array[np.newaxis] if key in stream.bare else array for key, array in row.items()}
                yield Message(name, arrays, int(stream.stamps[index]), int(stream.arrivals[index]), index)

    def _rows(self, headers: Headers) -> Iterator[dict[str, Array]]:
        with _recording_errors():
            yield from iterate_rows(self.path, headers)


def open(path: Path, wanted: Mapping[str, Wanted]) -> NpzRecording:
    """Checks names, lengths, dtypes, shapes and times; see :class:`edgefuse.recordings.ArrayFormat`."""
    with _recording_errors():
        headers = read_headers(path)
    found = {name: _read_stream(path, headers, item) for name, item in wanted.items() if _present(headers, item)}
    inputs = {item.name for stream in wanted.values() for item in stream.inputs}
    if not found:
        raise RecordingError(
            f"holds none of the model's inputs, but {', '.join(sorted(headers)) or 'nothing'}",
            where=str(path),
            hint=f"The model takes: {', '.join(sorted(inputs))}.",
        )
    streams = {name: stream for name, stream in found.items() if len(stream.stamps)}
    if not streams:
        raise RecordingError("holds no deliveries: every array is empty", where=str(path))
    label, stamps = _read_labels(path, headers) if LABEL not in inputs else (None, np.zeros(0, np.int64))
    known = {f"{name}{end}" for name in (*inputs, LABEL) for end in ("", STAMP, ARRIVAL)}
    return NpzRecording(path, streams, label, stamps, tuple(sorted(headers.keys() - known)))


def _present(headers: Headers, wanted: Wanted) -> bool:
    return any(f"{item.name}{end}" in headers for item in wanted.inputs for end in ("", STAMP, ARRIVAL))


def _read_stream(path: Path, headers: Headers, wanted: Wanted) -> _Stream:
    names = [item.name for item in wanted.inputs]
    for name in names:
        for needed in (name, name + STAMP):
            if needed not in headers:
                raise _missing(path, needed, headers)
    bare = {item.name for item in wanted.inputs if _is_bare(headers[item.name], item, wanted.axis, path)}
    stamps = _equal_times(path, headers, [name + STAMP for name in names])
    arriving = [name + ARRIVAL for name in names if name + ARRIVAL in headers]
    if arriving:
        arrivals = _equal_times(path, headers, arriving)
        _check_order(arrivals, f"{path}: {arriving[0]}", "deliveries stand in the order in which they arrived")
    else:  # what comes after another delivery has not arrived before it
        arrivals = np.maximum.accumulate(stamps)
    for name in names:
        _check_length(headers[name], stamps, path, name, name + STAMP)
    _check_length(ArrayHeader(arrivals.shape, arrivals.dtype), stamps, path, (arriving or names)[0], names[0] + STAMP)
    return _Stream({name: headers[name] for name in names}, frozenset(bare), stamps, arrivals)


def _is_bare(header: ArrayHeader, item: TensorSpec, axis: int | None, path: Path) -> bool:
    """Whether rows lack the batch dimension; raises where they do not fit the input at all."""
    where = f"{path}: {item.name}"
    if header.dtype != item.dtype:
        raise RecordingError(
            f"has dtype {header.dtype}; the model takes {item.dtype}",
            where=where,
            hint=f"Convert it with array.astype(numpy.{item.dtype}) before saving.",
        )
    for bare in (False, True):
        if header.shape and _fits((1, *header.shape[1:]) if bare else header.shape[1:], item, axis):
            return bare
    shape = shape_text(header.shape)
    kind = "a row is one delivery" if axis is None else f"a row is one sample, or several along axis {axis}"
    raise RecordingError(f"has shape {shape}; expected (n)x{item.shape_text}: {kind}", where=where)


def _fits(shape: tuple[int, ...], item: TensorSpec, axis: int | None) -> bool:
    if axis is None:
        return item.fits(shape)
    return fit_samples(np.broadcast_to(np.zeros((), item.dtype), shape), item, axis) is not None


def _equal_times(path: Path, headers: Headers, names: list[str]) -> Times:
    """The times that all of *names*, of inputs that are delivered together, hold alike."""
    found = [_read_times(path, headers, name) for name in names]
    for name, times in zip(names, found):
        if not np.array_equal(times, found[0]):
            raise RecordingError(
                f"differs from {names[0]}, and both inputs are of one stream",
                where=f"{path}: {name}",
                hint="What a sensor delivers together has the same times.",
            )
    return found[0]


def _read_times(path: Path, headers: Headers, name: str) -> Times:
    header, where = headers[name], f"{path}: {name}"
    if header.dtype != np.int64 or len(header.shape) != 1:
        shape = shape_text(header.shape)
        raise RecordingError(
            f"is {shape} {header.dtype}; expected n int64",
            where=where,
            hint="Times are nanoseconds: numpy.round(seconds * 1e9).astype(numpy.int64).",
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            times: Times = archive[name]
    except DAMAGED as error:
        raise RecordingError(f"the data are damaged ({error})", where=where, hint="Copy the file again.") from None
    return times


def _read_labels(path: Path, headers: Headers) -> tuple[ArrayHeader | None, Times]:
    if LABEL not in headers and LABEL + STAMP not in headers:
        return None, np.zeros(0, np.int64)
    for needed in (LABEL, LABEL + STAMP):
        if needed not in headers:
            raise _missing(path, needed, headers)
    header, stamps = headers[LABEL], _read_times(path, headers, LABEL + STAMP)
    if header.dtype.kind not in "iufb":
        raise RecordingError(f"has dtype {header.dtype}; expected numbers", where=f"{path}: {LABEL}")
    _check_length(header, stamps, path, LABEL, LABEL + STAMP)
    _check_order(stamps, f"{path}: {LABEL}{STAMP}", "labels stand in the order of their stamps")
    return header, stamps


def _check_length(header: ArrayHeader, stamps: Times, path: Path, name: str, other: str) -> None:
    rows = header.shape[0] if header.shape else 0
    if rows != len(stamps):
        raise RecordingError(f"has {rows} rows, and {other} {len(stamps)}", where=f"{path}: {name}")


def _check_order(times: Times, where: str, rule: str) -> None:
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise RecordingError(f"goes back at row {int(back[0]) + 1}; {rule}", where=where, hint="Sort the rows.")


def _missing(path: Path, name: str, headers: Headers) -> RecordingError:
    return RecordingError(f"has no array {name!r}", where=str(path), hint=f"It holds: {', '.join(sorted(headers))}.")


@contextmanager
def _recording_errors() -> Iterator[None]:
    """What is wrong with the file is told of a recording, not of a calibration set."""
    try:
        yield
    except CalibrationError as error:
        raise RecordingError(error.what, where=error.where, hint=error.hint) from None
