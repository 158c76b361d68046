"""One sqlite3 file of a ROS 2 bag (``.db3``), also one that was cut short or lies beside its log of a crash.

The ids and times of its messages are held, 24 bytes a message; the messages are fetched one by one, so that a damaged
page costs only the messages on it. Standard library and numpy only, but for the types.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import Raw, Topic, reading
from edgefuse.recordings.formats.payloads import Codec
from edgefuse.recordings.formats.rostypes import CDR, ros_codec
from edgefuse.recordings.formats.sqlite_file import check_file, connect, rows

LANGUAGES = {"ros2msg": "msg", "ros2idl": "idl"}

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Channel:
    topic: str
    type: str
    encoding: str


@dataclass(frozen=True)
class Definition:
    """Of a type; empty where the file has none."""

    text: str = ""
    language: str = "msg"


@dataclass(frozen=True)
class SqliteTopics:
    """See :class:`edgefuse.recordings.formats.Topics`. ``times``, ``ids``, ``owners`` (n,): of each message, in order
    of time, when it was recorded, its row, and its channel. ``lost``: rows that turned out to be damaged."""

    path: Path
    topics: Mapping[str, Topic]
    channels: Mapping[int, Channel]
    definitions: Mapping[str, Definition]
    distribution: str
    times: Int64
    ids: Int64
    owners: Int64
    notes: tuple[str, ...] = ()
    lost: set[int] = field(default_factory=set)

    @property
    def damage(self) -> str:
        lost = (f"{len(self.lost)} messages lie on damaged pages",) if self.lost else ()
        return "; ".join((*self.notes, *lost))

    @property
    def start_ns(self) -> int:
        """Nothing arrives before."""
        return int(self.times[0]) if len(self.times) else 0

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        return self._messages({key: self.codec(key) for key, item in self.channels.items() if item.topic in names})

    def close(self) -> None:
        """The file is open only while it is read."""

    def codec(self, key: int) -> Codec:
        """Raises ``RecordingError`` where the channel's messages cannot be decoded."""
        channel = self.channels[key]
        where = f"{self.path}: {channel.topic}"
        if channel.encoding != CDR:
            raise RecordingError(f"its messages are encoded as {channel.encoding!r}; expected {CDR!r}", where=where)
        found = self.definitions.get(channel.type, Definition())
        try:
            return ros_codec(channel.type, found.text, found.language, CDR, self.distribution)
        except ValueError as error:
            hint = "Record it as MCAP, which carries the definitions: ros2 bag record -s mcap"
            raise RecordingError(str(error), where=where, hint=hint) from error

    def _messages(self, codecs: Mapping[int, Codec]) -> Iterator[Raw]:
        places = np.flatnonzero(np.isin(self.owners, list(codecs)))
        with reading(self.path), closing(connect(self.path)[0]) as database:
            for place in places:
                row, key, time_ns = int(self.ids[place]), int(self.owners[place]), int(self.times[place])
                try:
                    (data,) = database.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone() or (None,)
                except sqlite3.Error:
                    data = None
                if isinstance(data, bytes):
                    codec = codecs[key]
                    yield Raw(self.channels[key].topic, codec.stamp(data), time_ns, partial(codec.decode, data))
                else:
                    self.lost.add(row)


def open(path: Path, distribution: str = "") -> SqliteTopics:
    """See :class:`edgefuse.recordings.formats.Format`. Types that the file does not define are those of ROS 2's
    *distribution* ("humble"): by default the one that the file names, or the newest."""
    with reading(path):
        notes = check_file(path)
    try:
        database, note = connect(path)
        with closing(database):
            return _read(path, database, distribution, [*notes, *note])
    except sqlite3.Error as error:
        raise RecordingError(f"is no bag that can be read: {error}", where=str(path)) from error


def _read(path: Path, database: sqlite3.Connection, distribution: str, notes: list[str]) -> SqliteTopics:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"topics", "messages"} <= tables:
        shown = ", ".join(sorted(tables)) or "none"
        raise RecordingError(f"is no ROS 2 bag: expected tables topics and messages, found {shown}", where=str(path))
    columns = "id, name, type, serialization_format"
    channels = {key: Channel(*item) for key, *item in rows(database, "topics", columns, notes)}
    times, ids, owners = array("q"), array("q"), array("q")
    odd = 0
    for row in rows(database, "messages", "timestamp, id, topic_id", notes):
        if all(type(item) is int for item in row) and row[2] in channels:
            for column, item in zip((times, ids, owners), row):
                column.append(item)
        else:
            odd += 1
    if odd:
        notes.append(f"{odd} messages are of no topic or of no time")
    if notes and not times:
        raise RecordingError(f"nothing of it can be read: {'; '.join(notes)}", where=str(path))
    order = np.lexsort((ids, times))
    owned = np.frombuffer(owners, np.int64)[order]
    return SqliteTopics(
        path,
        _topics(channels, owned),
        channels,
        _definitions(database, tables, notes),
        distribution or _distribution(database, tables),
        np.frombuffer(times, np.int64)[order],
        np.frombuffer(ids, np.int64)[order],
        owned,
        tuple(notes),
    )


def _topics(channels: Mapping[int, Channel], owners: Int64) -> dict[str, Topic]:
    counts, types = Counter[str](), dict[str, dict[str, None]]()
    for key, count in zip(*np.unique(owners, return_counts=True)):
        counts[channels[int(key)].topic] += int(count)
    for item in channels.values():
        types.setdefault(item.topic, {})[item.type] = None
    return {name: Topic(name, ", ".join(found), counts[name]) for name, found in types.items()}


def _definitions(database: sqlite3.Connection, tables: Collection[str], notes: list[str]) -> dict[str, Definition]:
    if "message_definitions" not in tables:
        return {}
    columns = "topic_type, encoded_message_definition, encoding"
    found = rows(database, "message_definitions", columns, notes)
    return {name: Definition(text, LANGUAGES[kind]) for name, text, kind in found if kind in LANGUAGES}


def _distribution(database: sqlite3.Connection, tables: Collection[str]) -> str:
    """Of ROS 2, which recorded it; empty where it does not say."""
    if "schema" not in tables or "ros_distro" not in {row[1] for row in database.execute("PRAGMA table_info(schema)")}:
        return ""
    return "".join(str(name) for (name,) in database.execute("SELECT ros_distro FROM schema LIMIT 1"))
