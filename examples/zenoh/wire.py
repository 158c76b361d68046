"""What goes over the wire: raw bytes as the payload, and a JSON attachment that says what they are. No pickle.

    payload      the arrays' bytes one after another, C order, little-endian
    attachment   {"stamp_ns": 1700000000000000000,
                  "arrays": [{"name": "image", "dtype": "float32", "shape": [1, 3, 96, 96]}]}

The stamp is the acquisition's, by a clock that all machines share (CLOCK_REALTIME with PTP or chrony).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

DTYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in ("float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
}
"""The only ones that are read: a dtype is never made from text that came over the network."""

MAX_DIMS = 8


class WireError(ValueError):
    """A message that is not one of ours; the text says why."""


def sensor_key(prefix: str, stream: str) -> str:
    """Of a stream's deliveries. Quoted, because Zenoh's keys give a meaning to / * $ ? and #."""
    return f"{prefix}/sensor/{quote(stream, safe='')}"


def output_key(prefix: str) -> str:
    return f"{prefix}/output"


def health_key(prefix: str) -> str:
    return f"{prefix}/health"


def encode(arrays: Arrays, **facts: Any) -> tuple[bytes, bytes]:
    """Payload and attachment; *facts* go into the attachment as they are."""
    described, chunks = [], []
    for name, array in arrays.items():
        dtype = DTYPES[array.dtype.name]
        described.append({"name": name, "dtype": array.dtype.name, "shape": array.shape})
        chunks.append(np.ascontiguousarray(array, dtype).tobytes())
    return b"".join(chunks), json.dumps({**facts, "arrays": described}).encode()


def decode(payload: bytes, attachment: bytes | None) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays, as views of *payload*, and the facts. Raises :class:`WireError`, and
    nothing else, whatever has come."""
    try:
        facts = json.loads(attachment or b"")
    except (ValueError, RecursionError) as error:
        raise WireError(f"the attachment is not JSON: {error}") from None
    described = facts.get("arrays") if isinstance(facts, dict) else None
    if not isinstance(described, list):
        raise WireError("the attachment has no list of arrays")
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for item in described:
        name, dtype, shape = _described(item)
        size = math.prod(shape) * dtype.itemsize
        if offset + size > len(payload):
            raise WireError(f"the payload has {len(payload)} bytes; {name!r} would end at {offset + size}")
        arrays[name] = np.frombuffer(payload, dtype, math.prod(shape), offset).reshape(shape)
        offset += size
    if offset != len(payload):
        raise WireError(f"the payload has {len(payload)} bytes; the arrays are {offset}")
    return arrays, facts


def _described(item: object) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    if not isinstance(item, dict):
        raise WireError(f"an array is described by {type(item).__name__}; expected an object")
    name, dtype, shape = item.get("name"), item.get("dtype"), item.get("shape")
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in DTYPES:
        raise WireError(f"the array {name!r} has the dtype {dtype!r}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMS or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError(f"the array {name!r} has the shape {shape!r}")
    return name, DTYPES[dtype], tuple(shape)


def stamp_of(facts: Mapping[str, Any]) -> int:
    """Nanoseconds; raises :class:`WireError`."""
    stamp_ns = facts.get("stamp_ns")
    if type(stamp_ns) is not int:
        raise WireError(f"stamp_ns is {stamp_ns!r}; expected a whole number")
    return stamp_ns
