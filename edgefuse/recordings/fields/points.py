"""Point clouds of ROS and foxglove messages as (N, C) float32. Numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgefuse.errors import nearest
from edgefuse.recordings.fields.access import field_names, get, to_bytes
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array

ROS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
FOXGLOVE = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}
"""The number of a field's type to its dtype (``sensor_msgs/PointField``, ``foxglove.PackedElementField``)."""

CLOUDS = ("sensor_msgs/PointCloud2", "foxglove.PointCloud")
OF_MESSAGE = ("header", "fields", "data", "pose", "timestamp", "frame_id", "height", "width", "point_step", "row_step",
              "point_stride", "is_dense", "is_bigendian")  # fmt: skip
ALWAYS = ("x", "y", "z", "intensity")
"""Taken whatever their dtype; of the others (ring, tag, line) those that are floats."""


def is_point_cloud(kind: str, paths: tuple[str, ...]) -> bool:
    """Whether *paths* name fields of a cloud's points, and not of the message."""
    return kind in CLOUDS and all(path.partition(".")[0] not in OF_MESSAGE for path in paths)


def point_cloud(message: Any, names: tuple[str, ...] = ()) -> Array:
    """(N, C) float32: the fields *names*, or x y z intensity and all others that are floats, as the message has them.
    An organised cloud's rows stand one behind the other; NaN stays."""
    dtypes, offsets = _fields(message)
    for name in names:
        if name not in dtypes:
            raise Misfit("field", f"the points have no {name!r}. {nearest(name, dtypes)}")
    chosen = names or tuple(name for name, dtype in dtypes.items() if name in ALWAYS or np.dtype(dtype).kind == "f")
    size = int(get(message, "point_step", 0) or get(message, "point_stride", 0))
    beyond = [name for name in chosen if offsets[name] + np.dtype(dtypes[name]).itemsize > size]
    if beyond or not chosen:
        raise Misfit("field", f"{', '.join(beyond) or 'no field'} within the {size} bytes of a point")
    layout: Any = {
        "names": chosen,
        "formats": [dtypes[name] for name in chosen],
        "offsets": [offsets[name] for name in chosen],
        "itemsize": size,
    }
    points = _records(message, size).view(np.dtype(layout))
    found = np.empty((len(points), len(chosen)), np.float32)
    for column, name in enumerate(chosen):
        found[:, column] = points[name]
    return found


def _fields(message: Any) -> tuple[dict[str, str], dict[str, int]]:
    """Name to dtype, and to the place in a point, of the fields that hold one number."""
    ros = get(message, "point_step", None) is not None
    dtypes: dict[str, str] = {}
    offsets: dict[str, int] = {}
    for field in get(message, "fields"):
        known = (ROS if ros else FOXGLOVE).get(int(get(field, "datatype" if ros else "type")))
        if known is not None and int(get(field, "count", 1)) in (0, 1):
            name = str(get(field, "name"))
            dtypes[name] = f"{'>' if get(message, 'is_bigendian', False) else '<'}{known}"
            offsets[name] = int(get(field, "offset", 0))
    return dtypes, offsets


def _records(message: Any, size: int) -> Array:
    """The points' bytes one behind the other, without what pads the rows."""
    data = to_bytes(get(message, "data"))
    if "height" not in field_names(message):
        return data[: data.size // size * size]
    height, width = int(get(message, "height")), int(get(message, "width"))
    row = int(get(message, "row_step", 0)) or width * size
    if row < width * size or data.size < height * row:
        raise Misfit("cut short", f"there are {data.size} bytes; {height}x{width} points of {size} are more")
    return np.ascontiguousarray(data[: height * row].reshape(height, row)[:, : width * size]).reshape(-1)
