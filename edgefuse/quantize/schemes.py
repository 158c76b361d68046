"""How each toolchain wants its INT8: two ways to write the same decision into a graph.

``docs/quantization.md`` has the sources and the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgefuse.quantize.observe import Range

SMALLEST = float(np.finfo(np.float32).tiny) * 256
"""A scale stays a normal number, also for a tensor that is always 0."""


@dataclass(frozen=True)
class Quantization:
    """Affine quantization of one tensor: ``real = scale * (integer - zero_point)``."""

    scale: float
    zero_point: int
    dtype: type[np.signedinteger] | type[np.unsignedinteger]


@dataclass(frozen=True)
class Scheme:
    """``activation``: range to integers. ``tensor_cores``: the hardware multiplies matrices, so a product of one row
    gains nothing from INT8, and what meets at a residual Add or a Concat should be on one scale."""

    activation: Callable[[Range], Quantization]
    tensor_cores: bool


def affine_uint8(found: Range) -> Quantization:
    """uint8 over the observed range, widened to hold 0 so that padding and ReLU's zero are exact.

    scale = (high - low) / 255, zero point = round(-low / scale) (Jacob et al. 2018, arXiv:1712.05877, eq. 1–3).
    """
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    scale = max((high - low) / 255, SMALLEST)
    return Quantization(scale, int(np.clip(round(-low / scale), 0, 255)), np.uint8)


def symmetric_int8(found: Range) -> Quantization:
    """int8 in ±127 with zero point 0, the only one that TensorRT takes: scale = max(|low|, |high|) / 127."""
    return Quantization(max(abs(found.low), abs(found.high), SMALLEST * 127) / 127, 0, np.int8)


SCHEMES = {
    "openvino": Scheme(affine_uint8, tensor_cores=False),
    "onnxruntime": Scheme(affine_uint8, tensor_cores=False),
    "tensorrt": Scheme(symmetric_int8, tensor_cores=True),
}
"""By backend."""
