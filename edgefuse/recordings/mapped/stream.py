"""One stream of a mapped recording: its deliveries are made of the messages of one topic, or of several that are joined
on their stamps. Numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.errors import RecordingError
from edgefuse.recordings import Message
from edgefuse.recordings.formats import Raw
from edgefuse.recordings.mapped.plan import Reader
from edgefuse.recordings.mapped.times import Times, Track, nearest_within
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array, TensorSpec

Arrays = dict[str, Array]
TOLERANCE_MS = 10.0


class Drops:
    """Which of *count* messages do not fit, and why: a byte each, so that one that is read again counts once."""

    def __init__(self, count: int, before: Mapping[str, int] = {}) -> None:
        self._codes = np.zeros(count, np.uint8)
        self._firsts: dict[str, str] = {}
        self._before = before

    def add(self, number: int, error: Misfit) -> None:
        reason = error.reason if error.reason in self._firsts or len(self._firsts) < 255 else next(iter(self._firsts))
        self._firsts.setdefault(reason, str(error))
        self._codes[number] = 1 + list(self._firsts).index(reason)

    def counts(self) -> dict[str, int]:
        found = np.bincount(self._codes, minlength=1 + len(self._firsts))[1:]
        return {**self._before, **{reason: int(n) for reason, n in zip(self._firsts, found) if n}}

    def notes(self, name: str) -> Iterator[str]:
        for reason, detail in self._firsts.items():
            yield f"{name}: the first that was dropped for {reason!r}: {detail}"


@dataclass(frozen=True)
class MappedStream:
    """Delivery *d* is made of message ``parts[topic][d]`` of each topic, and of ``held`` arrays, which are always the
    same; ``places`` is the way back. ``parts`` None: of message *d* of the only topic."""

    name: str
    readers: Mapping[str, tuple[Reader, ...]]
    stamps: Times
    arrivals: Times
    drops: Drops
    parts: Mapping[str, Times] | None = None
    held: Arrays = field(default_factory=dict)
    places: Mapping[str, tuple[Times, Times]] = field(default_factory=dict)

    def users(self, topic: str, number: int) -> Iterator[int]:
        """The deliveries that message *number* of *topic* is a part of."""
        if self.parts is None:
            return iter((number,) if number < len(self.stamps) else ())
        ordered, order = self.places[topic]
        first, last = np.searchsorted(ordered, (number, number + 1))
        return map(int, order[first:last])

    def read(self, topic: str, decode: Callable[[], Any]) -> Arrays | Misfit:
        """The arrays that a message of *topic* gives, or why it gives none."""
        try:
            return {reader.name: reader(decode()) for reader in self.readers[topic]}
        except ValueError as error:
            return as_misfit(error)

    def message(self, number: int, arrays: Arrays) -> Message:
        return Message(self.name, arrays, int(self.stamps[number]), int(self.arrivals[number]), number)


def make_stream(
    name: str,
    readers: tuple[Reader, ...],
    inputs: tuple[TensorSpec, ...],
    tracks: Mapping[str, Track],
    firsts: Mapping[str, Array],
) -> MappedStream:
    """The stream of topics that have messages; *firsts*: the first array of each input. The topic of the first input
    leads, and takes from the others the nearest in time; what a topic's only message says holds all the time."""
    groups: dict[str, tuple[Reader, ...]] = {}
    for reader in readers:
        groups[reader.source.topic] = (*groups.get(reader.source.topic, ()), reader)
    main = next((topic for topic in groups if len(tracks[topic].stamps) > 1), next(iter(groups)))
    lone = [topic for topic in groups if topic != main and len(tracks[topic].stamps) == 1]
    held = {reader.name: firsts[reader.name] for topic in lone for reader in groups[topic]}
    moving = {topic: group for topic, group in groups.items() if topic not in lone}
    track = tracks[main]
    if len(moving) == 1:
        return MappedStream(name, moving, track.stamps, track.arrivals, Drops(len(track.stamps)), held=held)
    parts, lacking = _join(main, moving, inputs, tracks)
    arrivals = np.max([tracks[topic].arrivals[numbers] for topic, numbers in parts.items()], axis=0)
    order = np.argsort(arrivals, kind="stable")
    parts = {topic: numbers[order] for topic, numbers in parts.items()}
    stamps, drops = track.stamps[parts[main]], Drops(len(arrivals), lacking)
    return MappedStream(name, moving, stamps, arrivals[order], drops, parts, held, _places(parts))


def idle_notes(streams: Iterable[MappedStream], tracks: Mapping[str, Track]) -> Iterator[str]:
    """Topics of which most messages are part of no delivery, since another topic leads their stream."""
    for stream in streams:
        for topic, numbers in (stream.parts or {}).items():
            count, idle = len(tracks[topic].stamps), len(tracks[topic].stamps) - len(np.unique(numbers))
            if idle * 2 > count:
                leader = next(iter(stream.parts or ()))
                yield f"{stream.name}: {idle} of {count} messages of {topic} are nearest to none of {leader}"


