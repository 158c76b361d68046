"""Recordings that are files of blocks (chunks), each with many messages of a stretch of time: read block by block, in
order of arrival, with what is damaged left out and counted. Standard library only."""

from __future__ import annotations

import heapq
import zlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import Raw, Topic, reading
from edgefuse.recordings.formats.compression import LARGEST, unpack
from edgefuse.recordings.formats.payloads import Codec

OPEN_AT_ONCE = 512 << 20
"""Bytes of the blocks whose times overlap, which are in memory at the same time."""

T = TypeVar("T")


class Record(NamedTuple):
    """A message in a block: *data* is a part of the block's bytes."""

    time_ns: int
    channel: int
    data: memoryview


@dataclass(frozen=True)
class Block:
    """*length* bytes of the file from *offset* on, which unpack to *size*, with messages from *start_ns* to *end_ns*.

    ``channels``  of its messages; None where that is not known before it is read
    ``count``     of its messages; None where that is not known
    ``crc``       of the unpacked bytes; 0: none
    ``cut``       the file ends within it
    """

    offset: int
    length: int
    start_ns: int
    end_ns: int
    size: int
    compression: str = ""
    channels: frozenset[int] | None = None
    count: int | None = None
    crc: int = 0
    cut: bool = False


Split = Callable[[memoryview], Iterator[Record]]
"""The messages in a block's bytes; raises ``ValueError`` where they are damaged (after those that are not)."""


@dataclass
class Blocks:
    """The blocks of the file at *path*. ``lost``: a block's offset to what is wrong with it, as far as has been read. A
    block that is cut is not in it."""

    path: Path
    blocks: Sequence[Block]
    split: Split
    lost: dict[int, str] = field(default_factory=dict)

    @property
    def damage(self) -> list[str]:
        """A phrase for each thing that is wrong with blocks."""
        counts = Counter(self.lost.values())
        return [f"{count} of {len(self.blocks)} chunks: {reason}" for reason, count in counts.items()]

    def records(self, channels: Collection[int]) -> Iterator[Record]:
        """The messages of *channels* in order of their times."""
        chosen = [item for item in self.blocks if item.channels is None or not item.channels.isdisjoint(channels)]
        _check_overlap(chosen, self.path)
        with reading(self.path), self.path.open("rb") as file:
            parts = [(item.start_ns, lambda item=item: self._read(file, item, channels)) for item in chosen]
            yield from in_order(parts, itemgetter(0))

    def _read(self, file: BinaryIO, block: Block, channels: Collection[int]) -> Iterator[Record]:
        found: list[Record] = []
        count = 0
        try:
            for record in self.split(load(file, block)):
                count += 1
                wrong = _contradiction(record, block)
                if wrong:
                    self.lost[block.offset] = wrong
                elif record.channel in channels:
                    found.append(record)
            if block.count not in (None, count):
                self.lost[block.offset] = "fewer or more messages than its index says"
        except ValueError as error:
            if not block.cut:
                self.lost[block.offset] = str(error)
        found.sort(key=itemgetter(0))
        found.reverse()
        while found:
            yield found.pop()


def _contradiction(record: Record, block: Block) -> str:
    """In what a message is not as its block's index says; empty: in nothing."""
    if not block.start_ns <= record.time_ns <= block.end_ns:
        return "messages of other times than its index says, which are left out"
    if block.channels is not None and record.channel not in block.channels:
        return "messages of other channels than its index says, which are left out"
    return ""


@dataclass(frozen=True)
class BlockTopics:
    """See :class:`edgefuse.recordings.formats.Topics`. ``channels``: the blocks' channels to their topics; ``codec``
    makes a channel's, and raises ``RecordingError`` where it cannot; ``notes``: damage that is known beforehand."""

    path: Path
    blocks: Blocks
    topics: Mapping[str, Topic]
    channels: Mapping[int, str]
    codec: Callable[[int], Codec]
    notes: Sequence[str]

    @property
    def damage(self) -> str:
        return "; ".join((*self.notes, *self.blocks.damage))

    @property
    def start_ns(self) -> int:
        """Nothing arrives before."""
        return min((item.start_ns for item in self.blocks.blocks if item.channels), default=0)

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        chosen = {key: (topic, self.codec(key)) for key, topic in self.channels.items() if topic in names}
        return self._messages(chosen)

    def close(self) -> None:
        """The file is open only while it is read."""

    def _messages(self, codecs: Mapping[int, tuple[str, Codec]]) -> Iterator[Raw]:
        for time_ns, channel, part in self.blocks.records(codecs.keys()):
            (topic, codec), data = codecs[channel], bytes(part)
            yield Raw(topic, codec.stamp(data), time_ns, partial(codec.decode, data))


def load(file: BinaryIO, block: Block) -> memoryview:
    """The block's bytes; raises ``ValueError`` with a short reason where they are damaged."""
    if block.length > LARGEST:
        raise ValueError(f"claims to be {block.length} bytes long")
    file.seek(block.offset)
    packed = file.read(block.length)
    if len(packed) < block.length:
        raise ValueError("the file ends within it")
    data = unpack(block.compression, packed, block.size, block.cut)
    if block.crc and not block.cut and zlib.crc32(data) != block.crc:
        raise ValueError("its checksum does not match")
    return data


def seconds(blocks: Iterable[Block]) -> float:
    """From the first message to the last."""
    read = [item for item in blocks if item.channels]
    return (max(item.end_ns for item in read) - min(item.start_ns for item in read)) / 1e9 if read else 0.0


def in_order(parts: Iterable[tuple[int, Callable[[], Iterator[T]]]], time: Callable[[T], int]) -> Iterator[T]:
    """The items of *parts* by *time*, each ``(start, open)`` with items in order and none before its start. A part is
    opened when its start has come, so that only parts that overlap are open at once; of equal times the earlier part's
    come first."""
    waiting = deque((start, number, opened) for number, (start, opened) in sorted(enumerate(parts), key=_part_start))
    heap: list[tuple[int, int, T, Iterator[T]]] = []
    while heap or waiting:
        while waiting and (not heap or waiting[0][0] < heap[0][0]):
            _, number, opened = waiting.popleft()
            rest = opened()
            for item in rest:
                heapq.heappush(heap, (time(item), number, item, rest))
                break
        if not heap:
            continue
        _, number, item, rest = heap[0]
        yield item
        for item in rest:
            heapq.heapreplace(heap, (time(item), number, item, rest))
            break
        else:
            heapq.heappop(heap)


def _part_start(numbered: tuple[int, tuple[int, Callable[[], Iterator[T]]]]) -> int:
    return numbered[1][0]


def _check_overlap(blocks: Iterable[Block], path: Path) -> None:
    """Raises ``RecordingError`` where reading in order would hold too many blocks at once."""
    edges = []
    for item in blocks:
        if item.end_ns > item.start_ns and item.size <= LARGEST:
            edges += [(item.start_ns, item.size), (item.end_ns, -item.size)]
    held = 0
    for _, size in sorted(edges):
        held += size
        if held > OPEN_AT_ONCE:
            raise RecordingError(
                f"its messages lie so far out of order that more than {OPEN_AT_ONCE >> 20} MB are open at once",
                where=str(path),
                hint="Sort it: mcap sort IN -o OUT, or rosbag sort IN OUT.",
            )
