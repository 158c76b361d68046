"""Which axis of an input is time, which are its channels, and how a LiDAR's data are laid out. Standard library only.

Where a stream's policy says it is a window, its axis is time. What nobody says is guessed from modality and shape; the
guesses are in ``docs/robustness.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgefuse.spec import DimRange, TensorSpec
from edgefuse.stream.policy import StreamPolicy

FEW_CHANNELS = 4
"""A picture has up to so many: grey, colour, colour and depth."""

FEW_FEATURES = 16
"""A point has up to so many: place, intensity, ring, time, velocity, one-hot class."""


def sizes(shape: Sequence[int | DimRange]) -> tuple[int, ...]:
    """Each dimension; of a dynamic one the most."""
    return tuple(dim.max if isinstance(dim, DimRange) else dim for dim in shape)


def time_axis(item: TensorSpec, policy: StreamPolicy) -> int | None:
    """None where the input is of one moment, or has one time step."""
    shape = sizes(item.shape)
    axis = policy.axis if policy.kind == "window" else _guess_time(item.modality, shape)
    return axis if axis is not None and shape[axis] > 1 else None


def _guess_time(modality: str | None, shape: tuple[int, ...]) -> int | None:
    if modality == "text":
        return len(shape) - 1 if len(shape) <= 2 else 1
    if modality == "audio" and len(shape) >= 2:
        return 1 if shape[1] > 1 else len(shape) - 1
    if modality in ("imu", "state") and len(shape) >= 3:
        return 1 if shape[1] >= shape[2] else 2
    return None


def channel_axis(item: TensorSpec, time: int | None) -> int | None:
    """Along which values have each a unit or a meaning of their own; None where all are alike."""
    shape = sizes(item.shape)
    if item.modality in ("image", "depth"):
        return _picture_channels(shape)
    if item.modality == "points":
        return point_axis(shape)
    if item.modality in ("imu", "state") and len(shape) >= 2:
        others = [axis for axis in range(1, len(shape)) if axis != time]
        return others[-1] if others else None
    return None


def _picture_channels(shape: tuple[int, ...]) -> int | None:
    """Channels last only where they are few there and many in their usual place."""
    if len(shape) < 4:
        return None
    first = len(shape) - 3
    return len(shape) - 1 if shape[-1] <= FEW_CHANNELS < shape[first] else first


def plane(shape: tuple[int, ...], channels: int | None) -> tuple[int, int] | None:
    """Axes of a picture's or a grid's rows and columns; None where it has none."""
    if len(shape) < 3:
        return None
    last = len(shape) - 1
    found = (last - 2, last - 1) if channels == last else (last - 1, last)
    return found if min(shape[axis] for axis in found) > 1 else None


def point_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of a point's features (x, y, z …) where the input is a set of points; else None."""
    if len(shape) != 3:
        return None
    one, other = shape[1:]
    if 2 <= other <= FEW_FEATURES and other <= one:
        return 2
    return 1 if 2 <= one <= FEW_FEATURES and one < other else None


def points_form(shape: tuple[int, ...]) -> str:
    """``"set"`` of points with features, ``"scan"`` of ranges by beam, or ``"grid"`` (from above, or a range image)."""
    if point_axis(shape) is not None:
        return "set"
    return "scan" if sum(size > 1 for size in shape[1:]) <= 1 else "grid"
