"""Where a ROS 1 bag's messages lie: from record to record without reading messages, so that it works as well for a bag
that was never closed. The index at a bag's end says where chunks begin, and is compared with what is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import rosbag1_records as bag
from edgefuse.recordings.formats.blocks import Block, load, seconds
from edgefuse.recordings.formats.payloads import NS
from edgefuse.recordings.formats.rostypes import normal_name

ENTRY = 12
"""Bytes of a message in a chunk's index: seconds, nanoseconds, offset."""
LARGEST_INDEX = 1 << 28


@dataclass(frozen=True)
class Connection:
    topic: str
    type: str
    definition: str


@dataclass
class Contents:
    """The messages of a chunk by connection, and their first and last time."""

    counts: Counter[int] = field(default_factory=Counter)
    start_ns: int = 1 << 63
    end_ns: int = 0

    def add(self, connection: int, count: int, start_ns: int, end_ns: int) -> None:
        self.counts[connection] += count
        self.start_ns = min(self.start_ns, start_ns)
        self.end_ns = max(self.end_ns, end_ns)


@dataclass
class Layout:
    """``blocks``: by the place of their chunk. ``contents``: of the chunks, as far as their indices say it.
    ``damage``: a phrase for each stretch that cannot be read."""

    blocks: dict[int, Block] = field(default_factory=dict)
    contents: dict[int, Contents] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    connections: dict[int, Connection] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    ended: bool = True

    def describe(self, header: bag.Header, data: bytes) -> None:
        """Keep a connection; the first of a number holds."""
        about = bag.parse_header(data)
        topic, name, text = (
            item.decode(errors="replace")
            for item in (header.get(b"topic", b""), about.get(b"type", b""), about.get(b"message_definition", b""))
        )
        self.connections.setdefault(bag.field_number(header, b"conn"), Connection(topic, normal_name(name), text))


def read_layout(path: Path) -> Layout:
    """Raises ``RecordingError`` where the file is no such bag."""
    size = path.stat().st_size
    with path.open("rb", buffering=8192) as file:
        _check_magic(path, file.read(len(bag.MAGIC)))
        layout = _from_index(path, file, size)
        if layout is None:
            layout = Layout(ended=False)
            _Walk(file, layout, len(bag.MAGIC), size).go()
        for at, block in layout.blocks.items():
            contents = layout.contents.get(at)
            if contents is None or not contents.counts.keys() <= layout.connections.keys():
                contents = layout.contents[at] = _look_into(file, block, layout)
            layout.blocks[at] = replace(
                block,
                start_ns=contents.start_ns,
                end_ns=contents.end_ns,
                channels=frozenset(contents.counts),
                count=None if block.cut else sum(contents.counts.values()),
            )
    unknown = [item.counts[key] for item in layout.contents.values() for key in item.counts.keys() - layout.connections]
    if unknown:
        layout.damage.append(f"{sum(unknown)} messages of connections that are not described")
    if not layout.ended:
        layout.damage.insert(0, f"cut short after {seconds(layout.blocks.values()):.1f} s")
    return layout


def _check_magic(path: Path, begin: bytes) -> None:
    if begin == bag.MAGIC:
        return
    hint = "Was it renamed, or not copied to its end?"
    if begin.startswith(b"#ROSBAG V") and begin.endswith(b"\n"):
        version = begin[len(b"#ROSBAG ") :].decode(errors="replace").strip()
        raise RecordingError(f"is a bag of version {version}; expected V2.0", where=str(path), hint="Try: rosbag fix")
    raise RecordingError("is no ROS 1 bag" if begin else "is empty: 0 bytes", where=str(path), hint=hint)


def _from_index(path: Path, file: BinaryIO, size: int) -> Layout | None:
    """None where the bag has no index, or a damaged one."""
    layout, infos = Layout(), dict[int, Contents]()
    try:
        head = bag.read_head(file, len(bag.MAGIC), size)
        if head.header.get(b"encryptor"):
            raise RecordingError("is encrypted", where=str(path), hint="Decrypt it with: rosbag decrypt")
        at = index_at = bag.long_number(bag.field(head.header, b"index_pos"))
        if not head.end <= index_at <= size:
            return None
        while at < size:
            item = bag.read_head(file, at, size)
            if item.end > size or item.length > LARGEST_INDEX:
                return None
            data, at = file.read(item.length), item.end
            if item.kind == bag.CONNECTION:
                layout.describe(item.header, data)
            elif item.kind == bag.CHUNK_INFO:
                infos[bag.long_number(bag.field(item.header, b"chunk_pos"))] = _contents(item.header, data)
    except ValueError:
        return None
    if not all(head.end <= item < index_at for item in infos):
        return None
    for start, end in pairwise((head.end, *sorted(infos), index_at)):
        _Walk(file, layout, start, end).go()
    for place in infos.keys() - layout.blocks.keys():
        layout.damage.append(f"the chunk at byte {place} is damaged")
    _compare(layout, infos)
    return layout


