"""Samples out of a recording: only what the chosen instants need is decoded, and the runtime's own inbox checks it and
makes the windows, so that a sample is bit for bit what the runtime would feed the model at that instant. Numpy only.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.instants import Aligned
from edgefuse.calibration.tracks import Track
from edgefuse.recordings import Message, Recording
from edgefuse.spec import Array, TensorSpec
from edgefuse.stream.inbox import Inbox

UNREADABLE = "could not be read"

Indices = NDArray[np.int64]


class Taken(NamedTuple):
    """The sample of the instant number ``instant`` of an :class:`Aligned`; ``feed`` has the sensors' inputs."""

    instant: int
    feed: dict[str, Array]
    label: Array | None


@dataclass
class _Waiting:
    """An instant whose data come one stream after the other."""

    index: int
    missing: set[str]
    feed: dict[str, Array] = field(default_factory=dict)
    failed: str = ""


def take_samples(
    recording: Recording,
    tracks: Mapping[str, Track],
    aligned: Aligned,
    chosen: Indices,
    labelled: bool,
    dropped: Counter[str],
) -> Iterator[Taken]:
    """The samples of the *chosen* instants (indices in order) in order; memory holds those that are not complete yet,
    and what several have in common. One that cannot be made is left out and counted in *dropped* by reason."""
    waiting = deque(_Waiting(index, set(tracks)) for index in chosen.tolist())
    if not waiting:
        return
    labels = _LabelsInOrder(recording) if labelled else None
    for index, feed in _complete(recording, tracks, aligned, waiting, dropped):
        yield Taken(index, feed, labels.at(int(aligned.label[index])) if labels else None)


def _complete(
    recording: Recording,
    tracks: Mapping[str, Track],
    aligned: Aligned,
    waiting: deque[_Waiting],
    dropped: Counter[str],
) -> Iterator[tuple[int, dict[str, Array]]]:
    feeds = {name: _StreamFeed(track, aligned, waiting) for name, track in tracks.items()}
    for message in recording.messages(list(tracks), {name: feed.wanted for name, feed in feeds.items()}):
        feeds[message.stream].delivered(message)
        yield from _ready(waiting, dropped)
    for feed in feeds.values():
        feed.ended()
    yield from _ready(waiting, dropped)


def _ready(waiting: deque[_Waiting], dropped: Counter[str]) -> Iterator[tuple[int, dict[str, Array]]]:
    while waiting and (waiting[0].failed or not waiting[0].missing):
        done = waiting.popleft()
        if done.failed:
            dropped[done.failed] += 1
        else:
            yield done.index, done.feed


class _LabelsInOrder:
    """Labels by their number, which must not go back; memory holds one."""

    def __init__(self, recording: Recording) -> None:
        self._labels, self._at, self._value = recording.labels(), -1, np.zeros(0)

    def at(self, number: int) -> Array:
        while self._at < number:
            self._value, self._at = np.asarray(next(self._labels).value), self._at + 1
        return self._value


class _StreamFeed:
    """One stream's share: ``wanted`` are the numbers of the deliveries to be decoded."""

    def __init__(self, track: Track, aligned: Aligned, waiting: deque[_Waiting]) -> None:
        self._track, self._inbox = track, Inbox(track.name, track.items, track.policy)
        window = track.policy.kind == "window"
        self._targets: dict[int, list[_Waiting]] = {}
        pushed = set[int]()
        for item in waiting:
            last = int(aligned.used[track.name][item.index])
            self._targets.setdefault(last, []).append(item)
            pushed |= set(range(int(track.first[last]), last + 1)) if window else {last}
        self._places = {int(track.numbers[place]): place for place in pushed}
        self.wanted = frozenset(self._places)
        self._begins = frozenset(place for place in pushed if place - 1 not in pushed)
        self._open = deque(sorted(self._targets))

    def delivered(self, message: Message) -> None:
        place = self._places[message.number]
        self._give_up_before(place)
        if place in self._begins:
            self._inbox.clear()
        pushed = self._inbox.push(message.arrays, message.stamp_ns)
        if self._open and self._open[0] == place:
            self._open.popleft()
            found = self._inbox.take(int(self._track.times_ns[place])) if pushed else None
            reason = f"{self._track.name}: {pushed.reason}" if not pushed else f"window of {self._track.name} not full"
            for item in self._targets.pop(place):
                if found is None:
                    item.failed = item.failed or reason
                else:
                    item.feed |= found.arrays
                    item.missing.discard(self._track.name)

    def ended(self) -> None:
        self._give_up_before(len(self._track.times_ns))

    def _give_up_before(self, place: int) -> None:
        while self._open and self._open[0] < place:
            for item in self._targets.pop(self._open.popleft()):
                item.failed = item.failed or f"{self._track.name} {UNREADABLE}"


def resting_state(inputs: tuple[TensorSpec, ...], state: Mapping[str, str]) -> dict[str, Array]:
    """The model's own state as a stream begins with it: zeros."""
    return {item.name: np.zeros(item.smallest(), item.dtype) for item in inputs if item.name in state}
