"""What an MCAP file's summary says of where messages lie, and the records that both it and the walk over a file without
one (:mod:`edgefuse.recordings.formats.mcap_walk`) read. The only file that imports ``mcap``. https://mcap.dev/spec
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO

from edgefuse.errors import MissingToolError
from edgefuse.recordings.formats.blocks import Block, Record, load

try:
    from mcap.data_stream import ReadDataStream
    from mcap.exceptions import McapError
    from mcap.opcode import Opcode as Opcode
    from mcap.records import Channel as Channel
    from mcap.records import ChunkIndex, Schema, Statistics
except ImportError as error:
    raise MissingToolError(
        "the package 'mcap' is not installed", hint="Install it with: pip install 'edgefuse[ros]'"
    ) from error

MAGIC = b"\x89MCAP0\r\n"
FRAME = struct.Struct("<BQ")  # opcode, length
CHUNK = struct.Struct("<QQQII")  # start, end, size, checksum, length of the compression's name
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
FOOTER = struct.Struct("<QQI")  # the summary's start, its offsets' start, its checksum
TAIL = FRAME.size + FOOTER.size + len(MAGIC)
LARGEST_SUMMARY = 256 << 20

PARSE_ERRORS = (McapError, struct.error, ValueError, OverflowError)


@dataclass
class Layout:
    """``lost``: see :class:`~edgefuse.recordings.formats.blocks.Blocks`. ``counts``: channel to the number of its
    messages. ``damage``: a phrase for each stretch that cannot be read. ``ended``: how, where it was not as it should
    have."""

    blocks: list[Block] = field(default_factory=list)
    lost: dict[int, str] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    ended: str = ""

    def describe(self, opcode: int, body: bytes | memoryview) -> None:
        """Keep a schema or channel; the first of an id holds, as the format wants them to be alike."""
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(_stream(body))
            self.schemas.setdefault(schema.id, schema)
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(_stream(body))
            self.channels.setdefault(channel.id, channel)


@dataclass(frozen=True)
class Summary:
    """``start``: where it begins and the data end. ``indices``: of the chunks, in the file's order."""

    start: int
    indices: list[ChunkIndex]


def split(data: memoryview) -> Iterator[Record]:
    """The messages in a chunk, or in a run of records outside chunks."""
    for opcode, body in frames(data):
        if opcode == Opcode.MESSAGE:
            if len(body) < MESSAGE.size:
                raise ValueError("a message in it is damaged")
            channel, _, time_ns, _ = MESSAGE.unpack_from(body)
            yield Record(time_ns, channel, body[MESSAGE.size :])


def frames(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Opcode and content of each record."""
    at = 0
    while at < len(data):
        if at + FRAME.size > len(data):
            raise ValueError("the last record in it is cut short")
        opcode, length = FRAME.unpack_from(data, at)
        at += FRAME.size
        if at + length > len(data):
            raise ValueError("a record in it is longer than it")
        yield opcode, data[at : at + length]
        at += length


def read_summary(file: BinaryIO, size: int, layout: Layout) -> Summary | None:
    """None where it is missing or damaged, or does not name the chunks; else what it describes is in *layout*."""
    if size < len(MAGIC) + TAIL:
        return None
    file.seek(size - TAIL)
    tail = file.read(TAIL)
    start, _, crc = FOOTER.unpack_from(tail, FRAME.size)
    length = size - TAIL - start
    if FRAME.unpack_from(tail) != (Opcode.FOOTER, FOOTER.size) or not tail.endswith(MAGIC):
        return None
    if start < len(MAGIC) or not 0 < length <= LARGEST_SUMMARY:
        return None
    file.seek(start)
    data = file.read(length)
    if crc and zlib.crc32(tail[: FRAME.size + FOOTER.size - 4], zlib.crc32(data)) != crc:
        return None
    indices, statistics = list[ChunkIndex](), list[Statistics]()
    try:
        for opcode, body in frames(memoryview(data)):
            if opcode == Opcode.CHUNK_INDEX:
                indices.append(ChunkIndex.read(_stream(body)))
            elif opcode == Opcode.STATISTICS:
                statistics.append(Statistics.read(_stream(body)))
            else:
                layout.describe(opcode, body)
    except PARSE_ERRORS:
        return None
    indices.sort(key=lambda item: item.chunk_start_offset)
    if not statistics or statistics[0].chunk_count != len(indices) or not _is_complete(indices, start):
        return None
    layout.counts.update(statistics[0].channel_message_counts)
    return Summary(start, indices)


def _is_complete(indices: list[ChunkIndex], end: int) -> bool:
    at = len(MAGIC)
    for item in indices:
        if (
            item.chunk_start_offset < at
            or item.chunk_length < FRAME.size + CHUNK.size
            or not item.message_index_offsets
        ):
            return False
        at = chunk_end(item)
    return bool(indices) and at <= end


def chunk_end(index: ChunkIndex) -> int:
    """Where the records begin that follow the chunk and its index of messages."""
    return index.chunk_start_offset + index.chunk_length + index.message_index_length


def indexed_block(file: BinaryIO, index: ChunkIndex) -> Block:
    """Only the checksum stands in the chunk alone."""
    file.seek(index.chunk_start_offset + FRAME.size)
    _, _, _, crc, _ = CHUNK.unpack(file.read(CHUNK.size))
    return Block(
        offset=index.chunk_start_offset + FRAME.size + CHUNK.size + len(index.compression.encode()) + 8,
        length=index.compressed_size,
        start_ns=index.message_start_time,
        end_ns=index.message_end_time,
        size=index.uncompressed_size,
        compression=index.compression,
        channels=frozenset(index.message_index_offsets),
        crc=crc,
    )


def find_channels(file: BinaryIO, layout: Layout) -> None:
    """Read the blocks whose channels are not known, or not described, yet."""
    for number, block in enumerate(layout.blocks):
        if block.channels is not None and block.channels <= layout.channels.keys():
            continue
        found: list[tuple[int, int]] = []
        try:
            _look_into(load(file, block), layout, found)
        except PARSE_ERRORS as error:
            if not block.cut:
                layout.lost[block.offset] = str(error)
        if block.channels is None:
            counts = Counter(channel for channel, _ in found)
            layout.counts.update(counts)
            end_ns = max((time_ns for _, time_ns in found), default=block.start_ns) if block.cut else block.end_ns
            layout.blocks[number] = replace(block, channels=frozenset(counts), end_ns=min(end_ns, block.end_ns))


def _look_into(data: memoryview, layout: Layout, found: list[tuple[int, int]]) -> None:
    """*found*: channel and time of each message."""
    for opcode, body in frames(data):
        if opcode == Opcode.MESSAGE:
            channel, _, time_ns, _ = MESSAGE.unpack_from(body)
            found.append((channel, time_ns))
        else:
            layout.describe(opcode, body)


def _stream(body: bytes | memoryview) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))
