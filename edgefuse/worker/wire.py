"""What travels between EdgeFuse and the worker on a device: frames of JSON and raw arrays. Never pickle. Numpy only.

A frame is 16 bytes (magic, length of the header, length of the body; big-endian), the header (a JSON object in UTF-8)
and the body: raw bytes, or the arrays that the header's ``arrays`` lists by name, dtype and shape, one after another in
C order and little-endian. What comes before the first magic (a shell's greeting) is skipped, and kept for the error.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import selectors
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from edgefuse.errors import CrashError
from edgefuse.spec import Array

Buffer: TypeAlias = "bytes | memoryview"

PROTOCOL = 1
MAGIC = b"\x00EF1"
PREFIX = struct.Struct(">4sIQ")
MAX_HEADER = 64 << 20
MAX_BODY = 4 << 30
MAX_GREETING = 64 << 10
"""What a login shell may say before the worker does."""
CHUNK = 1 << 20
KINDS = "biuf"
NUMBERS = re.compile(r"[<|][biuf][1248]")
"""Little-endian; x87's 80-bit float is another format on each architecture."""
STALL_S = 60.0
"""A transfer of which not one byte moves for so long has broken."""
BEAT_S, SILENCE_S = 10.0, 120.0
"""How often a user's end says that it is alive; without a word for so long, it is gone (a cut cable says nothing)."""
BEAT = "beat"


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
        found: dict[str, Array] = {}
        start = 0
        try:
            for item in self.header.get("arrays", ()):
                dtype, shape = _dtype(item["dtype"]), _shape(item["shape"])
                count = math.prod(shape)
                if start + count * dtype.itemsize > len(self.body):
                    raise ValueError(f"{len(self.body)} bytes for more of arrays")
                flat = np.frombuffer(self.body, dtype, count, start) if count else np.empty(0, dtype)
                found[str(item["name"])] = flat.reshape(shape).astype(dtype.newbyteorder("="))
                start += count * dtype.itemsize
            if "arrays" in self.header and start != len(self.body):
                raise ValueError(f"{len(self.body)} bytes for {start} of arrays")
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"a frame's arrays are damaged: {error}") from None
        return found


def _dtype(text: Any) -> np.dtype[Any]:
    if not isinstance(text, str) or not NUMBERS.fullmatch(text):
        raise ValueError(f"an array of {text!r}")
    return np.dtype(text)


def _shape(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not all(type(size) is int and 0 <= size < 1 << 62 for size in sizes):
        raise ValueError(f"an array of the shape {sizes!r}")
    return tuple(sizes)


def encode(header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None, body: bytes = b"") -> list[Buffer]:
    """The pieces of one frame. Raises ``TypeError`` and ``ValueError`` for what cannot travel."""
    pieces: list[Buffer] = [body] if body else []
    listed = []
    for name, array in (arrays or {}).items():
        little = np.ascontiguousarray(array, np.asarray(array).dtype.newbyteorder("<"))
        if not NUMBERS.fullmatch(little.dtype.str):
            raise TypeError(f"array {name!r} is {little.dtype}; expected numbers of at most 64 bits")
        listed.append({"name": name, "dtype": little.dtype.str, "shape": np.shape(array)})
        if little.size:
            pieces.append(little.reshape(-1).view(np.uint8).data)
    text = json.dumps({**header, "arrays": listed} if listed else dict(header)).encode()
    return _framed(text, pieces)


def _framed(text: bytes, pieces: Sequence[Buffer]) -> list[Buffer]:
    size = sum(map(len, pieces))
    if size > MAX_BODY or len(text) > MAX_HEADER:
        raise ValueError(f"{(size + len(text)) / 1e9:.1f} GB are more than one request may carry")
    return [PREFIX.pack(MAGIC, len(text), size) + text, *pieces]


class Channel:
    """Frames over two file descriptors, one to read and one to write. Deadlines are of ``time.monotonic``; while bytes
    flow, a wait goes on beyond its deadline, until none has come or gone for :data:`STALL_S`."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        self._data, self.greeting, self._started = bytearray(), b"", False
        os.set_blocking(write_fd, False)

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None, body: bytes = b"") -> None:
        """Raises ``OSError`` where nobody reads any more, ``TimeoutError`` where nothing moves for :data:`STALL_S`."""
        self.write(encode(header, arrays, body))

    def forward(self, frame: Frame) -> None:
        self.write(_framed(json.dumps(frame.header).encode(), [frame.body] if frame.body else []))

    def write(self, pieces: Sequence[Buffer], stall_s: float = STALL_S) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.write_fd, selectors.EVENT_WRITE)
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    written = self._write_some(left)
                    if not written and not selector.select(stall_s):
                        raise TimeoutError
                    left = left[written:]

    def _write_some(self, piece: memoryview) -> int:
        with contextlib.suppress(BlockingIOError):
            return os.write(self.write_fd, piece[:CHUNK])
        return 0

    def try_send(self, header: Mapping[str, Any]) -> None:
        """A frame so short that it goes whole (``PIPE_BUF``); it does not where there is no room."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.write_fd, b"".join(encode(header)))

    def fill(self) -> bool:
        """Read what is there, waiting for something if there is nothing; False at the end of the stream."""
        try:
            data = os.read(self.read_fd, CHUNK)
        except BlockingIOError:  # a socket that is both ends: see write_fd
            return True
        except ConnectionResetError:
            return False
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
    def is_receiving(self) -> bool:
        """A frame has begun to come in."""
        return self._started and bool(self._data)

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
            if self.is_receiving:
                deadline = max(deadline, time.monotonic() + STALL_S)
        return frame


def own_channel() -> Channel:
    """Frames over this process's standard input and output, which from now on are nobody else's: what a library prints
    goes to standard error, and what it reads is empty."""
    requests, answers, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return Channel(requests, answers)


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
