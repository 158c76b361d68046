"""Deterministic example inputs for the checks and the exporters. numpy only."""

from __future__ import annotations

import zlib

import numpy as np

from edgefuse.spec import Array, DimRange, TensorSpec


def example_shape(spec: TensorSpec) -> tuple[int, ...]:
    """The smallest shape, but no dynamic dimension at 0 or 1 if it may be more: torch.export would fix it
    there."""
    return tuple(max(d.min, min(2, d.max)) if isinstance(d, DimRange) else d for d in spec.shape)


def largest(spec: TensorSpec) -> tuple[int, ...]:
    """The shape with every dynamic dimension at its maximum."""
    return tuple(d.max if isinstance(d, DimRange) else d for d in spec.shape)


def example_array(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """The same array every time: N(0, 1) for floats, zeros for integers (they may index a small table); a
    bool is True in the second half of the last axis, so that a mask of either meaning leaves something
    over."""
    if spec.dtype.startswith("float"):
        noise = np.random.default_rng(zlib.crc32(spec.name.encode())).standard_normal(shape)
        return np.asarray(noise, spec.dtype)
    if spec.dtype == "bool" and shape:
        return np.broadcast_to(np.arange(shape[-1]) >= shape[-1] // 2, shape).copy()
    return np.full(shape, spec.dtype == "bool", spec.dtype)
