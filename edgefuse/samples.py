"""Sample archives: ``.npz`` files whose arrays hold many samples, read and written one sample at a time.

numpy loads an array of an ``.npz`` whole; a set of camera images does not fit. Here each member of the zip is a
stream: memory holds one sample, whatever the file's size. Standard library and numpy only; never unpickles.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from edgefuse.errors import CalibrationError
from edgefuse.spec import Array

DAMAGED = (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What reading a member of a damaged, encrypted or foreign zip raises; each decompressor has an error of its own."""


@dataclass(frozen=True)
class ArrayHeader:
    """Shape and dtype of an array as its ``.npy`` header says, read without its data."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False


def read_headers(path: Path) -> dict[str, ArrayHeader]:
    """Name to header of every array in the ``.npz`` file; raises :class:`CalibrationError` if it is none."""
    with _open_zip(path) as archive:
        return {name.removesuffix(".npy"): _header(archive, name, path) for name in archive.namelist()}


def iterate_rows(path: Path, names: Mapping[str, ArrayHeader]) -> Iterator[dict[str, Array]]:
    """For each index of the first dimension, one row of every array in *names* (shape ``header.shape[1:]``).

    All arrays must have equally many rows. Raises :class:`CalibrationError` where the file ends early.
    """
    with _open_zip(path) as archive:
        streams = {name: archive.open(f"{name}.npy") for name in names}
        for stream in streams.values():
            _skip_header(stream)
        rows = min(header.shape[0] for header in names.values())
        for index in range(rows):
            yield {name: _read_row(streams[name], header, f"{path}: {name}[{index}]") for name, header in names.items()}


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise CalibrationError(f"cannot read the file: {error.strerror}", where=str(path)) from None
    except (zipfile.BadZipFile, NotImplementedError):
        raise CalibrationError(
            "is not an .npz file, or is cut short",
            where=str(path),
            hint="Write it with numpy.savez_compressed(path, name=array, …).",
        ) from None


def _header(archive: zipfile.ZipFile, name: str, path: Path) -> ArrayHeader:
    where, hint = f"{path}: {name.removesuffix('.npy')}", "An .npz holds only arrays that numpy saved."
    if not name.endswith(".npy"):
        raise CalibrationError(f"the member {name!r} is not a numpy array", where=where, hint=hint)
    try:
        with archive.open(name) as stream:
            shape, fortran, dtype = _skip_header(stream)
            present = archive.getinfo(name).file_size - stream.tell()
    except DAMAGED as error:
        raise CalibrationError(f"is not a numpy array, or is damaged ({error})", where=where, hint=hint) from None
    if dtype.hasobject:
        raise CalibrationError(
            "is an array of Python objects, which only pickle can read",
            where=where,
            hint="Save a plain array: numpy.asarray(values, dtype=numpy.float32).",
        )
    if fortran and len(shape) > 1:
        raise CalibrationError(
            "is stored column by column (Fortran order)", where=where, hint="Save numpy.ascontiguousarray(array)."
        )
    announced = math.prod(shape) * dtype.itemsize
    if present != announced:  # found here, before anyone counts to a number that only the header claims
        raise CalibrationError(
            f"is cut short: {present} bytes of data; its header says {announced}",
            where=where,
            hint="Copy the file again, or write it again.",
        )
    return ArrayHeader(shape, dtype, fortran)


def _skip_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy_format.read_magic(stream)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype


def _read_row(stream: IO[bytes], header: ArrayHeader, where: str) -> Array:
    shape = header.shape[1:]
    size = math.prod(shape) * header.dtype.itemsize
    try:
        data = stream.read(size)
    except DAMAGED as error:
        raise CalibrationError(
            f"the data are damaged ({error})", where=where, hint="Copy the file again, or write it again."
        ) from None
    if len(data) != size:
        raise CalibrationError(f"the file ends early: {len(data)} of {size} bytes", where=where)
    return np.frombuffer(data, header.dtype).reshape(shape)


class SampleWriter:
    """Writes rows to an ``.npz`` file whose number of rows is known beforehand; holds one row in memory.

    A zip member is written from start to end, so the columns go to one temporary file each and are joined by
    :meth:`close`. Use it as a context manager; on an exception nothing is left behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: dict[str, tuple[Path, IO[bytes], ArrayHeader]] = {}
        self.rows = 0

    def write(self, row: Mapping[str, Array], at: int | None = None) -> None:
        """Append one row; every row has the same names, dtypes and shapes as the first. *at* is its place where rows do
        not come in order; in the end every place must have been written."""
        for name, array in row.items():
            if name not in self.columns:
                part = self.path.with_name(f"{self.path.name}.{len(self.columns)}.part")
                self.columns[name] = part, part.open("wb"), ArrayHeader(array.shape, array.dtype)
            _, stream, header = self.columns[name]
            if array.shape != header.shape:
                raise CalibrationError(
                    f"shape {array.shape} differs from the first sample's {header.shape}",
                    where=name,
                    hint="Held-out samples must have one shape: pad or crop them to it.",
                )
            data = np.ascontiguousarray(array, header.dtype).tobytes()
            if at is not None:
                stream.seek(at * len(data))
            stream.write(data)
        self.rows += 1

    def close(self) -> None:
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, (part, stream, header) in self.columns.items():
                stream.close()
                # A fixed date: the same samples give the same bytes.
                info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as member, part.open("rb") as source:
                    member.write(_npy_header((self.rows, *header.shape), header.dtype))
                    while chunk := source.read(1 << 20):
                        member.write(chunk)
        self._remove_parts()

    def _remove_parts(self) -> None:
        for part, stream, _ in self.columns.values():
            with contextlib.suppress(OSError):  # a full disk, which has been told
                stream.close()
            part.unlink(missing_ok=True)

    def __enter__(self) -> SampleWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._remove_parts()


def _npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()
