"""What robots record: topics of messages, each with the time at which it was written down. Standard library only.

A format is a module of this package with a function ``open(path) -> Topics``, plus one line in ``TOPICS``; its library
is imported inside that one file. Which topic feeds which input is the recipe's (:mod:`edgefuse.recordings.mapping`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True)
class Topic:
    """``type`` is the format's own name of the message type; ``count`` None where it is not known beforehand."""

    name: str
    type: str
    count: int | None = None


class Raw(NamedTuple):
    """A message as it was recorded. ``stamp_ns``: when its data were acquired (``header.stamp``), None where it does
    not say; ``arrival_ns``: when it was recorded. ``decode()`` gives its content: an object with attributes or a dict,
    nested; or an array. It raises ``ValueError`` where the bytes are not what the type says."""

    topic: str
    stamp_ns: int | None
    arrival_ns: int
    decode: Callable[[], Any]


class Topics(Protocol):
    """An open recording. It can be read any number of times, also at the same time; memory holds one message, or one
    chunk of the file, for each reading."""

    @property
    def topics(self) -> Mapping[str, Topic]: ...

    @property
    def damage(self) -> str:
        """What of the file cannot be read ("cut short after 12.3 s"), as far as is known by now; empty: nothing."""

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        """Those of the topics *names*, in order of ``arrival_ns``. Ends where the file is damaged, and ``damage`` says
        so then; raises ``RecordingError`` where nothing can be read at all."""

    def close(self) -> None: ...
