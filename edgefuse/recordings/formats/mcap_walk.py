"""An MCAP file's layout: its summary's or, where that is missing (the robot lost power) or damaged, from record to
record without reading messages."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats.blocks import Block, seconds
from edgefuse.recordings.formats.mcap_layout import (
    CHUNK,
    FRAME,
    LARGEST_SUMMARY,
    MAGIC,
    MESSAGE,
    PARSE_ERRORS,
    Layout,
    Opcode,
    chunk_end,
    find_channels,
    indexed_block,
    read_summary,
)

INDEX = struct.Struct("<HI")  # channel, bytes of the entries that follow
ENTRY = 16
SIZE = struct.Struct("<Q")
LEAST = {Opcode.MESSAGE: MESSAGE.size, Opcode.CHUNK: CHUNK.size + SIZE.size, Opcode.MESSAGE_INDEX: INDEX.size}
RUN = 1 << 20
"""Messages outside chunks are read in blocks of about this size."""
KINDS = frozenset(int(item) for item in Opcode)
HEAD = FRAME.size + CHUNK.size + 64


def read_layout(path: Path) -> Layout:
    """Raises ``RecordingError`` where the file is no MCAP."""
    size = path.stat().st_size
    with path.open("rb", buffering=8192) as file:
        if file.read(len(MAGIC)) != MAGIC:
            what = "is no MCAP file: it does not begin as one" if size else "is empty: 0 bytes"
            raise RecordingError(what, where=str(path), hint="Was it renamed, or not copied to its end?")
        layout = Layout()
        summary = read_summary(file, size, layout)
        at = len(MAGIC)
        if summary is None:
            layout = Layout()
            _Walk(file, layout, at, size).go(whole=True)
        else:
            for index in summary.indices:
                _Walk(file, layout, at, index.chunk_start_offset).go()
                layout.blocks.append(indexed_block(file, index))
                at = chunk_end(index)
            _Walk(file, layout, at, summary.start).go()
        find_channels(file, layout)
    unknown = {item for block in layout.blocks for item in block.channels or ()} - layout.channels.keys()
    if unknown:
        count = sum(layout.counts[item] for item in unknown)
        layout.damage.append(f"{count} messages of channels that are not described")
    if layout.ended:
        layout.damage.insert(0, f"{layout.ended} after {seconds(layout.blocks):.1f} s")
    return layout


@dataclass
class _Run:
    """Messages one behind the other, outside chunks."""

    offset: int
    times: list[int] = field(default_factory=list)
    channels: set[int] = field(default_factory=set)

    def block(self, end: int) -> Block:
        size = end - self.offset
        return Block(self.offset, size, min(self.times), max(self.times), size, channels=frozenset(self.channels))


@dataclass
class _Walk:
    """From *at* to *end*. ``indexed``: what the index behind the newest chunk says, while it is being read."""

    file: BinaryIO
    layout: Layout
    at: int
    end: int
    run: _Run | None = None
    indexed: Counter[int] | None = None

    def go(self, whole: bool = False) -> None:
        """*whole*: the file's data must end before *end* does."""
        while self.at < self.end:
            self.file.seek(self.at)
            head = self.file.read(HEAD)
            opcode, length = FRAME.unpack_from(head) if len(head) >= FRAME.size else (0, 0)
            self._close(opcode)
            body, following = head[FRAME.size :], self.at + FRAME.size + length
            if following > self.end or not LEAST.get(opcode, 0) <= length or not opcode:
                if opcode == Opcode.CHUNK:
                    self._take_chunk(body, self.end - self.at - FRAME.size, cut=True)
                break
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                return
            self._take(opcode, body, length)
            self.at = following
        self._close(0)
        if whole or self.at < self.end:
            self._note_end(whole)

    def _close(self, opcode: int) -> None:
        """Before a record of *opcode*: what only went on until here becomes a block."""
        if self.run and (opcode != Opcode.MESSAGE or self.at - self.run.offset >= RUN):
            self.layout.blocks.append(self.run.block(self.at))
            self.run = None
        if self.indexed is not None and opcode != Opcode.MESSAGE_INDEX:
            if self.indexed and opcode:
                self.layout.blocks[-1] = replace(self.layout.blocks[-1], channels=frozenset(self.indexed))
                self.layout.counts.update(self.indexed)
            self.indexed = None

    def _take(self, opcode: int, body: bytes, length: int) -> None:
        if opcode == Opcode.MESSAGE:
            channel, _, time_ns, _ = MESSAGE.unpack_from(body)
            self.run = self.run or _Run(self.at)
            self.run.times.append(time_ns)
            self.run.channels.add(channel)
            self.layout.counts[channel] += 1
        elif opcode == Opcode.CHUNK:
            self._take_chunk(body, length)
        elif opcode == Opcode.MESSAGE_INDEX and self.indexed is not None:
            channel, size = INDEX.unpack_from(body)
            if size:
                self.indexed[channel] += size // ENTRY
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL) and length <= LARGEST_SUMMARY:
            self.file.seek(self.at + FRAME.size)
            try:
                self.layout.describe(opcode, self.file.read(length))
            except PARSE_ERRORS:
                self.layout.damage.append(f"the description at byte {self.at} is damaged")
        elif opcode not in KINDS:
            self.layout.damage.append(f"the record at byte {self.at} is of an unknown kind")

    def _take_chunk(self, body: bytes, length: int, cut: bool = False) -> None:
        """*length*: as much of it as there is."""
        start_ns, end_ns, size, crc, name = CHUNK.unpack_from(body) if len(body) >= CHUNK.size else (0,) * 5
        head = CHUNK.size + name + SIZE.size
        compression = body[CHUNK.size : CHUNK.size + name].decode(errors="replace")
        if head > len(body):
            self.layout.damage.append(f"the chunk at byte {self.at} is damaged")
            return
        (packed,) = SIZE.unpack_from(body, CHUNK.size + name)
        there = min(packed, length - head)
        block = Block(
            offset=self.at + FRAME.size + head,
            length=there,
            start_ns=start_ns,
            end_ns=end_ns,
            size=size,
            compression=compression,
            crc=crc,
            cut=cut and there < packed,
        )
        self.layout.blocks.append(block)
        self.indexed = Counter()

    def _note_end(self, whole: bool) -> None:
        if not whole:
            self.layout.damage.append(f"bytes {self.at} to {self.end} are damaged")
            return
        self.file.seek(self.end - len(MAGIC))
        intact = self.end > 2 * len(MAGIC) and self.file.read() == MAGIC
        self.layout.ended = f"damaged from byte {self.at} on," if intact else "cut short"
