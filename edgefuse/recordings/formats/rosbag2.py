"""A ROS 2 bag's folder: what ``metadata.yaml`` names or, where that is missing (it is written last), every ``.mcap``
and ``.db3`` in it. Files that lie compressed (``.zstd``) are unpacked into the system's temporary folder while it is
open.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path, PurePath
from typing import Protocol

from edgefuse.errors import MissingToolError, RecordingError
from edgefuse.recordings.formats import Raw, Topic, Topics, mcap, read_small, reading, rosbag2_sqlite
from edgefuse.recordings.formats.blocks import in_order
from edgefuse.recordings.formats.compression import unpack_file

try:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
except ImportError as error:
    raise MissingToolError(
        "the package 'ruamel.yaml' is not installed", hint="Install it with: pip install 'edgefuse[ros]'"
    ) from error

METADATA = "metadata.yaml"
LARGEST_METADATA = 16 << 20
PACKED = ".zstd"

TemporaryFolder = tempfile.TemporaryDirectory[str]


class Part(Topics, Protocol):
    """One file of the bag."""

    @property
    def start_ns(self) -> int: ...


@dataclass(frozen=True)
class Metadata:
    """``files``: None where nobody says which belong to the bag."""

    files: tuple[str, ...] | None = None
    distribution: str = ""
    damage: str = ""


@dataclass(frozen=True)
class FolderTopics:
    """See :class:`edgefuse.recordings.formats.Topics`. ``unpacked``: where files lie that were compressed."""

    parts: Mapping[str, Part]
    topics: Mapping[str, Topic]
    notes: tuple[str, ...]
    unpacked: TemporaryFolder | None

    @property
    def damage(self) -> str:
        return "; ".join((*self.notes, *(f"{name}: {part.damage}" for name, part in self.parts.items() if part.damage)))

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        found = [(part.start_ns, partial(iter, part.messages(names))) for part in self.parts.values()]
        return in_order(found, attrgetter("arrival_ns"))

    def close(self) -> None:
        for part in self.parts.values():
            part.close()
        if self.unpacked:
            self.unpacked.cleanup()


def open(folder: Path) -> FolderTopics:
    """See :class:`edgefuse.recordings.formats.Format`."""
    with reading(folder):
        metadata = _read_metadata(folder / METADATA)
        names = metadata.files
        if names is None:
            names = tuple(sorted((item.name for item in folder.iterdir() if _opener(item.name, "")), key=_natural))
        parts, notes, unpacked = dict[str, Part](), [metadata.damage] if metadata.damage else [], None
        if any(name.endswith(PACKED) for name in names):
            unpacked = tempfile.TemporaryDirectory(prefix="edgefuse-")
        for name in names:
            try:
                parts[name] = _open_part(folder / name, metadata.distribution, unpacked, notes)
            except RecordingError as error:
                notes.append(f"{name}: {error.what}")
    if not parts:
        if unpacked:
            unpacked.cleanup()
        raise RecordingError("; ".join(notes) or "holds no .mcap and no .db3 file", where=str(folder))
    return FolderTopics(parts, _topics(parts.values()), tuple(notes), unpacked)


def _open_part(path: Path, distribution: str, unpacked: TemporaryFolder | None, notes: list[str]) -> Part:
    if not path.is_file():
        raise RecordingError("is missing", where=str(path))
    opener = _opener(path.name, distribution)
    if opener is None:
        raise RecordingError("is neither .mcap nor .db3", where=str(path))
    if unpacked and path.name.endswith(PACKED):
        target = Path(unpacked.name, path.name.removesuffix(PACKED))
        if not unpack_file(path, target):
            notes.append(f"{path.name}: its zstd data are damaged")
        path = target
    return opener(path)


def _opener(name: str, distribution: str) -> Callable[[Path], Part] | None:
    """What opens a file of this name."""
    name = name.removesuffix(PACKED)
    if name.endswith(".db3"):
        return partial(rosbag2_sqlite.open, distribution=distribution)
    return mcap.open if name.endswith(".mcap") else None


def _natural(name: str) -> list[tuple[int, str]]:
    """``drive_10`` comes behind ``drive_9``."""
    return [(int(item), "") if item.isdigit() else (-1, item) for item in re.split(r"(\d+)", name)]


def _topics(parts: Iterable[Part]) -> dict[str, Topic]:
    found: dict[str, Topic] = {}
    for topic in (topic for part in parts for topic in part.topics.values()):
        old = found.get(topic.name, Topic(topic.name, topic.type, 0))
        kinds = dict.fromkeys((*old.type.split(", "), *topic.type.split(", ")))
        found[topic.name] = Topic(topic.name, ", ".join(kinds), (old.count or 0) + (topic.count or 0))
    return found


def _read_metadata(path: Path) -> Metadata:
    if not path.is_file():
        return Metadata(damage=f"{METADATA} is missing: the recorder did not end")
    try:
        about = YAML(typ="safe").load(read_small(path, LARGEST_METADATA))["rosbag2_bagfile_information"]
        names = tuple(PurePath(str(item)).name for item in about["relative_file_paths"])
        return Metadata(names, str(about.get("ros_distro") or ""))
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Metadata(damage=f"{METADATA} is damaged")
