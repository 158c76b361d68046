"""The records of a ROS 1 bag. https://wiki.ros.org/Bags/Format/2.0"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from edgefuse.recordings.formats.blocks import Record
from edgefuse.recordings.formats.payloads import NS

MAGIC = b"#ROSBAG V2.0\n"
MESSAGE, BAG, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
U32, U64, PAIR = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<II")
LARGEST_HEADER = 1 << 20

Header = dict[bytes, bytes]


class Head(NamedTuple):
    """A record without its data, which are ``length`` bytes from ``data_at`` on."""

    kind: int
    header: Header
    data_at: int
    length: int

    @property
    def end(self) -> int:
        return self.data_at + self.length


def read_head(file: BinaryIO, at: int, end: int) -> Head:
    """Of the record at byte *at*; raises ``ValueError`` where it does not end before *end*, or is none."""
    file.seek(at)
    size = number(file.read(U32.size))
    data_at = at + 2 * U32.size + size
    if size > LARGEST_HEADER or data_at > end:
        raise ValueError("a record's header is longer than the file")
    header = parse_header(file.read(size))
    return Head(kind_of(header), header, data_at, number(file.read(U32.size)))


def records(data: memoryview) -> Iterator[tuple[int, Header, memoryview]]:
    """Kind, header and data of each record in a chunk."""
    at = 0
    while at < len(data):
        middle = at + U32.size + number(data[at : at + U32.size])
        start = middle + U32.size
        if start > len(data):
            raise ValueError("the last record in it is cut short")
        header = parse_header(bytes(data[at + U32.size : middle]))
        at = start + number(data[middle:start])
        if at > len(data):
            raise ValueError("a record in it is longer than it")
        yield kind_of(header), header, data[start:at]


def split(data: memoryview) -> Iterator[Record]:
    """The messages in a chunk."""
    for kind, header, body in records(data):
        if kind == MESSAGE:
            yield Record(time_of(field(header, b"time")), field_number(header, b"conn"), body)


def parse_header(data: bytes) -> Header:
    found = {}
    at = 0
    while at < len(data):
        start = at + U32.size
        at = start + number(data[at:start])
        name, sign, value = data[start:at].partition(b"=")
        if at > len(data) or not sign:
            raise ValueError("a record's header is damaged")
        found[name] = value
    return found


def field(header: Header, name: bytes) -> bytes:
    if name not in header:
        raise ValueError(f"a record has no field {name.decode()!r}")
    return header[name]


def field_number(header: Header, name: bytes) -> int:
    return number(field(header, name))


def kind_of(header: Header) -> int:
    value = field(header, b"op")
    return value[0] if value else 0


def number(data: bytes | memoryview) -> int:
    if len(data) != U32.size:
        raise ValueError("a record's number is cut short")
    return int(U32.unpack(data)[0])


def long_number(data: bytes) -> int:
    if len(data) != U64.size:
        raise ValueError("a record's number is cut short")
    return int(U64.unpack(data)[0])


def time_of(data: bytes) -> int:
    if len(data) != PAIR.size:
        raise ValueError("a record's time is cut short")
    seconds, nanoseconds = PAIR.unpack(data)
    return int(seconds * NS + nanoseconds)
