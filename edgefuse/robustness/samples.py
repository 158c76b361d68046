"""Some of the golden samples, and rows of others that stand in for them; memory holds one sample. Numpy only."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration import GROUP, STAMP
from edgefuse.golden import GoldenSample, read_golden
from edgefuse.samples import iterate_rows, read_headers
from edgefuse.spec import Array

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Evenly:
    """At most *count* of the golden samples at *path*, spread evenly over recordings and over each recording's length,
    in the file's order; iterate it as often as needed."""

    path: Path
    count: int

    @cached_property
    def groups(self) -> Indices | None:
        """Of all samples of the file, chosen or not; None where they have none."""
        return read_column(self.path, GROUP)

    @cached_property
    def stamps_ns(self) -> Indices | None:
        """Of all samples of the file; None where they have none."""
        return read_column(self.path, STAMP)

    @cached_property
    def total(self) -> int:
        """How many samples the file has."""
        return min(header.shape[0] for header in read_headers(self.path).values())

    @cached_property
    def chosen(self) -> tuple[int, ...]:
        """Every (total / count)-th, by recording: each recording keeps its share of the whole."""
        if self.count >= self.total:
            return tuple(range(self.total))
        order = np.arange(self.total) if self.groups is None else np.argsort(self.groups, kind="stable")
        places = ((np.arange(self.count) + 0.5) * self.total / self.count).astype(np.int64)
        return tuple(sorted(order[places].tolist()))

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[GoldenSample]:
        return (sample for _, sample in self.indexed())

    def indexed(self, also: Collection[int] = ()) -> Iterator[tuple[int, GoldenSample]]:
        """Each with its index in the file; *also* those with these indices."""
        wanted = {*self.chosen, *also}
        for index, sample in enumerate(read_golden(self.path)):
            if index in wanted:
                yield index, sample


def read_column(path: Path, name: str) -> Indices | None:
    """One number per sample; None where the file has no such array. Reads no other array."""
    headers = read_headers(path)
    if name not in headers:
        return None
    return np.array([int(row[name]) for row in iterate_rows(path, {name: headers[name]})], np.int64)


class Rows:
    """Inputs of some samples, by the sample's index, in *file*: what stands in for another sample's data."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[tuple[int, str], tuple[int, tuple[int, ...], np.dtype]] = {}

    def put(self, index: int, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            self._places[index, name] = self._file.seek(0, os.SEEK_END), array.shape, array.dtype
            self._file.write(np.ascontiguousarray(array).tobytes())

    def get(self, index: int, name: str) -> Array:
        place, shape, dtype = self._places[index, name]
        self._file.seek(place)
        return np.frombuffer(self._file.read(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)


@contextmanager
def temporary_rows() -> Iterator[Rows]:
    """Its file is gone after the block."""
    with tempfile.TemporaryFile(prefix="edgefuse-") as file:
        yield Rows(file)
