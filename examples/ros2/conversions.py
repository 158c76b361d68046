"""ROS 2 messages to the arrays that a bundle's streams take, and health to diagnostics. Numpy only: no ROS 2 is needed
to test it, and every function works on any object with the message's fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgefuse.health import Health
from edgefuse.spec import TensorSpec
from edgefuse.stream import StepResult, StreamPolicy

Array = NDArray[Any]

MS = 1_000_000


class ConversionError(ValueError):
    """A message that cannot become the stream's input; the text says why."""


class Encoding(NamedTuple):
    """Of ``sensor_msgs/image_encodings``: one channel's type, how many there are, and which of them are wanted in which
    order (models are trained on RGB; there is no model for alpha)."""

    dtype: str
    channels: int
    order: tuple[int, ...]


ENCODINGS = {
    "rgb8": Encoding("u1", 3, (0, 1, 2)),
    "bgr8": Encoding("u1", 3, (2, 1, 0)),
    "rgba8": Encoding("u1", 4, (0, 1, 2)),
    "bgra8": Encoding("u1", 4, (2, 1, 0)),
    "mono8": Encoding("u1", 1, (0,)),
    "8UC1": Encoding("u1", 1, (0,)),
    "mono16": Encoding("u2", 1, (0,)),
    "16UC1": Encoding("u2", 1, (0,)),
    "32FC1": Encoding("f4", 1, (0,)),
}

TO_FLOAT = {"rgb8": 255, "bgr8": 255, "rgba8": 255, "bgra8": 255, "mono8": 255, "mono16": 65535, "16UC1": 1000}
"""What a model with a float input gets divided by: colours to 0..1, as torchvision's ToTensor; depth in millimetres to
metres (REP 118). CHANGE IT to what your model was trained on; mean and deviation are better put into the model."""


def stamp_ns(stamp: Any) -> int:
    """Nanoseconds of a ``builtin_interfaces/Time``."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def image_to_array(message: Any, item: TensorSpec) -> Array:
    """``sensor_msgs/Image`` as (1, C, H, W) or (1, H, W, C), whichever *item* is. It is not scaled to another size: let
    image_proc do that, or ``push`` will drop it and say which size it expects."""
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ConversionError(f"encoding {message.encoding!r} is not one of {', '.join(ENCODINGS)}")
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if message.is_bigendian else "<")
    height, width, row = message.height, message.width, message.width * encoding.channels
    flat = np.frombuffer(message.data, np.uint8)
    if flat.size != height * message.step or message.step < row * dtype.itemsize:
        raise ConversionError(
            f"{flat.size} bytes of data are no {width}x{height} {message.encoding} of step {message.step}"
        )
    # A row may be longer than its pixels.
    rows = np.ascontiguousarray(flat.reshape(height, message.step)[:, : row * dtype.itemsize])
    pixels = rows.view(dtype).reshape(height, width, encoding.channels)[:, :, encoding.order]
    image = pixels if item.smallest()[-1] == len(encoding.order) else pixels.transpose(2, 0, 1)
    found = image[np.newaxis].astype(item.dtype)
    if item.dtype.startswith("float"):
        found /= np.asarray(TO_FLOAT.get(message.encoding, 1), item.dtype)
    return found


def imu_to_array(message: Any, item: TensorSpec) -> Array:
    """``sensor_msgs/Imu`` as its six numbers: angular velocity (rad/s) x y z, then linear acceleration (m/s²) x y z.
    THE ORDER is the training's; change it here. One sample of a window, or all of an input of six numbers."""
    gyro, acceleration = message.angular_velocity, message.linear_acceleration
    values = [gyro.x, gyro.y, gyro.z, acceleration.x, acceleration.y, acceleration.z]
    found = np.array(values, item.dtype)
    return found.reshape(item.smallest()) if math.prod(item.smallest()) == found.size else found


def multi_array_to_array(message: Any, item: TensorSpec, policy: StreamPolicy) -> Array:
    """``std_msgs/Float32MultiArray`` in the shape that its layout says, or where it has none in that of *item*. Of a
    window without a layout: one sample after another, any number of them."""
    values = np.asarray(message.data, np.float32)[message.layout.data_offset :].astype(item.dtype)
    sizes = [int(dimension.size) for dimension in message.layout.dim]
    shape = list(item.smallest())
    try:
        if sizes or policy.kind != "window":
            return values.reshape(sizes or shape)
        del shape[policy.axis]
        return np.moveaxis(values.reshape(-1, *shape), 0, policy.axis)
    except ValueError:
        raise ConversionError(f"{values.size} numbers do not fill {sizes or item.shape_text}") from None


class Finding(NamedTuple):
    """One ``diagnostic_msgs/DiagnosticStatus``; ``level`` is the name of one of its constants."""

    level: str
    name: str
    message: str
    values: dict[str, str]


def diagnose(node: str, health: Health, result: StepResult | None, unreadable: Mapping[str, int]) -> list[Finding]:
    """The model as a whole, then each stream; *result* is the last step's, *unreadable* counts conversion errors."""
    values: dict[str, object] = {"state": health.state, "errors": health.errors, "last error": health.last_error}
    if result is None:
        return [Finding("WARN", f"{node}: model", "no step yet", _text(values))]
    session = health.sessions[0]
    values |= {f"steps {status}": count for status, count in session.steps.items()}
    if session.step is not None:
        values |= {
            f"step {key}": f"{getattr(session.step, key):.3f}" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms")
        }
    values |= {f"skipped {part}": count for part, count in session.skipped.items()}
    level = {"ok": "WARN" if result.late else "OK", "late": "WARN", "waiting": "WARN"}.get(result.status, "ERROR")
    if health.state == "degraded":
        level = "ERROR"
    found = [Finding(level, f"{node}: model", result.reason or result.status, _text(values))]
    for name, state in result.streams.items():
        values = {"age ms": None if state.age_ns is None else f"{state.age_ns / MS:.1f}", **session.streams[name]}
        values["unreadable messages"] = unreadable.get(name, 0)
        stream_level = "ERROR" if state.stale else "WARN" if state.source in ("missing", "fallback") else "OK"
        message = f"{state.source}, too old" if state.stale else state.source
        found.append(Finding(stream_level, f"{node}: {name}", message, _text(values)))
    return found


def _text(values: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}
