"""Compressed stretches of a recording, unpacked to no more than they claim: the only file that imports ``lz4`` and
``zstandard``."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from pathlib import Path

from edgefuse.errors import MissingToolError

try:
    import lz4.frame  # type: ignore[import-untyped]
    import zstandard
except ImportError as error:
    raise MissingToolError(
        f"the package {error.name!r} is not installed", hint="Install it with: pip install 'edgefuse[ros]'"
    ) from error

Bytes = bytes | memoryview

LARGEST = 1 << 30
"""No chunk that a recorder writes is larger: what claims to be is damaged, or made to fill the memory."""
PIECE = 1 << 20
LZ4_RATIO = 255
"""A byte of LZ4 stands for at most 255 (the format's length codes)."""


def unpack(compression: str, packed: bytes, size: int, cut: bool = False) -> memoryview:
    """The *size* bytes that *packed* holds; of a stretch that was *cut* short, as many as there are.

    Raises ``ValueError`` with a short reason for what is damaged, too large, or of an unknown *compression*.
    """
    if size > LARGEST:
        raise ValueError(f"claims to hold {size} bytes")
    if compression in ("", "none"):
        data: Bytes = packed
    else:
        if compression not in PIECES:
            raise ValueError(f"is compressed with {compression!r}, which is not known")
        data = _collect(compression, packed, size, cut)
    if len(data) != size and not (cut and len(data) < size):
        raise ValueError(f"holds {len(data)} bytes; expected {size}")
    return memoryview(data)


def beginning(compression: str, packed: bytes, size: int) -> bytes:
    """The first *size* bytes, or fewer; empty where they are damaged."""
    return bytes(_collect(compression, packed, size, cut=True)[:size])


def unpack_all(compression: str, packed: bytes) -> bytes:
    """What *packed* holds, of a size that nobody says; raises ``ValueError`` as :func:`unpack` does."""
    data = _collect(compression, packed, LARGEST, cut=False)
    if not data or len(data) > LARGEST:
        raise ValueError(f"its {compression} data are damaged")
    return data


def unpack_file(source: Path, target: Path) -> bool:
    """Write what the zstd file *source* holds to *target*; whether that is all of it."""
    with source.open("rb") as packed, target.open("wb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        try:
            while piece := reader.read(PIECE):
                file.write(piece)
        except zstandard.ZstdError:
            return False
    return True


def _collect(compression: str, packed: bytes, size: int, cut: bool) -> bytes:
    data = bytearray()
    try:
        for piece in PIECES[compression](packed, size):
            data += piece
            if len(data) > size:
                break
    except (RuntimeError, OSError, EOFError, zstandard.ZstdError) as error:
        if not cut:
            raise ValueError(f"its {compression} data are damaged") from error
    return bytes(data)


def _lz4(packed: bytes, size: int) -> Iterator[bytes]:
    done = 0
    while packed and done <= size:
        decompressor = lz4.frame.LZ4FrameDecompressor()
        limit = min(size + 1 - done, LZ4_RATIO * len(packed))
        while not decompressor.eof:
            piece = decompressor.decompress(packed, max_length=limit)
            packed = b""
            if not piece:
                return
            done += len(piece)
            yield piece
            if done > size:
                return
        packed = decompressor.unused_data or b""


def _zstd(packed: bytes, size: int) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    while piece := reader.read(min(PIECE, size + 1)):
        yield piece


def _bz2(packed: bytes, size: int) -> Iterator[bytes]:
    decompressor = bz2.BZ2Decompressor()
    while not decompressor.eof:
        piece = decompressor.decompress(packed, max_length=min(PIECE, size + 1))
        packed = b""
        if not piece and decompressor.needs_input:
            return
        yield piece


PIECES = {"lz4": _lz4, "zstd": _zstd, "bz2": _bz2}
