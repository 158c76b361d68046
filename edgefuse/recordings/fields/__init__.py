"""What of a decoded message a model gets: the recipe's ``field``, or what a message of that type is made for. Standard
library and numpy only; Pillow where an image is compressed.

Messages are objects with attributes (ROS, protobuf), dicts (JSON), or arrays and texts themselves (LeRobot, HDF5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from edgefuse.errors import RecordingError
from edgefuse.recordings.fields.access import field_names, follow, to_array
from edgefuse.recordings.fields.image import compressed_image, raw_image
from edgefuse.recordings.fields.points import is_point_cloud, point_cloud
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array

Value = Array | str

XYZ, XYZW = ("x", "y", "z"), ("x", "y", "z", "w")


def _paths(*groups: tuple[str, Iterable[str]]) -> tuple[str, ...]:
    return tuple(f"{prefix}{name}" for prefix, names in groups for name in names)


_TWIST = (("linear.", XYZ), ("angular.", XYZ))
_POSE = (("position.", XYZ), ("orientation.", XYZW))


def _below(prefix: str, groups: Iterable[tuple[str, Iterable[str]]]) -> tuple[str, ...]:
    return _paths(*((prefix + name, names) for name, names in groups))


VECTORS = {
    "sensor_msgs/Imu": _paths(("angular_velocity.", XYZ), ("linear_acceleration.", XYZ)),
    "sensor_msgs/MagneticField": _paths(("magnetic_field.", XYZ)),
    "sensor_msgs/NavSatFix": ("latitude", "longitude", "altitude"),
    "geometry_msgs/Vector3": XYZ,
    "geometry_msgs/Vector3Stamped": _paths(("vector.", XYZ)),
    "geometry_msgs/Point": XYZ,
    "geometry_msgs/PointStamped": _paths(("point.", XYZ)),
    "geometry_msgs/Quaternion": XYZW,
    "geometry_msgs/QuaternionStamped": _paths(("quaternion.", XYZW)),
    "geometry_msgs/Pose": _paths(*_POSE),
    "geometry_msgs/PoseStamped": _below("pose.", _POSE),
    "geometry_msgs/Twist": _paths(*_TWIST),
    "geometry_msgs/TwistStamped": _below("twist.", _TWIST),
    "geometry_msgs/Accel": _paths(*_TWIST),
    "geometry_msgs/AccelStamped": _below("accel.", _TWIST),
    "geometry_msgs/Wrench": _paths(("force.", XYZ), ("torque.", XYZ)),
    "geometry_msgs/WrenchStamped": _paths(("wrench.force.", XYZ), ("wrench.torque.", XYZ)),
    "nav_msgs/Odometry": (*_below("pose.pose.", _POSE), *_below("twist.twist.", _TWIST)),
}
"""Message type to the paths of the numbers in its vector; float32, but a place on Earth needs float64."""

_FLOAT64 = ("sensor_msgs/NavSatFix",)

SINGLE = {
    "sensor_msgs/LaserScan": ("ranges", "float32"),
    "foxglove.LaserScan": ("ranges", "float32"),
    "sensor_msgs/JointState": ("position", "float64"),
    "sensor_msgs/Joy": ("axes", "float32"),
    "sensor_msgs/Range": ("range", "float32"),
    "sensor_msgs/Temperature": ("temperature", "float64"),
    "sensor_msgs/FluidPressure": ("fluid_pressure", "float64"),
    "std_msgs/Bool": ("data", "bool"),
    "std_msgs/Byte": ("data", "uint8"),
    "std_msgs/Char": ("data", "uint8"),
    **{
        f"std_msgs/{kind}{bits}": ("data", f"{kind.lower()}{bits}")
        for kind in ("Int", "UInt", "Float")
        for bits in (8, 16, 32, 64)
        if (kind, bits) not in (("Float", 8), ("Float", 16))
    },
}
"""Message type to the path of its array or number, and that one's dtype."""


def _camera_matrix(message: Any) -> Array:
    """The intrinsics (3, 3) float64; ROS 1 and foxglove write K, ROS 2 k."""
    name = "k" if "k" in field_names(message) else "K"
    return to_array(follow(message, name), name).astype(np.float64).reshape(3, 3)


def _multi_array(message: Any) -> Array:
    """``data`` in the shape that the layout gives; without a layout as it is."""
    data = to_array(follow(message, "data"), "data")
    dims = [int(follow(dim, "size")) for dim in follow(message, "layout.dim")]
    data = data[int(follow(message, "layout.data_offset")) :]
    if dims and math.prod(dims) != data.size:
        raise Misfit("shape", f"holds {data.size} numbers; its layout says {'x'.join(map(str, dims))}")
    return data.reshape(dims) if dims else data


SPECIAL: dict[str, Callable[[Any], Value]] = {
    "sensor_msgs/Image": raw_image,
    "foxglove.RawImage": raw_image,
    "sensor_msgs/CompressedImage": compressed_image,
    "foxglove.CompressedImage": compressed_image,
    "sensor_msgs/PointCloud2": point_cloud,
    "foxglove.PointCloud": point_cloud,
    "sensor_msgs/CameraInfo": _camera_matrix,
    "foxglove.CameraCalibration": _camera_matrix,
    "std_msgs/String": lambda message: str(follow(message, "data")),
    **{
        f"std_msgs/{kind}MultiArray": _multi_array
        for kind in ("Byte", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32",
                     "Float64")
    },
}  # fmt: skip
"""Message type to what makes an array, or a text, of it."""


def take(message: Any, kind: str, paths: tuple[str, ...] = ()) -> Value:
    """An array, or a text, of the decoded *message*; *kind* is its type's name.

    With *paths*: what they lead to, one behind the other, as a vector; a single one keeps its shape and dtype. Points
    of a cloud are chosen by the names of their fields, and are (N, *paths*) float32. Raises :class:`Misfit` where the
    message has not got it, and ``RecordingError`` where nobody knows what is meant.
    """
    kind = kind.replace("/msg/", "/")
    try:
        return _along(message, kind, paths) if paths else _default(message, kind)
    except Misfit:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise Misfit("decode", f"is no {kind}: {error}") from None


def _along(message: Any, kind: str, paths: tuple[str, ...]) -> Value:
    if is_point_cloud(kind, paths):
        return point_cloud(message, paths)
    found = [follow(message, path) for path in paths]
    if len(found) == 1:
        return found[0] if isinstance(found[0], str) else to_array(found[0], paths[0])
    return np.concatenate([to_array(value, path).reshape(-1) for value, path in zip(found, paths)])


def _default(message: Any, kind: str) -> Value:
    if isinstance(message, str | np.ndarray | np.generic):
        return message if isinstance(message, str) else np.asarray(message)
    if kind in VECTORS:
        dtype = np.float64 if kind in _FLOAT64 else np.float32
        return np.array([follow(message, path) for path in VECTORS[kind]], dtype)
    if kind in SINGLE:
        path, dtype_name = SINGLE[kind]
        return to_array(follow(message, path), path).astype(dtype_name)
    if kind in SPECIAL:
        return SPECIAL[kind](message)
    if isinstance(message, bool | int | float | list | tuple):
        return to_array(message, kind)
    raise RecordingError(
        f"holds messages of type {kind!r}, of which EdgeFuse does not know what a model takes",
        hint=f'Say it: field = ["…"]. The type has: {", ".join(field_names(message)) or "no fields"}.',
    )
