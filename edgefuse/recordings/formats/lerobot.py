"""LeRobot datasets (a folder with ``meta/info.json``), versions 3.0 and 2.x: every feature is a topic
(``observation.state``, ``observation.images.top``, ``action``, ``episode_index`` …), and ``task`` is the text of the
task.

Episodes lie one behind another on one axis of time, with 10 s between the last row of one and the first of the next,
so that streams begin anew. Within an episode the column ``timestamp`` is the time. The dataset's rows are all at its
rate: a row is acquired and arrives at the same time.

Rows are read a few at a time. Frames are decoded when they are asked for, in order: (H, W, 3) uint8, as are images in
the table.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgefuse.errors import RecordingError
from edgefuse.recordings.fields.image import compressed_image
from edgefuse.recordings.formats import Raw, Topic, reading
from edgefuse.recordings.formats.lerobot_meta import Clip, Feature, Meta, read_meta
from edgefuse.recordings.formats.lerobot_tables import Column, read_batches
from edgefuse.recordings.formats.lerobot_video import Video

START_NS = GAP_NS = 10_000_000_000
"""Where the first episode begins (0 would say that nobody knows), and what lies between two."""
FARTHEST_S = 1e9
TASK, TASK_INDEX = "task", "task_index"
INDEX = ("episode_index", "frame_index", "timestamp")


class Row(NamedTuple):
    """``seconds``: within the episode's video. ``values``: of the columns, for the row's ``number`` in the batch."""

    time_ns: int
    episode: int
    seconds: float
    number: int
    values: Mapping[str, Column]


@dataclass(frozen=True)
class LeRobotTopics:
    """See :class:`edgefuse.recordings.formats.Topics`. ``lost``: (video, seconds) of frames that are not there."""

    folder: Path
    meta: Meta
    topics: Mapping[str, Topic]
    broken: dict[Path, str]
    lost: set[tuple[Path, float]] = field(default_factory=set)

    @property
    def damage(self) -> str:
        files = [f"{path.relative_to(self.folder)} {what}" for path, what in self.broken.items()]
        videos = Counter(path.relative_to(self.folder) for path, _ in self.lost)
        frames = [f"{path}: {count} frames cannot be read" for path, count in videos.items()]
        return "; ".join((*self.meta.damage, *files, *frames))

    def messages(self, names: Collection[str]) -> Iterator[Raw]:
        readers = {name: self._reader(name) for name in self.topics if name in names}
        columns = {TASK_INDEX if name == TASK else name for name in readers if not self._is_video(name)}
        return self._messages(readers, [*INDEX, *sorted(columns - {*INDEX})])

    def _is_video(self, name: str) -> bool:
        return name in self.meta.clips

    def close(self) -> None:
        """Files are open as long as they are read, or messages of theirs are held."""

    def _messages(self, readers: Mapping[str, Reader], columns: list[str]) -> Iterator[Raw]:
        for row in _rows(self.meta, columns, self.broken):
            for name, reader in readers.items():
                decode = reader(row)
                if decode is not None:
                    yield Raw(name, row.time_ns, row.time_ns, decode)

    def _reader(self, name: str) -> Reader:
        if name == TASK:
            return partial(_read_task, self.meta.tasks)
        feature, where = self.meta.features[name], f"{self.folder}: {name}"
        if feature.dtype != "video":
            if not _is_known(feature.dtype):
                raise RecordingError(f"has dtype {feature.dtype!r}, which is not known", where=where)
            return partial(_read_value, name, feature)
        if feature.depth:
            raise RecordingError("is depth kept as a video, which is not supported", where=where)
        return partial(_read_frame, self.meta.clips[name], Video(self.meta.rate_hz, self.lost))


Reader = Callable[[Row], Callable[[], Any] | None]
"""What decodes a row's value; None where the row has none."""


def open(folder: Path) -> LeRobotTopics:
    """See :class:`edgefuse.recordings.formats.Format`."""
    with reading(folder):
        meta = read_meta(folder)
        broken: dict[Path, str] = {}
        rows = Counter[int](row.episode for row in _rows(meta, list(INDEX), broken))
    if not rows and broken:
        path, what = next(iter(broken.items()))
        raise RecordingError(what, where=str(path))
    topics = {}
    for name, feature in meta.features.items():
        clips = meta.clips.get(name)
        count = sum(number for episode, number in rows.items() if clips is None or episode in clips)
        topics[name] = Topic(name, feature.dtype, count)
    if meta.tasks and TASK_INDEX in meta.features and TASK not in topics:
        topics[TASK] = Topic(TASK, "string", rows.total())
    return LeRobotTopics(folder, meta, topics, broken)


def _rows(meta: Meta, columns: list[str], broken: dict[Path, str]) -> Iterator[Row]:
    """Every row, with its time on the one axis; *broken* gets what is wrong with a file, which ends it."""
    episode, first_s, base_ns, latest_ns, count = None, 0.0, START_NS, START_NS - GAP_NS, 0
    for path in meta.files:
        try:
            for size, values in read_batches(path, columns):
                for number in range(size):
                    now, seconds = _place(values, number)
                    if episode is None or now != episode:
                        episode, count, base_ns = now, 0, latest_ns + GAP_NS
                        first_s = seconds if seconds is not None else 0.0
                    if seconds is None:
                        seconds = first_s + count / meta.rate_hz
                    count += 1
                    latest_ns = max(latest_ns, base_ns + round((seconds - first_s) * 1e9))
                    yield Row(latest_ns, now, seconds, number, values)
        except RecordingError as error:
            broken[path] = error.what


def _place(values: Mapping[str, Column], number: int) -> tuple[int, float | None]:
    """The row's episode, and its time in it if that is there."""
    try:
        episode = int(values["episode_index"](number)) if "episode_index" in values else 0
        seconds = float(np.asarray(values["timestamp"](number)).reshape(-1)[0]) if "timestamp" in values else math.nan
    except (ValueError, TypeError, IndexError) as error:
        raise RecordingError(f"has an episode_index or timestamp that is no number: {error}") from error
    return episode, seconds if abs(seconds) < FARTHEST_S else None


def _is_known(dtype: str) -> bool:
    try:
        return dtype in ("string", "image") or np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False


def _read_value(name: str, feature: Feature, row: Row) -> Callable[[], Any]:
    value = row.values[name](row.number) if name in row.values else None
    return partial(_decode, name, feature, value)


def _decode(name: str, feature: Feature, value: Any) -> Any:
    if value is None:
        raise ValueError(f"the table has no {name} there")
    if feature.dtype == "string":
        return str(value)
    if feature.dtype == "image":
        data = value.get("bytes") if isinstance(value, Mapping) else None
        return compressed_image({"data": data})
    try:
        return np.array(value, feature.dtype).reshape(feature.shape)
    except TypeError as error:
        raise ValueError(f"{name} is no {feature.dtype}: {error}") from error


def _read_task(tasks: Mapping[int, str], row: Row) -> Callable[[], Any]:
    index = row.values[TASK_INDEX](row.number) if TASK_INDEX in row.values else None
    return partial(_task, tasks, index)


def _task(tasks: Mapping[int, str], index: Any) -> str:
    if index is None or int(index) not in tasks:
        raise ValueError(f"task {index} has no text")
    return tasks[int(index)]


def _read_frame(clips: Mapping[int, Clip], video: Video, row: Row) -> Callable[[], Any] | None:
    clip = clips.get(row.episode)
    return partial(video.frame, clip.path, clip.start_s + row.seconds) if clip else None
