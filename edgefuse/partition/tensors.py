"""Type and shape of a graph's tensors: inferred by onnx, or else seen in a run of onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from edgefuse.backends.onnxruntime import ERRORS, open_session
from edgefuse.spec import DTYPES, Array, Dim, DimRange, ModelSpec, TensorSpec

DTYPE_OF: dict[int, str] = {helper.np_dtype_to_tensor_dtype(np.dtype(name)): name for name in DTYPES}


_FAILURES: tuple[type[Exception], ...] = (*ERRORS, ValueError)


@dataclass(frozen=True)
class Facts:
    """``kind`` is ONNX's element type, 0 where unknown or no tensor; a ``dims`` or dimension of None is unknown."""

    kind: int = 0
    dims: tuple[Dim | None, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape where it is static."""
        known = tuple(dim for dim in self.dims or () if isinstance(dim, int))
        return known if self.dims is not None and len(known) == len(self.dims) else None

    @property
    def largest(self) -> int | None:
        """Elements at most; None where unknown."""
        sizes = [dim.max if isinstance(dim, DimRange) else dim for dim in self.dims or ()]
        return None if self.dims is None or None in sizes else math.prod(size or 0 for size in sizes)

    @property
    def size_bytes(self) -> int | None:
        return None if self.largest is None or not self.kind else self.largest * item_bytes(self.kind)

    def spec(self, name: str, stream: str = "") -> TensorSpec | None:
        """None where a :class:`TensorSpec` cannot say it: another element type, an unknown or an empty dimension."""
        dims = tuple(d for d in self.dims or () if d is not None and (d.min if isinstance(d, DimRange) else d) > 0)
        if self.kind not in DTYPE_OF or self.dims is None or len(dims) < len(self.dims):
            return None
        return TensorSpec(name, dims, DTYPE_OF[self.kind], stream=stream)


def item_bytes(kind: int) -> int:
    return int(helper.tensor_dtype_to_np_dtype(kind).itemsize)


def infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the type of every tensor that onnx can infer."""
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def read_facts(inferred: onnx.ModelProto, spec: ModelSpec) -> dict[str, Facts]:
    graph = inferred.graph
    found = {value.name: value_facts(value) for value in [*graph.value_info, *graph.output, *graph.input]}
    found |= {tensor.name: Facts(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    inputs = {item.name: item for item in spec.inputs}
    return found | {n: replace(found[n], dims=inputs[n].shape) for n in inputs if n in found}


def value_facts(value: onnx.ValueInfoProto) -> Facts:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return Facts(tensor.elem_type)
    return Facts(tensor.elem_type, tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim))


def measure(
    model: onnx.ModelProto, spec: ModelSpec, names: Iterable[str], known: Mapping[str, Facts]
) -> dict[str, Facts]:
    """Facts of the tensors *names*, as they are at the smallest and at the largest inputs, all zeros; {} where
    onnxruntime fails."""
    names = list(names)
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    try:
        session = open_session(probed.SerializeToString(), optimize="none")
        present = [value.name for value in session.get_inputs()]
        runs = [session.run(names, _zeros(spec, present, largest)) for largest in (False, True)]
    except _FAILURES:
        return {}
    return {
        name: Facts(_kind(small), tuple(_dim(*pair) for pair in zip(small.shape, large.shape)))
        for name, small, large in zip(names, *runs)
        if isinstance(small, np.ndarray) and small.dtype.name in DTYPES and small.ndim == large.ndim
    }


def _zeros(spec: ModelSpec, present: Container[str], largest: bool) -> dict[str, Array]:
    return {
        item.name: np.zeros([_end(dim, largest) for dim in item.shape], item.dtype)
        for item in spec.inputs
        if item.name in present
    }


def _end(dim: Dim, largest: bool) -> int:
    return dim if isinstance(dim, int) else dim.max if largest else dim.min


def _dim(a: int, b: int) -> Dim:
    return a if a == b else DimRange(min(a, b), max(a, b))


def _kind(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))
