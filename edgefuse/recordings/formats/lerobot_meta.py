"""What a LeRobot dataset says of itself (``meta/``): versions 3.0 and 2.x. Standard library, but for its tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import read_small
from edgefuse.recordings.formats.lerobot_tables import read_table

INFO = "meta/info.json"
PATHS = {
    3: {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    },
    2: {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    },
}
LARGEST_JSON = 256 << 20

Row = dict[str, Any]


@dataclass(frozen=True)
class Feature:
    """``dtype``: numpy's name of it, or "video", "image", "string"."""

    dtype: str
    shape: tuple[int, ...]
    depth: bool = False


@dataclass(frozen=True)
class Clip:
    """Where an episode's frames are: in *path*, from *start_s* on."""

    path: Path
    start_s: float


@dataclass(frozen=True)
class Meta:
    """``files``: of rows, in order. ``clips``: video feature to episode to its frames. ``tasks``: number to text."""

    rate_hz: float
    features: Mapping[str, Feature]
    files: tuple[Path, ...]
    clips: Mapping[str, Mapping[int, Clip]]
    tasks: Mapping[int, str]
    damage: tuple[str, ...]


def read_meta(folder: Path) -> Meta:
    """Raises ``RecordingError`` where it is no such dataset."""
    info, where = _read_json(folder), str(folder / INFO)
    version = _version(info, where)
    rate_hz, chunks_size = info.get("fps"), info.get("chunks_size", 1000)
    if not _is_number(rate_hz) or not 0 < rate_hz < 1e6:
        raise RecordingError(f"fps is {rate_hz!r}; expected Hz", where=where)
    if type(chunks_size) is not int or chunks_size < 1:
        raise RecordingError(f"chunks_size is {chunks_size!r}; expected a whole number", where=where)
    features, notes = _features(info, where), list[str]()
    episodes = _episodes(folder, info, version, notes)
    places = _Places(folder, info, version, chunks_size, notes)
    files = {path for item in episodes.values() if (path := places.data(item))} | set(folder.glob("data/*/*.parquet"))
    clips = {
        name: {number: clip for number, item in episodes.items() if (clip := places.clip(name, item))}
        for name, feature in features.items()
        if feature.dtype == "video"
    }
    tasks = _tasks(folder, version, notes)
    return Meta(float(rate_hz), features, tuple(sorted(files)), clips, tasks, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class _Places:
    """Which files hold an episode; one that is missing is noted, and is None."""

    folder: Path
    info: Mapping[str, Any]
    version: int
    chunks_size: int
    notes: list[str]

    def data(self, episode: Row) -> Path | None:
        return self._existing("data_path", "data", episode)

    def clip(self, name: str, episode: Row) -> Clip | None:
        path = self._existing("video_path", f"videos/{name}", episode, video_key=name)
        start_s = episode.get(f"videos/{name}/from_timestamp", 0.0)
        return Clip(path, float(start_s)) if path and _is_number(start_s) else None

    def _existing(self, key: str, prefix: str, episode: Row, **values: Any) -> Path | None:
        template = str(self.info.get(key) or PATHS[self.version][key])
        number = episode["episode_index"]
        values |= {name: episode.get(f"{prefix}/{name}") for name in ("chunk_index", "file_index")}
        values |= {"episode_index": number, "episode_chunk": number // self.chunks_size}
        name = re.sub(r"\{(\w+)(?::0?(\d)d)?\}", partial(_filled, {**self.info, **values}), template)
        if ".." in Path(name).parts or Path(name).is_absolute():
            self.notes.append(f"{INFO} names {name}, which is outside")
        elif not (self.folder / name).is_file():
            self.notes.append(f"{name} is missing")
        else:
            return self.folder / name
        return None


def _filled(values: Mapping[str, Any], match: re.Match[str]) -> str:
    return str(values.get(match[1])).zfill(int(match[2] or 0))


def _episodes(folder: Path, info: Mapping[str, Any], version: int, notes: list[str]) -> dict[int, Row]:
    """Number to what is said of it."""
    rows: list[Row] = []
    try:
        if version == 3:
            for path in sorted(folder.glob("meta/episodes/*/*.parquet")):
                rows += read_table(path, ("episode_index", "data/", "videos/"))
        else:
            rows = _read_lines(folder / "meta/episodes.jsonl")
    except RecordingError as error:
        notes.append(f"{Path(error.where).relative_to(folder)} {error.what}")
    found = {row["episode_index"]: row for row in rows if type(row.get("episode_index")) is int}
    if found:
        return found
    if version == 3:
        notes.append("meta/episodes does not say where episodes are")
        return {}
    total = info.get("total_episodes", 0)
    return {number: {"episode_index": number} for number in range(min(total, 1 << 20))} if type(total) is int else {}


def _tasks(folder: Path, version: int, notes: list[str]) -> dict[int, str]:
    path = folder / ("meta/tasks.parquet" if version == 3 else "meta/tasks.jsonl")
    if not path.exists():
        return {}
    try:  # pandas writes the text as the table's index, which has no name of its own
        rows = read_table(path, ("task", "__index")) if version == 3 else _read_lines(path)
    except RecordingError as error:
        notes.append(f"{path.relative_to(folder)} {error.what}")
        return {}
    texts = {row.get("task_index"): row.get("task", row.get("__index_level_0__")) for row in rows}
    return {number: str(text) for number, text in texts.items() if type(number) is int and text is not None}


def _read_lines(path: Path) -> list[Row]:
    try:
        rows = [json.loads(line) for line in read_small(path, LARGEST_JSON).splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"is no JSON: {error}", where=str(path)) from error
    return [row for row in rows if isinstance(row, dict)]


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / INFO
    try:
        info = json.loads(read_small(path, LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"is no JSON: {error}", where=str(path)) from error
    if not isinstance(info, dict):
        raise RecordingError("is no JSON object", where=str(path))
    return info


def _version(info: Mapping[str, Any], where: str) -> int:
    given = str(info.get("codebase_version", ""))
    match = re.fullmatch(r"v?([23])\..*", given)
    if match is None:
        raise RecordingError(
            f"codebase_version is {given!r}; expected v3.x or v2.x",
            where=where,
            hint="Is it a LeRobot dataset? Older ones: python -m lerobot.datasets.v30.convert_dataset_v21_to_v30",
        )
    return int(match[1])


def _features(info: Mapping[str, Any], where: str) -> dict[str, Feature]:
    found = {}
    try:
        for name, about in info["features"].items():
            detail = about.get("info") or about.get("video_info") or {}
            shape = tuple(int(size) for size in about["shape"])
            found[name] = Feature(str(about["dtype"]), shape, bool(detail.get("video.is_depth_map")))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"features are not as expected: {error!r}", where=where) from error
    return found
