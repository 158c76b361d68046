"""The bytes of a message to its content and to the time at which it was acquired: JSON and Protobuf. The only file that
imports ``mcap_protobuf``; ROS is in :mod:`edgefuse.recordings.formats.rostypes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgefuse.errors import MissingToolError

if TYPE_CHECKING:
    from mcap.records import Schema

NS = 1_000_000_000
STAMPS = (("header", "stamp"), ("timestamp",), ("stamp",))
"""Where a message without a fixed layout may say when it was acquired; the first that is there and not 0."""
SECONDS, NANOSECONDS = ("sec", "secs", "seconds"), ("nanosec", "nsec", "nsecs", "nanos")


@dataclass(frozen=True)
class Codec:
    """``stamp(data)``: nanoseconds, or None where the message does not say. ``decode(data)``: its content; raises
    ``ValueError`` with a short reason."""

    stamp: Callable[[bytes], int | None]
    decode: Callable[[bytes], Any]


def json_codec() -> Codec:
    return _codec(_decode_json)


def protobuf_codec(schema: Schema) -> Codec:
    """Raises ``ValueError`` where *schema* does not describe its type."""
    try:
        from mcap_protobuf.decoder import DecoderFactory
    except ImportError as error:
        raise MissingToolError(
            "the package 'mcap-protobuf-support' is not installed", hint="Install it with: pip install 'edgefuse[ros]'"
        ) from error
    try:
        parse = DecoderFactory().decoder_for("protobuf", schema)
    except Exception as error:  # descriptors that anything may have written, checked by three libraries
        raise ValueError(f"its schema cannot be used: {reason(error)}") from error
    if parse is None:
        raise ValueError(f"its schema is encoded as {schema.encoding!r}; expected 'protobuf'")

    def decode(data: bytes) -> Any:
        try:
            return parse(data)
        except Exception as error:  # DecodeError is no ValueError, and its module differs from release to release
            raise ValueError(f"is no {schema.name}: {reason(error)}") from error

    return _codec(decode)


def _codec(decode: Callable[[bytes], Any]) -> Codec:
    def stamp(data: bytes) -> int | None:
        try:
            return stamp_of(decode(data))
        except ValueError:
            return None

    return Codec(stamp, decode)


def _decode_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("is JSON of too many levels") from error


def stamp_of(content: Any) -> int | None:
    """What *content* says of :data:`STAMPS`: seconds and nanoseconds, under the names of ROS, JSON or Protobuf."""
    for path in STAMPS:
        value = content
        for key in path:
            value = _get(value, key)
        seconds = next((found for key in SECONDS if (found := _get(value, key)) is not None), None)
        rest = next((found for key in NANOSECONDS if (found := _get(value, key)) is not None), 0)
        if type(seconds) is int and type(rest) is int and 0 <= rest < NS and 0 < seconds * NS + rest < 1 << 63:
            return seconds * NS + rest
    return None


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else getattr(content, key, None)


def reason(error: Exception) -> str:
    """In one line, and short."""
    return " ".join(str(error).split())[:200] or type(error).__name__
