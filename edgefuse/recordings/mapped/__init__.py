"""Recordings of topics (ROS bags, MCAP, LeRobot, HDF5) as what a model takes: of each message the recipe's field,
through its transforms. Messages are decoded one at a time while they are read; times are held, 16 bytes a message.
Numpy only.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefuse.errors import RecordingError
from edgefuse.recordings import Label, Message, Wanted
from edgefuse.recordings.formats import Raw, Topics, open_topics
from edgefuse.recordings.mapped.plan import Plan, Reader, make_plan, unmapped
from edgefuse.recordings.mapped.stream import (
    Assembly,
    Drops,
    MappedStream,
    Probe,
    as_misfit,
    idle_notes,
    make_stream,
    once,
)
from edgefuse.recordings.mapped.times import Times, Track, clock_notes, read_tracks
from edgefuse.recordings.mapping import LABEL, Sources
from edgefuse.spec import Array


@dataclass(frozen=True)
class _Labels:
    """``ranks``: of each message its place in the order of stamps."""

    reader: Reader
    stamps: Times
    ranks: Times
    drops: Drops


@dataclass(frozen=True)
class MappedRecording:
    """See :class:`edgefuse.recordings.Recording`."""

    topics: Topics
    streams: Mapping[str, MappedStream]
    labelled: _Labels | None
    unused: tuple[str, ...]
    told: tuple[str, ...]

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
        return 0 if self.labelled is None else len(self.labelled.stamps)

    @property
    def damage(self) -> str:
        return self.topics.damage

    @property
    def dropped(self) -> dict[str, dict[str, int]]:
        found = {name: drops.counts() for name, drops in self._drops()}
        return {name: counts for name, counts in found.items() if counts}

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.told, *(text for name, drops in self._drops() for text in drops.notes(name)))

    def _drops(self) -> Iterator[tuple[str, Drops]]:
        yield from ((name, stream.drops) for name, stream in self.streams.items())
        if self.labelled is not None:
            yield LABEL, self.labelled.drops

    def stamps(self, stream: str) -> Times:
        return self.streams[stream].stamps

    def arrivals(self, stream: str) -> Iterator[int]:
        return map(int, self.streams[stream].arrivals)

    def messages(
        self, streams: Collection[str] | None = None, chosen: Mapping[str, Container[int]] | None = None
    ) -> Iterator[Message]:
        by_topic: dict[str, list[Assembly]] = {}
        for name, stream in self.streams.items():
            if (streams is None or name in streams) and (chosen is None or name in chosen):
                assembly = Assembly(stream, None if chosen is None else chosen[name])
                for topic in stream.readers:
                    by_topic.setdefault(topic, []).append(assembly)
        numbers: Counter[str] = Counter()
        for raw in self.topics.messages(by_topic):
            decode = once(raw)
            for assembly in by_topic[raw.topic]:
                yield from assembly.add(raw, numbers[raw.topic], decode)
            numbers[raw.topic] += 1

    def labels(self) -> Iterator[Label]:
        if self.labelled is None:
            return
        found, stamps, ranks = self.labelled, self.labelled.stamps, self.labelled.ranks
        waiting: list[tuple[int, int, Array | None]] = []
        due = 0
        for number, raw in enumerate(self.topics.messages([found.reader.source.topic])):
            if number < len(stamps):
                heapq.heappush(waiting, (int(ranks[number]), number, self._label(raw, number)))
            while waiting and waiting[0][0] == due:
                _, place, value = heapq.heappop(waiting)
                due += 1
                if value is not None:
                    yield Label(value, int(stamps[place]))

    def _label(self, raw: Raw, number: int) -> Array | None:
        assert self.labelled is not None
        try:
            return self.labelled.reader(raw.decode())
        except ValueError as error:
            self.labelled.drops.add(number, as_misfit(error))
        return None

    def close(self) -> None:
        self.topics.close()


def open(path: Path, wanted: Mapping[str, Wanted], sources: Sources, folder: Path | None) -> MappedRecording:
    """Reads every time and tries the first messages; see :class:`edgefuse.recordings.TopicFormat`."""
    topics = open_topics(path)
    try:
        return open_mapped(path, topics, wanted, sources, folder or Path())
    except BaseException:
        topics.close()
        raise


def open_mapped(
    path: Path, topics: Topics, wanted: Mapping[str, Wanted], sources: Sources, folder: Path
) -> MappedRecording:
    """*topics*, which the file at *path* holds, as the streams *wanted*."""
    if not sources:
        raise unmapped(path, topics.topics, wanted)
    plan = make_plan(path, topics.topics, wanted, sources, folder)
    tracks, firsts, shift_ns = _look(path, topics, plan)
    empty = [name for name, group in plan.readers.items() if not all(_count(reader, tracks) for reader in group)]
    streams: dict[str, MappedStream] = {}
    for name, group in plan.readers.items():
        if name not in empty:
            try:
                streams[name] = make_stream(name, group, wanted[name].inputs, tracks, firsts)
            except RecordingError as error:
                raise RecordingError(error.what, where=str(path), hint=error.hint) from None
    without = [f"{topic} has no messages" for topic, track in tracks.items() if not len(track.stamps)]
    if not streams:
        raise RecordingError(f"holds no deliveries: {', '.join(without)}", where=str(path), hint=topics.damage)
    unused = tuple(name for name in topics.topics if name not in tracks)
    notes = (*plan.notes, *without, *clock_notes(tracks, shift_ns), *idle_notes(streams.values(), tracks))
    return MappedRecording(topics, streams, _labels(plan.label, tracks), unused, notes)


def _look(path: Path, topics: Topics, plan: Plan) -> tuple[dict[str, Track], dict[str, Array], int]:
    """The times of every topic, the first array of every input, and the clocks' difference (``read_tracks``)."""
    every = [Probe(reader, path) for reader in plan.every_reader()]
    probes: dict[str, list[Probe]] = {}
    for probe in every:
        probes.setdefault(probe.reader.source.topic, []).append(probe)

    def see(raw: Raw) -> None:
        waiting = probes[raw.topic]
        if waiting:
            decode = once(raw)
            for probe in waiting:
                probe.see(decode)
            probes[raw.topic] = [probe for probe in waiting if probe.waits]

    tracks, shift_ns = read_tracks(topics, tuple(probes), see)
    firsts: dict[str, Array] = {}
    for probe in every:
        probe.check()
        if probe.array is not None:
            firsts[probe.reader.name] = probe.array
    return tracks, firsts, shift_ns


def _count(reader: Reader, tracks: Mapping[str, Track]) -> int:
    return len(tracks[reader.source.topic].stamps)


def _labels(reader: Reader | None, tracks: Mapping[str, Track]) -> _Labels | None:
    if reader is None or not _count(reader, tracks):
        return None
    stamps = tracks[reader.source.topic].stamps
    ranks = np.empty(len(stamps), np.int64)
    ranks[np.argsort(stamps, kind="stable")] = np.arange(len(stamps))
    return _Labels(reader, stamps, ranks, Drops(len(stamps)))
