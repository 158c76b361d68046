"""A drive as a ROS 2 bag in one MCAP file. Needs mcap, rosbags and pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from PIL import Image
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from simulation.drive import LINKS, Delivery
from simulation.sensors import ACCELERATION_NOISE, BEAMS, RANGE_MAX, RANGE_MIN, TURN_NOISE

START_S = 1_700_000_000.0  # any date; stamps are nanoseconds since 1970
JPEG_QUALITY = 92
CHUNK_BYTES = 256 * 1024
TRUTH = "rover_msgs/msg/Truth"
TRUTH_DEFINITION = """\
# What the simulated rover really does at the time of the header.
std_msgs/Header header
# Forward velocity, m/s
float32 forward
# Yaw rate, rad/s, to the left
float32 yaw_rate
# Free way ahead of the bumper in metres, at most 5
float32 clearance
"""
TOPICS = {
    "camera": ("/camera/image/compressed", "sensor_msgs/msg/CompressedImage"),
    "scan": ("/scan", "sensor_msgs/msg/LaserScan"),
    "imu": ("/imu", "sensor_msgs/msg/Imu"),
    "goal": ("/goal", "std_msgs/msg/String"),
    "truth": ("/truth", TRUTH),
}
"""Sensor to topic and message type."""
FRAMES = {"camera": "camera", "scan": "lidar", "imu": "imu", "truth": "base_link"}

STORE = get_typestore(Stores.ROS2_JAZZY)
STORE.register(get_types_from_msg(TRUTH_DEFINITION, TRUTH))


def write_mcap(path: Path, deliveries: Iterable[Delivery]) -> None:
    """Write *deliveries*, which are in order of arrival; ``log_time`` is the arrival, ``header.stamp`` the stamp."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="edgefuse calibration/rover")
        channels = {name: _add_channel(writer, *topic) for name, topic in TOPICS.items()}
        sequence = dict.fromkeys(TOPICS, 0)
        for item in deliveries:
            arrival_ns = _nanoseconds(item.arrival_s)
            content = MESSAGES[item.sensor](item)
            data = bytes(STORE.serialize_cdr(content, TOPICS[item.sensor][1]))
            sequence[item.sensor] += 1
            writer.add_message(channels[item.sensor], arrival_ns, data, arrival_ns, sequence[item.sensor])
        writer.finish()


def _add_channel(writer: Writer, topic: str, kind: str) -> int:
    definition = STORE.generate_msgdef(kind, ros_version=2)[0]
    return writer.register_channel(topic, "cdr", writer.register_schema(kind, "ros2msg", definition.encode()))


def _nanoseconds(seconds: float) -> int:
    return round((START_S + seconds) * 1e6) * 1000  # as fine as a double of that size is


def _header(item: Delivery) -> Any:
    seconds, nanoseconds = divmod(_nanoseconds(item.stamp_s), 10**9)
    time = STORE.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return STORE.types["std_msgs/msg/Header"](stamp=time, frame_id=FRAMES[item.sensor])


def _picture(item: Delivery) -> Any:
    coded = io.BytesIO()
    Image.fromarray(item.data).save(coded, "JPEG", quality=JPEG_QUALITY)
    data = np.frombuffer(coded.getvalue(), np.uint8)
    return STORE.types[TOPICS["camera"][1]](header=_header(item), format="jpeg", data=data)


def _scan(item: Delivery) -> Any:
    step = 2 * np.pi / BEAMS
    return STORE.types[TOPICS["scan"][1]](
        header=_header(item),
        angle_min=-np.pi,
        angle_max=np.pi - step,
        angle_increment=step,
        time_increment=0.0,
        scan_time=1.0 / LINKS["scan"].rate_hz,
        range_min=RANGE_MIN,
        range_max=RANGE_MAX,
        ranges=item.data,
        intensities=np.zeros(0, np.float32),
    )


def _imu(item: Delivery) -> Any:
    vector = STORE.types["geometry_msgs/msg/Vector3"]
    unknown = np.array([-1.0] + [0.0] * 8)  # sensor_msgs/Imu: there is no estimate of the orientation
    return STORE.types[TOPICS["imu"][1]](
        header=_header(item),
        orientation=STORE.types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
        orientation_covariance=unknown,
        angular_velocity=vector(*item.data[:3]),
        angular_velocity_covariance=np.diag([TURN_NOISE**2] * 3).reshape(-1),
        linear_acceleration=vector(*item.data[3:]),
        linear_acceleration_covariance=np.diag([ACCELERATION_NOISE**2] * 3).reshape(-1),
    )


def _goal(item: Delivery) -> Any:
    return STORE.types[TOPICS["goal"][1]](data=item.data)


def _truth(item: Delivery) -> Any:
    forward, yaw_rate, clearance = item.data.tolist()
    return STORE.types[TRUTH](header=_header(item), forward=forward, yaw_rate=yaw_rate, clearance=clearance)


MESSAGES: dict[str, Callable[[Delivery], Any]] = {
    "camera": _picture,
    "scan": _scan,
    "imu": _imu,
    "goal": _goal,
    "truth": _truth,
}
