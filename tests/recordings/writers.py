"""Tiny recordings in every format, written by the formats' own libraries.

Messages of ROS are made with :func:`ros2` and :func:`ros1`: every field is 0, empty or false but those that are given.
``write_*`` take ``{topic: [(stamp_ns, arrival_ns, message)]}``; the stamp goes into the message's header, if it has
one; messages are written in order of arrival (of equal ones: of topics) unless ``ordered=False``: then topic by topic.
"""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from mcap.writer import CompressionType, IndexType, Writer
from mcap_protobuf.schema import register_schema
from PIL import Image
from rosbags.interfaces import Nodetype
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

MS = 1_000_000
START = 5_000_000_000

WHEEL = "edge_msgs/msg/Wheel"
"""A type that no ROS distribution has."""
DEFINITIONS = {WHEEL: "std_msgs/Header header\nfloat64 speed\nuint8[] raw\nstring<=8[<=3] names\n"}


@cache
def store(version: int):
    """The typestore of ROS *version*, with :data:`DEFINITIONS`."""
    found = get_typestore(Stores.ROS1_NOETIC if version == 1 else Stores.ROS2_LYRICAL)
    for name, text in DEFINITIONS.items():
        text = text.replace("string<=8[<=3]", "string[]") if version == 1 else text
        found.register(get_types_from_msg(text, name))
    return found


def ros2(type_name: str, **fields: Any):
    """``ros2("sensor_msgs/msg/Imu", **{"angular_velocity.x": 1.0})``; lists become arrays where numbers are wanted."""
    return _message(store(2), type_name, fields)


def ros1(type_name: str, **fields: Any):
    return _message(store(1), type_name, fields)


def image(pixels, encoding="rgb8", version=2):
    """A sensor_msgs/msg/Image of *pixels* (H, W) or (H, W, C)."""
    step = pixels[0].nbytes
    fields = {"height": pixels.shape[0], "width": pixels.shape[1], "encoding": encoding, "step": step}
    return _message(
        store(version), "sensor_msgs/msg/Image", {**fields, "data": np.frombuffer(pixels.tobytes(), np.uint8)}
    )


def _message(types, type_name, fields):
    message = _zero(types, (Nodetype.NAME, type_name))
    for path, value in fields.items():
        *parents, last = path.split(".")
        target = message
        for name in parents:
            target = getattr(target, name)
        old = getattr(target, last)
        setattr(target, last, np.asarray(value, old.dtype) if isinstance(old, np.ndarray) else value)
    return message


def _zero(types, description):
    kind, detail = description
    if kind == Nodetype.NAME:
        fields = types.fielddefs[detail][1]
        return types.types[detail](**{name: _zero(types, inner) for name, inner in fields})
    if kind == Nodetype.BASE:
        name = detail[0]
        return "" if name == "string" else False if name == "bool" else 0.0 if name.startswith("float") else 0
    inner, length = detail
    count = length if kind == Nodetype.ARRAY else 0
    if inner[0] == Nodetype.BASE and inner[1][0] != "string":
        dtype = {"char": "uint8", "byte": "uint8", "octet": "uint8", "bool": "bool"}.get(inner[1][0], inner[1][0])
        return np.zeros(count, dtype)
    return [_zero(types, inner) for _ in range(count)]


def stamped(message, stamp_ns):
    header = getattr(message, "header", None)
    if header is not None and stamp_ns is not None:
        header.stamp.sec, header.stamp.nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return message


def by_arrival(topics, ordered=True):
    """(topic, stamp_ns, arrival_ns, message) in the order in which they are written."""
    found = [(topic, *item) for topic, items in topics.items() for item in items]
    return sorted(found, key=lambda item: item[2]) if ordered else found


def write_mcap_ros2(path: Path, topics, ordered=True, **options) -> Path:
    return _write_mcap(path, by_arrival(topics, ordered), _Ros(2), options)


def write_mcap_ros1(path: Path, topics, ordered=True, **options) -> Path:
    return _write_mcap(path, by_arrival(topics, ordered), _Ros(1), options)


def write_mcap_json(path: Path, topics, ordered=True, schema: dict | None = None, **options) -> Path:
    """Messages are what JSON can say; no stamp is put into them."""
    return _write_mcap(path, by_arrival(topics, ordered), _Json(schema), options)


def write_mcap_protobuf(path: Path, topics, ordered=True, **options) -> Path:
    """Messages are Protobuf's (:func:`protobuf_type`); no stamp is put into them."""
    return _write_mcap(path, by_arrival(topics, ordered), _Protobuf(), options)


