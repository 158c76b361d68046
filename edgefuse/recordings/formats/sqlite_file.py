"""A sqlite3 database that nobody else writes to, opened also where it is damaged or its writer died."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgefuse.errors import RecordingError

MAGIC = b"SQLite format 3\0"
HEAD = 100
FARTHEST = 1 << 40
"""Rows are numbered from 1: none of a recording comes near."""
MOST_GAPS = 1000

Row = tuple[Any, ...]


def check_file(path: Path) -> list[str]:
    """What is missing of it; raises ``RecordingError`` where it is no database at all."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.startswith(MAGIC) or len(head) < HEAD:
        what = "is no sqlite3 database" if size else "is empty: 0 bytes"
        raise RecordingError(what, where=str(path), hint="Was it renamed, or not copied to its end?")
    page = int.from_bytes(head[16:18], "big")
    expected = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
    return [f"cut short: {size} of {expected} bytes are there"] if size < expected else []


def connect(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    """And what cannot be seen through it. A log beside the database holds what was not written into it any more."""
    logs = [log for end in ("-wal", "-journal") if (log := path.with_name(path.name + end)).is_file()]
    if any(log.stat().st_size for log in logs):
        try:
            return _open(path, "mode=ro"), []
        except sqlite3.Error as error:
            return _open(path, "immutable=1"), [f"what is in {logs[0].name} cannot be read ({error})"]
    return _open(path, "immutable=1"), []


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    database = sqlite3.connect(uri, uri=True, check_same_thread=False)
    database.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        # the second lets a database be opened that is shorter than it says
        for pragma in ("trusted_schema=OFF", "writable_schema=ON", "cell_size_check=ON", "cache_size=-4096"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database


def rows(database: sqlite3.Connection, table: str, columns: str, notes: list[str]) -> Iterator[Row]:
    """*columns* of *table*, which has a column ``id``, in its order; *notes* get a phrase about what is damaged."""
    start: int | None = -FARTHEST
    gaps = 0
    query = f"SELECT id, {columns} FROM {table} WHERE id >= ? ORDER BY id"
    while start is not None and gaps < MOST_GAPS:
        try:
            for row in database.execute(query, (start,)):
                if type(row[0]) is not int or row[0] < start:
                    raise sqlite3.DatabaseError("its rows are not in order")
                start = row[0] + 1
                yield row[1:]
            break
        except sqlite3.Error:
            gaps += 1
            start = _behind_damage(database, table, start)
    if gaps:
        notes.append(f"{gaps} stretches of the database are damaged")


def _behind_damage(database: sqlite3.Connection, table: str, start: int) -> int | None:
    """The first id from which on *table* can be read again."""
    bad, step = max(start, 0), 1
    while not _readable(database, table, bad + step):
        if step > FARTHEST:
            return None
        bad, step = bad + step, step * 2
    good = bad + step
    while good - bad > 1:
        middle = (good + bad) // 2
        if _readable(database, table, middle):
            good = middle
        else:
            bad = middle
    return good


def _readable(database: sqlite3.Connection, table: str, start: int) -> bool:
    try:
        database.execute(f"SELECT id FROM {table} WHERE id >= ? ORDER BY id LIMIT 1", (start,)).fetchone()
    except sqlite3.Error:
        return False
    return True
