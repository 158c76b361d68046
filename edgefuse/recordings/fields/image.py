"""Images of ROS and foxglove messages, raw and compressed, as arrays in RGB order. Numpy; Pillow for the latter."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np

from edgefuse.errors import MissingToolError
from edgefuse.recordings.fields.access import get, to_bytes
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array

NAMED = {
    "rgb8": ("u1", 3, (0, 1, 2)),
    "bgr8": ("u1", 3, (2, 1, 0)),
    "rgba8": ("u1", 4, (0, 1, 2, 3)),
    "bgra8": ("u1", 4, (2, 1, 0, 3)),
    "rgb16": ("u2", 3, (0, 1, 2)),
    "bgr16": ("u2", 3, (2, 1, 0)),
    "mono8": ("u1", 1, (0,)),
    "mono16": ("u2", 1, (0,)),
}
"""Encoding to dtype, channels, and where red, green and blue are."""

MOST_PIXELS = 1 << 26
COMPRESSED = ("JPEG", "PNG", "WEBP")
DEPTH_HEADER = struct.Struct("<iff")
"""What ROS's compressed_depth_image_transport writes before the PNG: the kind, and two parameters of its steps."""


def raw_image(message: Any) -> Array:
    """(H, W) of one channel, (H, W, C) otherwise, in the encoding's dtype."""
    dtype, channels, order = _encoding(str(get(message, "encoding")))
    if get(message, "is_bigendian", False):
        dtype = f">{dtype}"
    height, width = int(get(message, "height")), int(get(message, "width"))
    row = width * channels * np.dtype(dtype).itemsize
    step = int(get(message, "step", 0)) or row
    data = to_bytes(get(message, "data"))
    if not height or not width or not data.size:
        raise Misfit("empty", f"the image is {height}x{width} with {data.size} bytes of data")
    if step < row:
        raise Misfit("cut short", f"step is {step} bytes; {width} pixels take {row}")
    if data.size < height * step - (step - row):  # the last row may come without its padding
        raise Misfit("cut short", f"there are {data.size} bytes of data; {height} rows of {step} are {height * step}")
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    pixels: Array = np.ascontiguousarray(rows).view(dtype).reshape(height, width, channels)
    if not np.dtype(dtype).isnative:
        pixels = pixels.astype(np.dtype(dtype).newbyteorder("="))
    if channels == 1:
        return pixels[..., 0]
    return pixels if order == tuple(range(channels)) else pixels[..., order]


def _encoding(name: str) -> tuple[str, int, tuple[int, ...]]:
    if name in NAMED:
        return NAMED[name]
    match = re.fullmatch(r"(8|16|32|64)([USF])C([1-9]?)", name)
    if match is None or (match[1], match[2]) in (("8", "F"), ("64", "U"), ("64", "S")):
        raise Misfit("encoding", f"the encoding is {name!r}; expected {', '.join(NAMED)} or one such as 16UC1, 32FC1")
    channels = int(match[3] or 1)
    kind = {"U": "u", "S": "i", "F": "f"}[match[2]]
    return f"{kind}{int(match[1]) // 8}", channels, tuple(range(channels))


def compressed_image(message: Any) -> Array:
    """(H, W, 3) uint8; (H, W) uint8 or uint16 where it is grey; depth in metres, float32, where it was floats."""
    data, form = to_bytes(get(message, "data")).tobytes(), str(get(message, "format", ""))
    if not data:
        raise Misfit("empty", "the image has no data")
    if "compressedDepth" not in form:
        return _decode(data)
    if len(data) <= DEPTH_HEADER.size:
        raise Misfit("cut short", f"there are {len(data)} bytes of data")
    _, scale, shift = DEPTH_HEADER.unpack_from(data)
    steps = _decode(data[DEPTH_HEADER.size :])
    if "32FC1" not in form:
        return steps
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 says that there is no depth
        depth = np.float32(scale) / (steps.astype(np.float32) - np.float32(shift))
    return np.where(steps > 0, depth, np.float32(np.nan)).astype(np.float32)


def _decode(data: bytes) -> Array:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingToolError(
            "Pillow, which decodes compressed images, is not installed", hint="pip install 'edgefuse[ros]'"
        ) from error
    try:
        with Image.open(io.BytesIO(data), formats=COMPRESSED) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Misfit(
                    "decode", f"the image is {image.height}x{image.width}; expected at most {MOST_PIXELS} pixels"
                )
            if image.mode.startswith("I"):  # 16-bit grey; some versions of Pillow widen it
                return np.asarray(image).astype(np.uint16)
            grey = image.mode in ("1", "L", "LA")
            return np.asarray(image.convert("L" if grey else "RGB"))
    except Misfit:
        raise
    except (OSError, ValueError, SyntaxError, TypeError, struct.error, EOFError, IndexError) as error:
        reason = "it is no JPEG, PNG or WebP" if isinstance(error, UnidentifiedImageError) else str(error)
        raise Misfit("decode", f"the image cannot be decoded: {reason}") from None
    except Image.DecompressionBombError as error:
        raise Misfit("decode", f"the image is too large: {error}") from None