class _Ros:
    def __init__(self, version):
        self.version, self.types = version, store(version)

    def channel(self, writer, topic, message):
        name = message.__msgtype__
        text, _ = self.types.generate_msgdef(name, ros_version=self.version)
        shown = name.replace("/msg/", "/") if self.version == 1 else name
        schema = writer.register_schema(shown, f"ros{self.version}msg", text.encode())
        return writer.register_channel(topic, "cdr" if self.version == 2 else "ros1", schema)

    def data(self, message, stamp_ns):
        message, name = stamped(message, stamp_ns), message.__msgtype__
        write = self.types.serialize_cdr if self.version == 2 else self.types.serialize_ros1
        return bytes(write(message, name))


class _Json:
    def __init__(self, schema):
        self.schema = schema

    def channel(self, writer, topic, message):
        found = 0
        if self.schema is not None:
            found = writer.register_schema("edge.Json", "jsonschema", json.dumps(self.schema).encode())
        return writer.register_channel(topic, "json", found)

    def data(self, message, stamp_ns):
        return message if isinstance(message, bytes) else json.dumps(message).encode()


class _Protobuf:
    def channel(self, writer, topic, message):
        return writer.register_channel(topic, "protobuf", register_schema(writer, type(message)))

    def data(self, message, stamp_ns):
        return message.SerializeToString()


def _write_mcap(path, items, form, options):
    """*options* are ``mcap.writer.Writer``'s, with ``compression`` "", "lz4" or "zstd", and ``indexed=False``: without
    any index, summary or repeated channel; ``finished=False``: as if the power had gone."""
    options = dict(options)
    finished = options.pop("finished", True)
    if not options.pop("indexed", True):
        options |= {"index_types": IndexType.NONE, "repeat_channels": False, "repeat_schemas": False}
        options |= {"use_statistics": False, "use_summary_offsets": False}
    if "compression" in options:
        options["compression"] = CompressionType[options["compression"].upper() or "NONE"]
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start("", "edgefuse tests")
        channels = {}
        for topic, stamp_ns, arrival_ns, message in items:
            key = (topic, getattr(message, "__msgtype__", ""))
            if key not in channels:
                channels[key] = form.channel(writer, topic, message)
            writer.add_message(channels[key], arrival_ns, form.data(message, stamp_ns), arrival_ns)
        if finished:
            writer.finish()
    return path


@cache
def protobuf_type():
    """``edge.Sample {google.protobuf.Timestamp timestamp; bytes data; repeated double values}``."""
    timestamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(timestamp)
    file = descriptor_pb2.FileDescriptorProto(name="edge.proto", package="edge", syntax="proto3")
    file.dependency.append(timestamp.name)
    kind = file.message_type.add(name="Sample")
    field = descriptor_pb2.FieldDescriptorProto
    kind.field.add(name="timestamp", number=1, type=field.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", label=1)
    kind.field.add(name="data", number=2, type=field.TYPE_BYTES, label=1)
    kind.field.add(name="values", number=3, type=field.TYPE_DOUBLE, label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(timestamp)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("edge.Sample"))


def write_bag(path: Path, topics, ordered=True, compression="", chunk_size=1 << 20) -> Path:
    """A rosbag1; *compression* "", "lz4" or "bz2"."""
    writer = Writer1(path)
    writer.chunk_threshold = chunk_size
    if compression:
        writer.set_compression(
            {"lz4": Writer1.CompressionFormat.LZ4, "bz2": Writer1.CompressionFormat.BZ2}[compression]
        )
    with writer:
        _write_ros(writer, by_arrival(topics, ordered), store(1), store(1).serialize_ros1)
    return path


def write_rosbag2(folder: Path, topics, storage="sqlite3", compression="", ordered=True, version=9) -> Path:
    """A rosbag2's folder; *compression* "", "message" or "file" (zstd)."""
    plugin = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}[storage]
    writer = Writer2(folder, version=version, storage_plugin=plugin)
    if compression:
        mode = {"message": CompressionMode.MESSAGE, "file": CompressionMode.FILE}[compression]
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        _write_ros(writer, by_arrival(topics, ordered), store(2), store(2).serialize_cdr)
    return folder


def _write_ros(writer, items, types, serialize):
    connections = {}
    for topic, stamp_ns, arrival_ns, message in items:
        name = message.__msgtype__
        if (topic, name) not in connections:
            connections[topic, name] = writer.add_connection(topic, name, typestore=types)
        writer.write(connections[topic, name], arrival_ns, serialize(stamped(message, stamp_ns), name))


