"""Writes episodes as a LeRobot dataset of version 3.0: many episodes in one parquet file and one video per camera.

The layout, names and defaults are those that lerobot's own recorder writes (codebase_version "v3.0"):

    meta/info.json                                       features, fps, templates of the paths
    meta/stats.json                                      per feature: min, max, mean, std, count, quantiles
    meta/tasks.parquet                                   task_index, task
    meta/episodes/chunk-000/file-000.parquet             an episode's rows, files, times in the videos and statistics
    data/chunk-000/file-000.parquet                      a row per frame: all but the images
    videos/observation.images.top/chunk-000/file-000.mp4 AV1, a key frame at least every two frames

One feature is not lerobot's: ``action_chunk`` (K, 6): a frame's action and the K - 1 that follow in the episode;
past its end the last one again. lerobot makes chunks when a dataset is read (``delta_timestamps``); a recording with
which a model's answers are compared must hold them. Needs pyarrow and av.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tabletop.episode import Episode, chunks
from tabletop.scene import CAMERAS, HEIGHT, JOINTS, WIDTH
from tabletop.world import FPS

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
FIRST = {"chunk_index": 0, "file_index": 0}
CODEC = {"g": "2", "crf": "30", "preset": "12", "svtav1-params": "fast-decode=0:lp=1"}
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
MOTORS = [f"{name}.pos" for name in JOINTS]
COUNTERS = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64"}
COUNTERS |= {"task_index": "int64"}

Columns = dict[str, npt.NDArray[Any]]


def write_dataset(folder: Path, episodes: Sequence[Episode], chunk_length: int) -> None:
    """*folder* must not exist. The same episodes give the same content with the same versions of pyarrow and av."""
    folder.mkdir(parents=True)
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    tables, rows, start = [], list[dict[str, Any]](), 0
    for number, episode in enumerate(episodes):
        columns = _columns(episode, number, start, tasks.index(episode.task), chunk_length)
        rows.append(_episode_row(episode, number, start, columns))
        tables.append(columns)
        start += len(episode)
    whole = {name: np.concatenate([columns[name] for columns in tables]) for name in tables[0]}
    features = _features(chunk_length)
    _write_table(folder / DATA_PATH.format(**FIRST), _data_table(whole, features))
    _write_table(folder / EPISODES_PATH, pa.Table.from_pylist(rows))
    _write_table(folder / "meta/tasks.parquet", _tasks_table(tasks))
    for camera in CAMERAS:
        path = folder / VIDEO_PATH.format(video_key=f"observation.images.{camera}", **FIRST)
        _write_video(path, [episode.images[camera] for episode in episodes])
    pictures = {f"observation.images.{c}": np.concatenate([e.images[c] for e in episodes]) for c in CAMERAS}
    _write_json(folder / "meta/stats.json", _statistics(whole | pictures))
    _write_json(folder / "meta/info.json", _info(features, len(episodes), start, len(tasks)))


def _columns(episode: Episode, number: int, start: int, task: int, chunk_length: int) -> Columns:
    frames = np.arange(len(episode))
    return {
        "action": episode.action,
        "action_chunk": chunks(episode.action, chunk_length),
        "observation.state": episode.state,
        "timestamp": (frames / FPS).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(len(frames), number),
        "index": start + frames,
        "task_index": np.full(len(frames), task),
    }


def _features(chunk_length: int) -> dict[str, Any]:
    """As in ``meta/info.json``."""
    video = {
        "video.height": HEIGHT,
        "video.width": WIDTH,
        "video.codec": "av1",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": FPS,
        "video.channels": 3,
        "has_audio": False,
    }
    shape, names = [HEIGHT, WIDTH, 3], ["height", "width", "channels"]
    cameras = {
        f"observation.images.{camera}": {"dtype": "video", "shape": shape, "names": names, "info": video}
        for camera in CAMERAS
    }
    return {
        "action": {"dtype": "float32", "shape": [len(MOTORS)], "names": MOTORS},
        "action_chunk": {"dtype": "float32", "shape": [chunk_length, len(MOTORS)], "names": ["step", "motor"]},
        "observation.state": {"dtype": "float32", "shape": [len(MOTORS)], "names": MOTORS},
        **cameras,
        **{name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in COUNTERS.items()},
    }


def _info(features: dict[str, Any], episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    return {
        "codebase_version": "v3.0",
        "robot_type": "edgefuse_tabletop",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": features,
    }


def _data_table(columns: Columns, features: dict[str, Any]) -> pa.Table:
    """With the types that the ``datasets`` library writes for them, and its own description of them in the schema."""
    fields, arrays, described = [], [], {}
    for name, array in columns.items():
        dtype = features[name]["dtype"]
        kind: pa.DataType = pa.from_numpy_dtype(dtype)
        value = {"dtype": dtype, "_type": "Value"}
        if array.ndim == 2:
            kind = pa.list_(kind, array.shape[1])
            value = {"feature": value, "length": array.shape[1], "_type": "Sequence"}
        if array.ndim == 3:
            kind = pa.list_(pa.list_(kind))
            value = {"shape": list(array.shape[1:]), "dtype": dtype, "_type": "Array2D"}
        fields.append(pa.field(name, kind))
        arrays.append(pa.array(list(array) if array.ndim < 3 else array.tolist(), kind))
        described[name] = value
    metadata = {"huggingface": json.dumps({"info": {"features": described}})}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata))


def _episode_row(episode: Episode, number: int, start: int, columns: Columns) -> dict[str, Any]:
    """A row of ``meta/episodes``."""
    row: dict[str, Any] = {
        "episode_index": number,
        "tasks": [episode.task],
        "length": len(episode),
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": start,
        "dataset_to_index": start + len(episode),
    }
    for camera in CAMERAS:
        key = f"videos/observation.images.{camera}"
        times = {"from_timestamp": start / FPS, "to_timestamp": (start + len(episode)) / FPS}
        row |= {f"{key}/{name}": value for name, value in {**FIRST, **times}.items()}
    pictures = {f"observation.images.{camera}": images for camera, images in episode.images.items()}
    for name, values in _statistics(columns | pictures).items():
        row |= {f"stats/{name}/{key}": value for key, value in values.items()}
    return row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}


def _statistics(columns: Columns) -> dict[str, dict[str, Any]]:
    """Per feature over all frames; of images per channel, (3, 1, 1), with pixels in 0..1."""
    found = {}
    for name, array in columns.items():
        values = array.astype(np.float64)
        picture = array.dtype == np.uint8
        if picture:
            values = values.reshape(-1, 3) / 255
        elif values.ndim == 1:
            values = values[:, None]
        rows = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        rows |= {f"q{100 * q:02.0f}": row for q, row in zip(QUANTILES, np.quantile(values, QUANTILES, axis=0))}
        shaped = {key: (row.reshape(3, 1, 1) if picture else row).round(9).tolist() for key, row in rows.items()}
        found[name] = {**shaped, "count": [len(array)]}
    return found


def _tasks_table(tasks: Sequence[str]) -> pa.Table:
    """As pandas writes a frame whose index is the task."""
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, kind, dtype in columns
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described}
    schema = pa.schema([("task_index", pa.int64()), ("task", pa.string())], {"pandas": json.dumps(pandas)})
    return pa.table([list(range(len(tasks))), list(tasks)], schema=schema)


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy", use_dictionary=True)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=4) + "\n", encoding="utf-8")


def _write_video(path: Path, episodes: Sequence[npt.NDArray[np.uint8]]) -> None:
    """Each episode encoded for itself, then all put one behind the other without encoding anew, as lerobot does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream, start = None, 0
        for frames in episodes:
            with av.open(io.BytesIO(_encoded(frames)), "r") as part:
                source = part.streams.video[0]
                stream = stream or out.add_stream_from_template(source, opaque=True)
                step = round(1 / FPS / source.time_base)
                for packet in part.demux(source):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + start * step, packet.dts + start * step
                        packet.stream = stream
                        out.mux(packet)
            start += len(frames)


def _encoded(frames: npt.NDArray[np.uint8]) -> bytes:
    """An MP4 of (T, H, W, 3) uint8 RGB."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libsvtav1", rate=FPS, options=CODEC)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()
