"""Looks at the top-level fields of a protobuf file: enough to tell ONNX from TensorFlow without their
libraries.

Wire format: https://protobuf.dev/programming-guides/encoding/; field numbers: ``ModelProto`` in onnx.proto3.
"""

from __future__ import annotations

import os
from typing import BinaryIO

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
ONNX_FIELDS = {
    1: VARINT,
    2: BYTES,
    3: BYTES,
    4: BYTES,
    5: VARINT,
    6: BYTES,
    7: BYTES,
    8: BYTES,
    14: BYTES,
    20: BYTES,
    25: BYTES,
    26: BYTES,
}
GRAPH, OPSET_IMPORT, IR_VERSION = 7, 8, 1


def is_onnx(file: BinaryIO) -> bool:
    fields, whole = _fields(file)
    return whole and _onnx_fields(fields) and any(number == GRAPH for number, _ in fields)


def truncated_onnx(file: BinaryIO) -> bool:
    """It begins as ONNX does (the IR version, then a known field) but its graph runs past the end."""
    fields, whole = _fields(file)
    return not whole and _onnx_fields(fields) and fields[:1] == [(IR_VERSION, VARINT)] and len(fields) > 1


def is_tensorflow(file: BinaryIO) -> bool:
    """A GraphDef is a run of nodes (field 1); a SavedModel a version (field 1), then graphs (field 2)."""
    fields, whole = _fields(file)
    graph_def = fields[:1] == [(1, BYTES)] and set(fields) <= {
        (1, BYTES),
        (2, BYTES),
        (3, VARINT),
        (4, BYTES),
    }
    return whole and bool(fields) and (graph_def or set(fields) == {(1, VARINT), (2, BYTES)})


def _onnx_fields(fields: list[tuple[int, int]]) -> bool:
    return bool(fields) and all(ONNX_FIELDS.get(number) == wire for number, wire in fields)


def _fields(file: BinaryIO) -> tuple[list[tuple[int, int]], bool]:
    """(field number, wire type) in file order, and whether they end exactly where the file does."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    fields: list[tuple[int, int]] = []
    while file.tell() < size and len(fields) < 100_000:
        key = _varint(file)
        if key is None or key >> 3 == 0 or key & 7 not in (VARINT, FIXED64, BYTES, FIXED32):
            return fields, False
        fields.append((key >> 3, key & 7))
        if not _skip_value(file, key & 7):
            return fields, False
    return fields, file.tell() == size


def _skip_value(file: BinaryIO, wire: int) -> bool:
    if wire == VARINT:
        return _varint(file) is not None
    length = _varint(file) if wire == BYTES else 8 if wire == FIXED64 else 4
    if length is None or length >= 1 << 40:
        return False
    file.seek(length, os.SEEK_CUR)
    return True


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
