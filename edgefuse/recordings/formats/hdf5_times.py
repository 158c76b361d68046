"""When the rows of an HDF5 dataset were acquired, and when they arrived (``hdf5.py`` says where that is looked for)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgefuse.errors import RecordingError

STAMP, ARRIVAL = "stamp_ns", "arrival_ns"
TIMES = (STAMP, "timestamp", "timestamps", "time")
RATES = ("rate_hz", "fps")
START_NS = 10_000_000_000
"""Where rows that only have a rate begin: 0 stands for "nobody set it" in ROS."""
FARTHEST_NS = 1 << 62

Int64 = NDArray[np.int64]


class Times(NamedTuple):
    """(n,) int64 each: of every row, in nanoseconds; ``arrivals`` do not go back."""

    stamps: Int64
    arrivals: Int64


def is_time(name: str) -> bool:
    """Whether the dataset holds the times of others."""
    leaf = PurePosixPath(name).name
    return leaf in (*TIMES, ARRIVAL) or leaf.endswith((f".{STAMP}", f".{ARRIVAL}"))


def read_times(file: Any, name: str, rows: int, where: str) -> Times:
    """Of the dataset *name* of *file*; raises ``RecordingError`` where there are none, or none that can be."""
    looked: list[str] = []
    stamps = _read_first(file, _stamp_places(name), rows, looked, where)
    if stamps is None:
        rate = _rate(file, name, where)
        if rate is None:
            raise RecordingError(
                f"has no times: looked for {', '.join(looked)}, and the attributes {' and '.join(RATES)}",
                where=where,
                hint=f"Rows at a fixed rate: file.attrs[{RATES[0]!r}] = 50.0. Otherwise add {name}.{STAMP}.",
            )
        stamps = START_NS + np.round(np.arange(rows) * (1e9 / rate)).astype(np.int64)
    arrived = _read_first(file, _arrival_places(name), rows, [], where)
    return Times(stamps, np.maximum.accumulate(stamps if arrived is None else arrived))


def _stamp_places(name: str) -> Iterator[str]:
    yield f"{name}.{STAMP}"
    for group in _groups(name):
        yield from (f"{group}{leaf}" for leaf in TIMES)


def _arrival_places(name: str) -> Iterator[str]:
    yield f"{name}.{ARRIVAL}"
    yield f"{next(_groups(name))}{ARRIVAL}"


def _groups(name: str) -> Iterator[str]:
    """The dataset's, and those above it, as beginnings of names."""
    for parent in PurePosixPath(name).parents:
        yield "" if str(parent) == "." else f"{parent}/"


def _read_first(file: Any, places: Iterator[str], rows: int, looked: list[str], where: str) -> Int64 | None:
    """The first of *places* that holds *rows* times; *looked* gets all that were tried."""
    for place in places:
        data = file.get(place)
        shape = getattr(data, "shape", None)
        if data is None or shape is None:
            looked.append(place)
        elif shape not in ((rows,), (rows, 1)) or data.dtype.kind not in "iuf":
            looked.append(f"{place} (which is {data.dtype} of {shape}; expected ({rows},) numbers)")
        else:
            return _nanoseconds(np.asarray(data[()]).reshape(-1), f"{where}: {place}")
    return None


def _nanoseconds(values: Any, where: str) -> Int64:
    """Floats are seconds, integers nanoseconds."""
    scaled = values * 1e9 if values.dtype.kind == "f" else values
    wrong = np.flatnonzero(~(np.abs(scaled.astype(np.float64)) < FARTHEST_NS))
    if len(wrong):
        raise RecordingError(f"row {wrong[0]} is {values[wrong[0]]}, which is no time", where=where)
    times: Int64 = np.round(scaled).astype(np.int64)
    return times


def _rate(file: Any, name: str, where: str) -> float | None:
    for place in (name, *(group or "/" for group in _groups(name))):
        attributes = file[place].attrs
        for key in RATES:
            if key in attributes:
                value = attributes[key]
                if np.size(value) != 1 or np.asarray(value).dtype.kind not in "iuf" or not 0 < float(value) < 1e6:
                    raise RecordingError(f"the attribute {key} of {place} is {value!r}; expected Hz", where=where)
                return float(value)
    return None
