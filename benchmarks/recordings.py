"""Recordings larger than memory should be: how fast is one indexed and read, and how much memory does that take?

    python benchmarks/recordings.py [--gigabytes 1] [--folder DIR] [--formats mcap bag …]

Each recording holds frames of 1 MB (random bytes, which do not compress) at 30 Hz and an IMU at 200 Hz. It is written
message by message, read in a process of its own, and deleted. *index*: open, and list the topics. *all*: every message,
its bytes held once, nothing decoded. *imu*: only the IMU, decoded. *grown*: how far the process's peak of resident
memory rises above what it is with the libraries imported. The file lies in the system's cache: MB/s are those of the
code, not of the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

MB = 1 << 20
RATE_HZ, IMU_HZ = 30, 200
START_NS = 5_000_000_000
CAMERA, IMU = "camera", "imu"

Write = Callable[[str, int, bytes], None]


def messages(count: int) -> Iterator[tuple[str, int, int]]:
    """(topic, time, number) of *count* frames and what the IMU measures meanwhile."""
    imu = 0
    for number in range(count):
        time_ns = START_NS + number * 1_000_000_000 // RATE_HZ
        while (imu_ns := START_NS + imu * 1_000_000_000 // IMU_HZ) <= time_ns:
            yield IMU, imu_ns, imu
            imu += 1
        yield CAMERA, time_ns, number


def pixels(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(MB,) uint8 of frame *number*: cheap to make, and of no use to a compressor."""
    rng = np.random.default_rng(number)
    return np.frombuffer(rng.bytes(MB), np.uint8)


def _ros(version: int) -> tuple[Any, dict[str, str], Callable[[str, int, int], Any]]:
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if version == 1 else Stores.ROS2_HUMBLE)
    types = {CAMERA: "sensor_msgs/msg/Image", IMU: "geometry_msgs/msg/Vector3Stamped"}
    header, stamp = store.types["std_msgs/msg/Header"], store.types["builtin_interfaces/msg/Time"]
    vector = store.types["geometry_msgs/msg/Vector3"]
    number_field = {"seq": 0} if version == 1 else {}

    def serialize(topic: str, time_ns: int, number: int) -> bytes:
        begin = header(**number_field, stamp=stamp(*divmod(time_ns, 1_000_000_000)), frame_id="")
        kind = store.types[types[topic]]
        if topic == IMU:
            message = kind(begin, vector(float(number), 0.0, 0.0))
        else:
            message = kind(begin, 1024, 1024, "mono8", 0, 1024, pixels(number))
        write = store.serialize_ros1 if version == 1 else store.serialize_cdr
        return bytes(write(message, types[topic]))

    return store, types, serialize


def write_mcap(path: Path, count: int, compression: str = "NONE", finished: bool = True, **options: Any) -> None:
    from mcap.writer import CompressionType, Writer

    store, types, serialize = _ros(2)
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType[compression], chunk_size=4 * MB, **options)
        writer.start("ros2", "edgefuse")
        channels = {}
        for topic, name in types.items():
            text, _ = store.generate_msgdef(name, ros_version=2)
            channels[topic] = writer.register_channel(
                topic, "cdr", writer.register_schema(name, "ros2msg", text.encode())
            )
        for topic, time_ns, number in messages(count):
            writer.add_message(channels[topic], time_ns, serialize(topic, time_ns, number), time_ns)
        if finished:
            writer.finish()


def write_ros(path: Path, count: int, version: int) -> None:
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import Writer as Writer2

    store, types, serialize = _ros(version)
    with Writer1(path) if version == 1 else Writer2(path, version=9) as writer:
        connections = {topic: writer.add_connection(topic, name, typestore=store) for topic, name in types.items()}
        for topic, time_ns, number in messages(count):
            writer.write(connections[topic], time_ns, serialize(topic, time_ns, number))


def write_hdf5(path: Path, count: int) -> None:
    import h5py

    imu = count * IMU_HZ // RATE_HZ
    with h5py.File(path, "w") as file:
        frames = file.create_dataset(CAMERA, (count, 1024, 1024), np.uint8, chunks=(1, 1024, 1024))
        for number in range(count):
            frames[number] = pixels(number).reshape(1024, 1024)
        frames.attrs["rate_hz"] = RATE_HZ
        file[IMU] = np.arange(imu * 3.0).reshape(imu, 3)
        file[IMU].attrs["rate_hz"] = IMU_HZ


FORMATS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "mcap": ("a.mcap", write_mcap),
    "mcap-zstd": ("a.mcap", lambda path, count: write_mcap(path, count, "ZSTD")),
    "mcap-unchunked": ("a.mcap", lambda path, count: write_mcap(path, count, use_chunking=False)),
    "mcap-cut": ("a.mcap", lambda path, count: write_mcap(path, count, finished=False)),
    "bag": ("a.bag", lambda path, count: write_ros(path, count, 1)),
    "rosbag2-sqlite3": ("a", lambda path, count: write_ros(path, count, 2)),
    "hdf5": ("a.h5", write_hdf5),
}


def measure(path: Path) -> dict[str, float]:
    """In a process of its own: seconds, MB/s, and MiB of resident memory."""
    from edgefuse.recordings.formats import open_topics

    begin = time.perf_counter()
    with contextlib.closing(open_topics(path)) as topics:
        list(topics.topics)
        indexed = time.perf_counter() - begin
        before = resident_mib()
        begin, size = time.perf_counter(), 0
        for raw in topics.messages(topics.topics):
            size += MB if raw.topic == CAMERA else 0
        read = time.perf_counter() - begin
        begin = time.perf_counter()
        for raw in topics.messages([IMU]):
            raw.decode()
        imu = time.perf_counter() - begin
        if path.suffix == ".h5":  # rows are read when they are decoded
            begin = time.perf_counter()
            for raw in topics.messages([CAMERA]):
                raw.decode()
            read += time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"index_s": indexed, "mb_s": size / 1e6 / read, "imu_s": imu, "peak_mib": peak, "grown_mib": peak - before}


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    print("| format | GB | index s | all MB/s | imu s | peak MiB | grown MiB |\n|---|---|---|---|---|---|---|")
    for name in options.formats:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(_line(name, Path(folder), round(options.gigabytes * 1e9 / MB)), flush=True)


def _line(name: str, folder: Path, count: int) -> str:
    file_name, write = FORMATS[name]
    path = folder / file_name
    write(path, count)
    files = [path] if path.is_file() else list(path.iterdir())
    size = sum(item.stat().st_size for item in files)
    command = [sys.executable, __file__, "--measure", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    figures = "{index_s:.2f} | {mb_s:.0f} | {imu_s:.2f} | {peak_mib:.0f} | {grown_mib:.0f}".format(**found)
    return f"| {name} | {size / 1e9:.2f} | {figures} |"


if __name__ == "__main__":
    main()
