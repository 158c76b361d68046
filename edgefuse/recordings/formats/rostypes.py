"""ROS messages from their bytes, by the definitions that a recording carries: the only file that imports ``rosbags``.

Standard library and ``rosbags``, which needs no ROS.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from functools import lru_cache, partial
from typing import Any

from edgefuse.errors import MissingToolError
from edgefuse.recordings.formats.compression import beginning, unpack_all
from edgefuse.recordings.formats.payloads import NS, Codec, reason

try:
    from rosbags.interfaces import Nodetype
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
    from rosbags.typesys.msg import normalize_msgtype
    from rosbags.typesys.store import Typestore
except ImportError as error:
    raise MissingToolError(
        "the package 'rosbags' is not installed", hint="Install it with: pip install 'edgefuse[ros]'"
    ) from error

CDR, ROS1 = "cdr", "ros1"
ZSTD = b"\x28\xb5\x2f\xfd"
HEAD = 64
"""Within these first bytes stands a header's stamp."""
PLACEHOLDER = "structure_needs_at_least_one_member"
"""What ROS 2 puts into a message without fields."""
MOST_UNROLLED = 20_000
HEADER = "std_msgs/msg/Header"

SEPARATOR = "=" * 80 + "\n"
"""Between the definitions of a type and of those that it is made of."""


@lru_cache(maxsize=256)
def ros_codec(name: str, definition: str, language: str, wire: str, distribution: str = "") -> Codec:
    """The type *name* as *definition* says in *language* ("msg" or "idl"), in bytes as *wire* says (``CDR``, ``ROS1``).

    An empty *definition* stands for what ROS 2 ships in *distribution* ("humble"), by default in the newest that is
    known. Its ``stamp`` is ``header.stamp`` where the type begins with a header and it is not 0, from those few bytes
    alone; its ``decode`` gives fields as attributes, and numbers' arrays as numpy's. Raises ``ValueError`` with a short
    reason.
    """
    name = normal_name(name)
    store = _defined(name, definition, language) if definition else _shipped(distribution)
    if name not in store.fielddefs:
        raise ValueError(f"the type {name} is not known, and the recording does not define it")
    _check_arrays(store, name, wire)
    try:
        store.get_msgdef(name)
    except Exception as error:  # it writes code from what the file says, and runs it
        raise ValueError(f"the definition of {name} cannot be used: {reason(error)}") from error
    read = store.deserialize_cdr if wire == CDR else store.deserialize_ros1
    codec = Codec(_stamp_reader(store, name, wire), partial(_decode, read, name))
    return _packed(codec) if wire == CDR else codec


def _check_arrays(store: Typestore, name: str, wire: str) -> None:
    """Refuse what nobody defines on purpose, and what would take memory and time without end: rosbags writes a line of
    code for each element of an array of texts or messages, and reads as many messages of no bytes as a damaged length
    says."""
    fields: list[Any] = [kind for _, entries in store.fielddefs.values() for _, kind in entries]
    arrays = [detail for node, detail in fields if node == Nodetype.ARRAY]
    unrolled = sum(length for (node, base), length in arrays if node != Nodetype.BASE or base[0] == "string")
    if unrolled > MOST_UNROLLED:
        raise ValueError(f"the definition of {name} has arrays of {unrolled} texts or messages")
    empty = _empty_types(store) if wire == ROS1 else set()
    for node, detail in fields:
        if node == Nodetype.SEQUENCE and detail[0][0] == Nodetype.NAME and detail[0][1] in empty:
            raise ValueError(f"the definition of {name} has arrays of {detail[0][1]}, which has no fields")


def _empty_types(store: Typestore) -> set[str]:
    """Those whose messages take no bytes in ROS 1."""
    empty: set[str] = set()
    while True:
        found = {
            name for name, (_, entries) in store.fielddefs.items() if all(_is_empty(item, empty) for item in entries)
        }
        if found == empty:
            return empty
        empty = found


def _is_empty(entry: Any, empty: Container[str]) -> bool:
    field, (node, detail) = entry
    if node == Nodetype.ARRAY:
        node, detail = detail[0]
    return field == PLACEHOLDER or (node == Nodetype.NAME and detail in empty)


def _packed(codec: Codec) -> Codec:
    """Also for messages that were compressed one by one (``ros2 bag record --compression-mode message``): they begin
    as no CDR does."""

    def stamp(data: bytes) -> int | None:
        return codec.stamp(beginning("zstd", data, HEAD) if data.startswith(ZSTD) else data)

    def decode(data: bytes) -> Any:
        return codec.decode(unpack_all("zstd", data) if data.startswith(ZSTD) else data)

    return Codec(stamp, decode)


def normal_name(name: str) -> str:
    """``sensor_msgs/Image`` as ``sensor_msgs/msg/Image``, as ROS 2 writes it."""
    return str(normalize_msgtype(name))


def _defined(name: str, definition: str, language: str) -> Typestore:
    store = get_typestore(Stores.EMPTY)
    definition = definition.replace("\r\n", "\n")
    try:
        if language == "msg":
            store.register(get_types_from_msg(definition, name))
        else:
            for part in definition.split(SEPARATOR):
                text = part.partition("\n")[2] if part.startswith("IDL: ") else part
                store.register(get_types_from_idl(text) if text.strip() else {})
    except Exception as error:  # a parser of text that anything may have written
        raise ValueError(f"the definition of {name} cannot be read: {reason(error)}") from error
    return store


@lru_cache(maxsize=4)
def _shipped(distribution: str) -> Typestore:
    known = {item.value: item for item in Stores if item.value.startswith("ros2_")}
    return get_typestore(known.get(f"ros2_{distribution}", list(known.values())[-1]))


def _stamp_reader(store: Typestore, name: str, wire: str) -> Callable[[bytes], int | None]:
    fields = store.fielddefs[name][1]
    if not fields or fields[0][1] != (Nodetype.NAME, HEADER) or HEADER not in store.fielddefs:
        return _no_stamp
    first = store.fielddefs[HEADER][1][0][0]
    if wire == CDR:
        return _cdr_stamp if first == "stamp" else _no_stamp
    return partial(_ros1_stamp, 4 if first == "seq" else 0)


def _no_stamp(data: bytes) -> None:
    return None


def _cdr_stamp(data: bytes) -> int | None:
    if len(data) < 12:
        return None
    return _nanoseconds(*struct.unpack_from("<iI" if data[1] else ">iI", data, 4))


def _ros1_stamp(offset: int, data: bytes) -> int | None:
    return _nanoseconds(*struct.unpack_from("<II", data, offset)) if len(data) >= offset + 8 else None


def _nanoseconds(seconds: int, nanoseconds: int) -> int | None:
    return (seconds * NS + nanoseconds or None) if seconds >= 0 and nanoseconds < NS else None


def _decode(read: Callable[[bytes, str], object], name: str, data: bytes) -> Any:
    if not data:
        raise ValueError("the message is empty: 0 bytes")
    try:
        return read(data, name)
    except Exception as error:  # generated code meets bytes that anything may have written
        raise ValueError(reason(error)) from error