def _join(
    main: str, groups: Mapping[str, tuple[Reader, ...]], inputs: tuple[TensorSpec, ...], tracks: Mapping[str, Track]
) -> tuple[dict[str, Times], dict[str, int]]:
    """Topic to the message for each delivery, and how many are none for want of a partner. Raises
    :class:`RecordingError` where that is all of them."""
    stamps = tracks[main].stamps
    parts: dict[str, Times] = {main: np.arange(len(stamps))}
    lacking: dict[str, int] = {}
    whole = np.ones(len(stamps), np.bool_)
    for topic, group in groups.items():
        if topic == main:
            continue
        tolerance_ms = _tolerance_ms(group, inputs)
        parts[topic] = nearest_within(stamps, tracks[topic].stamps, round(tolerance_ms * 1e6))
        lost = int((whole & (parts[topic] < 0)).sum())
        whole &= parts[topic] >= 0
        if lost:
            lacking[f"no {group[0].name} within {tolerance_ms:g} ms"] = lost
        if not whole.any():
            raise RecordingError(
                f"no message of {main} has one of {topic} within {tolerance_ms:g} ms",
                hint=f"Inputs of one stream are acquired together. Say how far apart: [recording.{group[0].name}] "
                "tolerance_ms = …",
            )
    return {topic: numbers[whole] for topic, numbers in parts.items()}, lacking


def _places(parts: Mapping[str, Times]) -> dict[str, tuple[Times, Times]]:
    """Topic to its message numbers, sorted, and the deliveries that they are a part of."""
    orders = {topic: np.argsort(numbers, kind="stable") for topic, numbers in parts.items()}
    return {topic: (parts[topic][order], order) for topic, order in orders.items()}


def _tolerance_ms(readers: tuple[Reader, ...], inputs: tuple[TensorSpec, ...]) -> float:
    """How far apart in time two messages of one delivery may be."""
    given = [reader.source.tolerance_ms for reader in readers if reader.source.tolerance_ms is not None]
    rates = [item.rate_hz for item in inputs if item.rate_hz]
    return min(given) if given else 500 / max(rates) if rates else TOLERANCE_MS


class Assembly:
    """What has been read of one stream, and waits for its other topics. *chosen*: only these deliveries are made."""

    def __init__(self, stream: MappedStream, chosen: Container[int] | None) -> None:
        self._stream, self._chosen = stream, chosen
        self._waiting: dict[str, dict[int, Arrays | Misfit]] = {name: {} for name in stream.readers}
        self._left: Counter[tuple[str, int]] = Counter()

    def add(self, raw: Raw, number: int, decode: Callable[[], Any]) -> Iterator[Message]:
        """The deliveries that are whole with message *number* of its topic."""
        users = [n for n in self._stream.users(raw.topic, number) if self._chosen is None or n in self._chosen]
        if not users:
            return
        content = self._stream.read(raw.topic, decode)
        if self._stream.parts is None:
            yield from self._emit(users[0], [content])
            return
        self._waiting[raw.topic][number] = content
        self._left[raw.topic, number] = len(users)
        for user in users:
            places = {topic: int(numbers[user]) for topic, numbers in self._stream.parts.items()}
            if all(place in self._waiting[topic] for topic, place in places.items()):
                contents = [self._waiting[topic][place] for topic, place in places.items()]
                self._release(places)
                yield from self._emit(user, contents)

    def _release(self, places: Mapping[str, int]) -> None:
        """One delivery less needs each of these messages."""
        for topic, place in places.items():
            self._left[topic, place] -= 1
            if not self._left[topic, place]:
                del self._waiting[topic][place], self._left[topic, place]

    def _emit(self, number: int, contents: list[Arrays | Misfit]) -> Iterator[Message]:
        arrays = dict(self._stream.held)
        for content in contents:
            if isinstance(content, Misfit):
                self._stream.drops.add(number, content)
                return
            arrays |= content
        yield self._stream.message(number, arrays)


class Probe:
    """Tries the first messages of *reader*'s topic, so that a wrong field or transform is found before anything runs.
    ``array`` is the first that fits."""

    MOST = 5

    def __init__(self, reader: Reader, path: Path) -> None:
        self.reader = reader
        self._where = f"{path}: {reader.source.topic}, for {reader.name}"
        self.array: Array | None = None
        self._tried = 0
        self._error: Misfit | None = None

    @property
    def waits(self) -> bool:
        return self.array is None and self._tried < self.MOST

    def see(self, decode: Callable[[], Any]) -> None:
        self._tried += 1
        try:
            self.array = self.reader(decode())
        except RecordingError as error:
            raise RecordingError(error.what, where=self._where, hint=error.hint) from None
        except ValueError as error:
            self._error = self._error or as_misfit(error)

    def check(self) -> None:
        """Raise :class:`RecordingError` where none of the first messages could be used."""
        if self.array is None and self._error is not None:
            first = "the only message" if self._tried == 1 else f"none of the first {self._tried} messages"
            fits = "does not fit" if self._tried == 1 else "fits"
            raise RecordingError(
                f"{first} {fits}: {self._error}",
                where=self._where,
                hint=f"Its type is {self.reader.kind}. See field and transforms in docs/recordings.md.",
            )


def as_misfit(error: ValueError) -> Misfit:
    return error if isinstance(error, Misfit) else Misfit("decode", str(error))


def once(raw: Raw) -> Callable[[], Any]:
    """``raw.decode``, which several readers may call."""
    found: list[Any] = []

    def decode() -> Any:
        if not found:
            found.append(raw.decode())
        return found[0]

    return decode
