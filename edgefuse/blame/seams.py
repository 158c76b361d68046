"""The tensors between parts, and the float graph's tensors that they stand for.

Precision is written into the graph, so a tensor that crosses may be the QuantizeLinear of a float tensor ``x``, or a
Cast of it. The float graph has ``x`` under its own name.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from edgefuse.quantize.graph import Graph, attribute
from edgefuse.spec import Array

SAME_VALUES = frozenset({"Cast", "Identity"})


@dataclass(frozen=True)
class Affine:
    """``real = scale * (integer - zero_point)``, per tensor or along ``axis``."""

    scale: Array
    zero_point: Array
    axis: int

    def quantize(self, real: Array) -> Array:
        """As ONNX's QuantizeLinear: rounds half to even, saturates."""
        kind = np.iinfo(self.zero_point.dtype)
        scale, zero = self._along(real)
        integers: Array = np.clip(np.rint(real / scale) + zero, kind.min, kind.max).astype(kind.dtype)
        return integers

    def dequantize(self, integers: Array) -> Array:
        scale, zero = self._along(integers)
        return ((integers.astype(np.float32) - zero) * scale).astype(np.float32)

    def _along(self, array: Array) -> tuple[Array, Array]:
        shape = [1] * array.ndim
        if self.scale.size > 1:
            shape[self.axis] = -1
        return (
            self.scale.astype(np.float32).reshape(shape or ()),
            self.zero_point.astype(np.float32).reshape(shape or ()),
        )

    @property
    def width(self) -> float:
        """Of the range that it can hold, at the widest."""
        kind = np.iinfo(self.zero_point.dtype)
        return float(self.scale.max()) * (float(kind.max) - float(kind.min))


@dataclass(frozen=True)
class Seam:
    """The boundary tensor ``name`` stands for the float graph's ``source`` (None: for none that could be found).

    ``affine`` is None where it is not quantized. ``disagree``: the part that makes it and one that reads it have
    different scales; ``affine`` is then the one that fits the float model's values better.
    """

    name: str
    source: str | None
    dtype: str
    affine: Affine | None = None
    disagree: bool = False

    def encode(self, real: Array) -> Array:
        """What a faultless part hands on for the float value *real*."""
        return self.affine.quantize(real) if self.affine is not None else real.astype(self.dtype)

    def decode(self, array: Array) -> Array:
        """The value that *array* stands for."""
        return self.affine.dequantize(array) if self.affine is not None else array


def find_seam(graph: Graph, name: str, dtype: str, floats: Container[str]) -> Seam:
    """Follow the boundary tensor *name* of *graph* back to one whose name is among *floats*."""
    own = _affine(graph, name)
    source, affine, rounded = name, None, False
    while source not in floats:
        node = graph.makers.get(source)
        kind = "" if node is None else node.op_type
        if kind == "QuantizeLinear" and affine is None and (rounded or own is not None):
            affine, rounded = None if rounded else own, False
        elif kind == "DequantizeLinear" and not rounded:
            rounded = True
        elif kind not in SAME_VALUES:
            return Seam(name, None, dtype, own)
        source = graph.makers[source].input[0]
    return Seam(name, source, dtype, affine)


def _affine(graph: Graph, name: str) -> Affine | None:
    """How *name* is quantized, where a QuantizeLinear makes it."""
    node = graph.makers.get(name)
    return _parameters(graph, node) if node is not None and node.op_type == "QuantizeLinear" else None


def _parameters(graph: Graph, node: onnx.NodeProto) -> Affine | None:
    """Of a Q or DQ node; None for scales that are computed, and for blocks."""
    if attribute(node, "block_size", 0):
        return None
    scale = _constant(graph, node.input[1])
    zero = _constant(graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros((), np.uint8)
    if scale is None or zero is None or zero.dtype.kind not in "iu":
        return None
    return Affine(scale, zero, attribute(node, "axis", 1))


def _constant(graph: Graph, name: str) -> Array | None:
    maker = graph.makers.get(name)
    if maker is not None and maker.op_type == "Constant":
        value = next((attr.t for attr in maker.attribute if attr.name == "value"), None)
        return None if value is None else np.asarray(numpy_helper.to_array(value))
    return graph.constant(name)


def settle(seam: Seam, graph: Graph, reals: Iterable[Array]) -> Seam:
    """*seam* with the scale of those that read it, where they disagree with its maker and fit *reals*, the float
    values, better: then it is the maker that was altered."""
    if seam.affine is None:
        return seam
    found = [seam.affine, *_readers(graph, seam.name)]
    if all(_equal(item, seam.affine) for item in found):
        return seam
    finite = np.concatenate([np.zeros(1), *(real[np.isfinite(real)].ravel() for real in reals)])
    width = max(float(np.ptp(finite)), float(np.finfo(np.float32).tiny))
    best = min(found, key=lambda item: abs(math.log(max(item.width, 1e-300) / width)))
    return Seam(seam.name, seam.source, seam.dtype, best, disagree=True)


def _readers(graph: Graph, name: str) -> Sequence[Affine]:
    nodes = [node for node in graph.readers.get(name, ()) if node.op_type == "DequantizeLinear"]
    return [affine for node in nodes if (affine := _parameters(graph, node)) is not None]


def _equal(one: Affine, other: Affine) -> bool:
    return np.array_equal(one.scale, other.scale) and np.array_equal(one.zero_point, other.zero_point)