def drive(seconds=1.0, version=2, side=8):
    """A camera at 10 Hz that arrives 10 ms after its stamp, an IMU at 50 Hz, and a type that only this bag knows."""
    make = ros2 if version == 2 else ros1
    images = [
        image(np.full((side, side, 3), number % 256, np.uint8), version=version) for number in range(int(10 * seconds))
    ]
    imus = [make("sensor_msgs/msg/Imu", **{"angular_velocity.x": float(n)}) for n in range(int(50 * seconds))]
    wheels = [make(WHEEL, speed=number / 2, raw=[number, 1]) for number in range(int(5 * seconds))]
    return {
        "/camera": [(START + n * 100 * MS, START + n * 100 * MS + 10 * MS, item) for n, item in enumerate(images)],
        "/imu": [(START + n * 20 * MS, START + n * 20 * MS, item) for n, item in enumerate(imus)],
        "/wheel": [(START + n * 200 * MS, START + n * 200 * MS + MS, item) for n, item in enumerate(wheels)],
    }


def write_hdf5(path: Path, datasets: dict[str, Any], **attributes: Any) -> Path:
    """*datasets*: place ("observations/qpos") to rows; *attributes*: of the file (``rate_hz=50``)."""
    with h5py.File(path, "w") as file:
        for place, rows in datasets.items():
            file[place] = rows
        file.attrs.update(attributes)
    return path


def write_lerobot(folder: Path, episodes=(8, 5), fps=10, version=3, video=True, pixels=None, codec="libx264") -> Path:
    """A dataset with ``observation.state`` (2,), ``action`` (1,), a camera ``observation.images.top`` of 32x48 pixels
    and a task for each episode; *episodes*: their numbers of rows. ``observation.state`` is (row, episode).

    *pixels(index)*: (H, W, 3) uint8 of row *index*, counted over all episodes; by default all are ``shade(index)``.
    ``video=False``: images are in the table. Version 3 puts all episodes into one file.
    """
    pixels = pixels or (lambda index: np.full((32, 48, 3), shade(index), np.uint8))
    key, starts = "observation.images.top", np.cumsum([0, *episodes])
    places = {
        3: ("data/chunk-000/file-000.parquet", f"videos/{key}/chunk-000/file-000.mp4"),
        2: ("data/chunk-000/episode_{0:06d}.parquet", f"videos/chunk-000/{key}/episode_{{0:06d}}.mp4"),
    }[version]
    rows, frames = {}, {}
    for episode, count in enumerate(episodes):
        for number in range(count):
            index = int(starts[episode]) + number
            row = {
                "observation.state": [float(number), float(episode)],
                "action": number / 2,
                "timestamp": np.float32(number / fps),
                "frame_index": number,
                "episode_index": episode,
                "index": index,
                "task_index": episode,
            }
            if not video:
                row[key] = {"bytes": png(pixels(index)), "path": f"frame_{number:06d}.png"}
            rows.setdefault(places[0].format(episode), []).append(row)
            frames.setdefault(places[1].format(episode), []).append(pixels(index))
    for name, items in rows.items():
        write_parquet(folder / name, items, [("timestamp", pa.float32()), ("action", pa.float32())])
    for name, items in frames.items() if video else ():
        write_video(folder / name, items, fps, codec)
    height, width, _ = pixels(0).shape
    image = {
        "dtype": "video" if video else "image",
        "shape": [height, width, 3],
        "names": ["height", "width", "channels"],
    }
    features = {"observation.state": {"dtype": "float32", "shape": [2]}, "action": {"dtype": "float32", "shape": [1]}}
    features |= {"timestamp": {"dtype": "float32", "shape": [1]}, key: image}
    features |= {
        name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")
    }
    info = {"codebase_version": f"v{version}.{'0' if version == 3 else '1'}", "fps": fps, "features": features}
    info |= {"total_episodes": len(episodes), "total_frames": int(starts[-1]), "chunks_size": 1000}
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    tasks = [{"task_index": number, "task": f"do {number}"} for number in range(len(episodes))]
    about = [{"episode_index": number, "length": count} for number, count in enumerate(episodes)]
    if version == 2:
        (folder / "meta/tasks.jsonl").write_text("".join(json.dumps(item) + "\n" for item in tasks))
        (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(item) + "\n" for item in about))
        return folder
    write_parquet(folder / "meta/tasks.parquet", [{**item, "__index_level_0__": item.pop("task")} for item in tasks])
    for number, item in enumerate(about):
        item |= {"data/chunk_index": 0, "data/file_index": 0}
        item |= {"dataset_from_index": int(starts[number]), "dataset_to_index": int(starts[number + 1])}
        item |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
        item |= {
            f"videos/{key}/from_timestamp": starts[number] / fps,
            f"videos/{key}/to_timestamp": starts[number + 1] / fps,
        }
    write_parquet(folder / "meta/episodes/chunk-000/file-000.parquet", about)
    return folder


def shade(index):
    """How bright row *index* is, so that neighbours can be told from one another also after compression."""
    return index * 16 % 240 + 8


def write_parquet(path: Path, rows, types=()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    for name, kind in types:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, path)
    return path


def write_video(path: Path, frames, fps, codec="libx264") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", 2
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