def _compare(layout: Layout, infos: Mapping[int, Contents]) -> None:
    """The contents stay only where both indices say the same."""
    wrong = {place for place, item in layout.contents.items() if item != infos.get(place)}
    counts = {place for place in wrong if place not in infos or layout.contents[place].counts != infos[place].counts}
    if counts:
        layout.damage.append(f"the indices of {len(counts)} chunks contradict one another")
    for place in wrong:
        del layout.contents[place]


def _contents(header: bag.Header, data: bytes) -> Contents:
    """As a chunk's line in the index at the bag's end says them."""
    start_ns, end_ns = (bag.time_of(bag.field(header, name)) for name in (b"start_time", b"end_time"))
    found = Contents()
    for at in range(0, len(data) - bag.PAIR.size + 1, bag.PAIR.size):
        connection, count = bag.PAIR.unpack_from(data, at)
        found.add(connection, count, start_ns, end_ns)
    return found


@dataclass
class _Walk:
    """From *at* to *end*, which is the file's or a chunk's beginning. ``chunk``: where the newest one begins, while the
    index behind it is being read into ``contents``."""

    file: BinaryIO
    layout: Layout
    at: int
    end: int
    chunk: int | None = None
    contents: Contents = field(default_factory=Contents)

    def go(self) -> None:
        while self.at < self.end:
            try:
                head = bag.read_head(self.file, self.at, self.end)
            except ValueError:
                break
            if head.kind != bag.INDEX:
                self._close()
            if head.kind == bag.CHUNK:
                self._take_chunk(head)
            if head.end > self.end:
                break
            if head.kind == bag.INDEX:
                self._take_index(head)
            elif head.kind in (bag.CONNECTION, bag.CHUNK_INFO):  # they stand behind the last chunk
                self.layout.ended = True
                return
            elif head.kind not in (bag.BAG, bag.CHUNK):
                self.layout.damage.append(f"the record at byte {self.at} is of an unknown kind")
            self.at = head.end
        if self.layout.ended:
            self._close()
            if self.at < self.end:
                self.layout.damage.append(f"bytes {self.at} to {self.end} are damaged")

    def _close(self) -> None:
        """The newest chunk's index is complete."""
        if self.chunk is not None and self.contents.counts:
            self.layout.contents[self.chunk] = self.contents
        self.chunk, self.contents = None, Contents()

    def _take_chunk(self, head: bag.Head) -> None:
        there = min(head.length, self.end - head.data_at)
        try:
            size = bag.field_number(head.header, b"size")
            compression = bag.field(head.header, b"compression").decode(errors="replace")
        except ValueError:
            self.layout.damage.append(f"the chunk at byte {self.at} is damaged")
            return
        block = Block(head.data_at, there, 0, 0, size, compression, cut=there < head.length)
        self.layout.blocks[self.at] = block
        self.chunk = self.at

    def _take_index(self, head: bag.Head) -> None:
        if self.chunk is None or head.length > LARGEST_INDEX:
            return
        data = self.file.read(head.length // ENTRY * ENTRY)
        entries = np.frombuffer(data, np.uint32).reshape(-1, 3).astype(np.int64)
        if len(entries) and b"conn" in head.header:
            times = entries[:, 0] * NS + entries[:, 1]
            connection = bag.field_number(head.header, b"conn")
            self.contents.add(connection, len(entries), int(times.min()), int(times.max()))


def _look_into(file: BinaryIO, block: Block, layout: Layout) -> Contents:
    found = Contents()
    try:
        for kind, header, body in bag.records(load(file, block)):
            if kind == bag.MESSAGE:
                time_ns = bag.time_of(bag.field(header, b"time"))
                found.add(bag.field_number(header, b"conn"), 1, time_ns, time_ns)
            elif kind == bag.CONNECTION:
                layout.describe(header, bytes(body))
    except ValueError as error:
        if not block.cut:
            layout.lost[block.offset] = str(error)
    return found
