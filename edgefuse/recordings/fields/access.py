"""Into a decoded message, whatever decoded it: objects with attributes (ROS, protobuf) or dicts (JSON), nested.
Standard library and numpy only."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgefuse.errors import nearest
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array

_NEEDED = object()


def get(message: Any, name: str, default: Any = _NEEDED) -> Any:
    """The field *name*, or *default*, without which its absence is a :class:`Misfit`."""
    found = message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)
    if found is not None:
        return found
    if default is _NEEDED:
        raise Misfit("field", f"there is no {name!r}")
    return default


def follow(message: Any, path: str) -> Any:
    """What the dotted *path* leads to, through attributes, keys of dicts and places in lists."""
    value = message
    for name in path.split("."):
        value = _inside(value, name, path)
    return value


def _inside(value: Any, name: str, path: str) -> Any:
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
    elif name.isdecimal() and hasattr(value, "__getitem__") and hasattr(value, "__len__"):
        if int(name) < len(value):
            return value[int(name)]
        raise Misfit("field", f"{path!r}: there are {len(value)} values, and none at {name}")
    elif not name.startswith("_") and hasattr(value, name):
        return getattr(value, name)
    place = f" of {path!r}" if path != name else ""
    known = field_names(value)
    raise Misfit("field", f"there is no {name!r}{place}; {nearest(name, known) if known else 'it has no fields'}")


def field_names(message: Any) -> list[str]:
    """For people, and to tell ROS 1 from ROS 2."""
    if isinstance(message, Mapping):
        return [str(name) for name in message]
    descriptor = getattr(type(message), "DESCRIPTOR", None)
    if descriptor is not None:
        return [str(field.name) for field in descriptor.fields]
    names: Any = getattr(message, "__dataclass_fields__", None) or getattr(message, "__dict__", ())
    if not names and not isinstance(message, np.ndarray | np.generic | str | bytes | int | float | list | tuple):
        names = getattr(message, "__slots__", ())
    return [str(name).removeprefix("_") for name in names if not str(name).startswith("__")]


def to_array(value: Any, path: str) -> Array:
    """Numbers, as the message has them; null, which JSON has for NaN and infinity, is NaN. *path* is for the error."""
    if isinstance(value, bytes | bytearray | memoryview):
        return np.frombuffer(value, np.uint8)
    if hasattr(value, "__len__") and not isinstance(value, np.ndarray | np.generic | str | Mapping):
        value = list(value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise Misfit("field", f"{path!r} is no array: its rows have different lengths") from None
    if (
        array.ndim
        and array.dtype == object
        and all(item is None or isinstance(item, int | float) for item in array.flat)
    ):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        inner = value[0] if isinstance(value, list) and value else value
        names = [] if isinstance(inner, str) else field_names(inner)
        shown = f"of {type(inner).__name__}" + (f", which has {', '.join(names)}" if names else "")
        raise Misfit("field", f"{path!r} is {shown}; expected numbers")
    return array


def to_bytes(data: Any) -> Array:
    """(n,) uint8 of bytes, arrays, lists of numbers, or base64 as JSON has them."""
    if isinstance(data, str):
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError as error:
            raise Misfit("decode", f"the data are not base64: {error}") from None
    if isinstance(data, bytes | bytearray | memoryview):
        return np.frombuffer(data, np.uint8)
    array = np.ascontiguousarray(data).reshape(-1)
    if array.dtype.kind not in "iu" and array.size:
        raise Misfit("decode", f"the data are {array.dtype}; expected bytes")
    return array.view(np.uint8) if array.dtype.itemsize == 1 else array.astype(np.uint8)
