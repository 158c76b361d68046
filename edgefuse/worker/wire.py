"""What travels between EdgeFuse and the worker on a device: frames of JSON and raw arrays. Never pickle. Numpy only.

A frame is 16 bytes (magic, length of the header, length of the body; big-endian), the header (a JSON object in UTF-8)
and the body: raw bytes, or the arrays that the header's ``arrays`` lists by name, dtype and shape, one after another in
C order and little-endian. What comes before the first magic (a shell's greeting) is skipped, and kept for the error.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgefuse.errors import CrashError
from edgefuse.spec import Array

PROTOCOL = 1
MAGIC = b"\x00EF1"
PREFIX = struct.Struct(">4sIQ")
MAX_HEADER = 64 << 20
MAX_BODY = 4 << 30
MAX_GREETING = 64 << 10
"""What a login shell may say before the worker does."""
CHUNK = 1 << 20
KINDS = "biuf"


class WireError(CrashError):
    """What came is no frame: something else writes to the connection, or one end is defective."""


@dataclass(frozen=True)
class Answer:
    """What a job gives back: a JSON value, and arrays by name."""

    value: Any = None
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    header: dict[str, Any]
    body: bytes = b""

    def arrays(self) -> dict[str, Array]:
        """The arrays of the body, each its own memory. Raises :class:`WireError` where header and body do not fit."""
        found, start = {}, 0
        try:
            for item in self.header.get("arrays", ()):
                dtype, shape = np.dtype(str(item["dtype"])), tuple(int(size) for size in item["shape"])
                if dtype.kind not in KINDS or any(size < 0 for size in shape):
                    raise ValueError(f"an array of {dtype} {shape}")
                size = math.prod(shape) * dtype.itemsize
                if start + size > len(self.body):
                    raise ValueError(f"{len(self.body)} bytes for more of arrays")
                flat = np.frombuffer(self.body, dtype, math.prod(shape), start)
                found[str(item["name"])] = flat.reshape(shape).astype(dtype.newbyteorder("="))
                start += size
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"a frame's arrays are damaged: {error}") from None
        return found


def encode(header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None, body: bytes = b"") -> list[bytes]:
    """The pieces of one frame."""
    pieces = [body] if body else []
    listed = []
    for name, array in (arrays or {}).items():
        plain = np.ascontiguousarray(array)
        if plain.dtype.kind not in KINDS:
            raise TypeError(f"array {name!r} is {plain.dtype}; expected numbers")
        little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        listed.append({"name": name, "dtype": little.dtype.str, "shape": np.shape(array)})
        pieces.append(little.tobytes())
    text = json.dumps({**header, "arrays": listed} if listed else dict(header)).encode()
    return [PREFIX.pack(MAGIC, len(text), sum(map(len, pieces))), text, *pieces]


class Channel:
    """Frames over two file descriptors, one to read and one to write, with deadlines of ``time.monotonic``."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        self._data, self.greeting, self._started = bytearray(), b"", False
        os.set_blocking(write_fd, False)

    def send(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, Array] | None = None,
        body: bytes = b"",
        deadline: float = math.inf,
    ) -> None:
        """Raises ``BrokenPipeError`` where nobody reads any more, ``TimeoutError`` after *deadline*."""
        self.write(encode(header, arrays, body), deadline)

    def forward(self, frame: Frame, deadline: float = math.inf) -> None:
        text = json.dumps(frame.header).encode()
        self.write([PREFIX.pack(MAGIC, len(text), len(frame.body)), text, frame.body], deadline)

    def write(self, pieces: Sequence[bytes], deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.write_fd, selectors.EVENT_WRITE)
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    if not selector.select(_seconds_until(deadline)):
                        raise TimeoutError
                    try:
                        left = left[os.write(self.write_fd, left[:CHUNK]) :]
                    except BlockingIOError:
                        continue

    def fill(self) -> bool:
        """Read what is there, waiting for something if there is nothing; False at the end of the stream."""
        data = os.read(self.read_fd, CHUNK)
        self._data += data
        return bool(data)

    def pop(self) -> Frame | None:
        """The next whole frame of what has been read."""
        if not self._started and not self._find_start():
            return None
        if len(self._data) < PREFIX.size:
            return None
        magic, header_size, body_size = PREFIX.unpack_from(self._data)
        if magic != MAGIC or header_size > MAX_HEADER or body_size > MAX_BODY:
            raise WireError(f"what came is no frame: {bytes(self._data[:60])!r}")
        end = PREFIX.size + header_size + body_size
        if len(self._data) < end:
            return None
        text = self._data[PREFIX.size : PREFIX.size + header_size]
        body = bytes(memoryview(self._data)[PREFIX.size + header_size : end])
        del self._data[:end]
        return Frame(_parse(text), body)

    def _find_start(self) -> bool:
        at = self._data.find(MAGIC)
        if at < 0:
            if len(self._data) > MAX_GREETING:
                raise WireError(f"what came is no frame: {bytes(self._data[:60])!r}")
            return False
        self.greeting, self._started = bytes(self._data[:at]), True
        del self._data[:at]
        return True

    @property
    def unread(self) -> bytes:
        """What came and was no frame yet, for an error's text."""
        return self.greeting or bytes(self._data[:MAX_GREETING])

    def receive(self, deadline: float = math.inf) -> Frame | None:
        """The next frame; None at the end of the stream. Raises ``TimeoutError`` after *deadline*."""
        while (frame := self.pop()) is None:
            if not wait_for([self], deadline):
                raise TimeoutError
            if not self.fill():
                return None
        return frame


def wait_for(channels: Sequence[Channel], deadline: float = math.inf) -> list[Channel]:
    """Those of *channels* that have something to read, or have ended; none of them after *deadline*."""
    with selectors.DefaultSelector() as selector:
        for channel in channels:
            selector.register(channel.read_fd, selectors.EVENT_READ, channel)
        return [key.data for key, _ in selector.select(_seconds_until(deadline))]


def _seconds_until(deadline: float) -> float | None:
    return None if deadline == math.inf else max(deadline - time.monotonic(), 0.0)


def _parse(text: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame's header is damaged: {error}") from None
    if not isinstance(header, dict):
        raise WireError(f"a frame's header is {type(header).__name__}; expected an object")
    return header
