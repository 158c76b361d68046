"""Transforms of images: (H, W) or (H, W, C), in RGB order. Numpy, and Pillow where pixels are interpolated."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgefuse.errors import MissingToolError
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array, shape_text
from edgefuse.transforms.arrays import Apply, floats
from edgefuse.transforms.given import Given

METHODS = {"nearest": None, "bilinear": "BILINEAR", "bicubic": "BICUBIC", "area": "BOX"}
CHANNELS = "rgba"
GREY = (0.299, 0.587, 0.114)
"""ITU-R BT.601, as Pillow and OpenCV have it."""
MOST_PIXELS = 1 << 26


def resize(given: Given) -> Apply:
    """``resize = [H, W]``, or ``{ size = [H, W], method = "bilinear" }``, or nearest, bicubic, area.

    The dtype stays; integers are rounded. Where an image gets smaller each pixel is made of all that it covers, as
    Pillow does it. NaN spreads over the pixels that it is part of, but for nearest.
    """
    table = given.read("size", "method", short="size")
    height, width = table.wholes("size", 2, least=1)
    if height * width > MOST_PIXELS:
        raise given.refuse(f"is {height}x{width}; expected at most {MOST_PIXELS} pixels")
    method = METHODS[table.choice("method", METHODS, "bilinear")]
    if method is None:
        return lambda array: _nearest(array, height, width)
    resample = getattr(_pillow().Resampling, method)

    def apply(array: Array) -> Array:
        _check_image(array)
        if array.ndim == 2:
            return _interpolated(array, (width, height), resample)
        if array.dtype == np.uint8 and array.shape[2] == 3:
            return _interpolated(array, (width, height), resample)
        layers = [_interpolated(array[..., channel], (width, height), resample) for channel in range(array.shape[2])]
        return np.stack(layers, axis=-1)

    return apply


def crop(given: Given) -> Apply:
    """``crop = [H, W]`` around the centre, or ``{ box = [top, left, H, W] }``."""
    table = given.read("size", "box", short="size")
    if table.has("size") == table.has("box"):
        raise given.refuse("expected size or box")
    *place, height, width = table.wholes("box", 4) if table.has("box") else table.wholes("size", 2)
    if not height or not width:
        raise given.refuse(f"is {height}x{width}; expected pixels")

    def apply(array: Array) -> Array:
        _check_image(array)
        top, left = place or ((array.shape[0] - height) // 2, (array.shape[1] - width) // 2)
        if top < 0 or left < 0 or top + height > array.shape[0] or left + width > array.shape[1]:
            wanted = f"{height}x{width}" + (f" from row {top}, column {left}" if place else "")
            raise Misfit("shape", f"the image is {shape_text(array.shape)}; expected at least {wanted}")
        return array[top : top + height, left : left + width]

    return apply


def channels(given: Given) -> Apply:
    """``channels = "bgr"``: the channels, of r g b a, that the model takes, in its order."""
    order = given.read("order", short="order").text("order").lower()
    if set(order) - set(CHANNELS):
        raise given.refuse(f"is {order!r}; expected letters of rgba")
    places = [CHANNELS.index(letter) for letter in order]

    def apply(array: Array) -> Array:
        if array.ndim != 3 or array.shape[2] <= max(places):
            raise Misfit("shape", f"got {shape_text(array.shape)}; expected HxWxC with the channels {order}")
        return array[..., places]

    return apply


def mono(given: Given) -> Apply:
    """``mono = true``: (H, W, 3 or 4) as (H, W), by the weights of ITU-R BT.601; the dtype stays."""
    if given.value is not True:
        raise given.refuse(f"is {given.value!r}; expected true")

    def apply(array: Array) -> Array:
        if array.ndim != 3 or array.shape[2] < 3:
            raise Misfit("shape", f"got {shape_text(array.shape)}; expected HxWx3")
        values = floats(array)
        grey: Array = values[..., :3] @ np.array(GREY, values.dtype)
        return _in_dtype(grey, array.dtype)

    return apply


def flip(given: Given) -> Apply:
    """``flip = "horizontal"`` (left and right), ``"vertical"`` (top and bottom) or ``"both"``."""
    axes = {"horizontal": (1,), "vertical": (0,), "both": (0, 1)}
    chosen = axes[given.read("direction", short="direction").choice("direction", axes)]

    def apply(array: Array) -> Array:
        _check_image(array)
        return np.flip(array, chosen)

    return apply


def _nearest(array: Array, height: int, width: int) -> Array:
    _check_image(array)
    rows = ((np.arange(height) + 0.5) * array.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * array.shape[1] / width).astype(np.intp)
    found: Array = array[rows[:, np.newaxis], columns]
    return found


def _interpolated(array: Array, size: tuple[int, int], resample: Any) -> Array:
    """Of (H, W, 3) uint8, or of one channel; Pillow knows these as bytes, and all else as float32."""
    plain = np.ascontiguousarray(array if array.dtype == np.uint8 else array.astype(np.float32))
    return _in_dtype(np.asarray(_pillow().fromarray(plain).resize(size, resample)), array.dtype)


def _in_dtype(array: Array, dtype: np.dtype[Any]) -> Array:
    """Rounded and kept within the limits where *dtype* is an integer's: bicubic goes beyond."""
    if array.dtype == dtype:
        return array
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        array = np.clip(np.rint(array), limits.min, limits.max)
    return array.astype(dtype)


def _check_image(array: Array) -> None:
    if array.ndim not in (2, 3) or not array.size:
        raise Misfit("shape", f"got {shape_text(array.shape)}; expected an image, HxW or HxWxC")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingToolError(
            "Pillow, which the transform 'resize' needs, is not installed", hint="pip install 'edgefuse[ros]'"
        ) from error
    return Image
