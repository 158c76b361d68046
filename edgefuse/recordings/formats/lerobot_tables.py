"""Parquet files, a few rows at a time: the only file that imports ``pyarrow``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.errors import MissingToolError, RecordingError
from edgefuse.recordings.formats import reading

try:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingToolError(
        "the package 'pyarrow' is not installed", hint="Install it with: pip install 'edgefuse[lerobot]'"
    ) from error

ROWS, ROWS_OF_BYTES = 1024, 16
"""Read together: of numbers, and where a column may hold images."""
BUFFER = 1 << 20

READ_ERRORS = (pa.ArrowException, ValueError, LookupError, TypeError, MemoryError)

Column = Callable[[int], Any]
"""Row number within a batch to the row's value: a number, an array, a text, or a dict."""


def read_batches(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Column]]]:
    """The rows of *columns* (those of them that there are), some at a time: their number, and column name to values.

    Raises ``RecordingError`` where the file is missing, no Parquet, or damaged from there on.
    """
    with reading(path), _arrow_errors(path), pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        names = [name for name in columns if name in file.schema_arrow.names]
        plain = all(_is_number(file.schema_arrow.field(name).type) for name in names)
        for batch in file.iter_batches(ROWS if plain else ROWS_OF_BYTES, columns=names, use_threads=False):
            yield batch.num_rows, {name: _column(batch.column(name)) for name in names}


def read_table(path: Path, columns: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a small file as dicts; every column that is in *columns*, or whose name begins as one of them."""
    with reading(path), _arrow_errors(path), pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name.startswith(tuple(columns))]
        rows: list[dict[str, Any]] = file.read(columns=names, use_threads=False).to_pylist()
        return rows


@contextmanager
def _arrow_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        raise RecordingError(f"is no Parquet file that can be read: {reason(error)}", where=str(path)) from error


def reason(error: BaseException) -> str:
    """In one line, and short."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_number(kind: Any) -> bool:
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        return _is_number(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _column(values: Any) -> Column:
    kind = values.type
    if values.null_count or not _is_number(kind):
        return lambda row: values[row].as_py()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        numbers = values.to_numpy(zero_copy_only=False)
        return lambda row: numbers[row]
    flat = values.flatten()
    nested = hasattr(flat.type, "value_type") or bool(flat.null_count)
    if not nested and len(np.unique(values.value_lengths().to_numpy(zero_copy_only=False))) == 1:
        table = flat.to_numpy(zero_copy_only=False).reshape(len(values), -1)
        return lambda row: table[row].copy()
    return lambda row: np.asarray(values[row].as_py())
