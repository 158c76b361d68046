"""An engine and its context over ``host_cuda``: a numpy function on the "GPU's" memory, run when its stream is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.backends.tensorrt.host_cuda import HostCuda


def named(name: str) -> Any:
    return SimpleNamespace(name=name)


@dataclass(frozen=True)
class HostTensor:
    """``shape`` -1: dynamic, up to ``largest``. ``dtype`` is the vendor's name for it, such as "FLOAT"."""

    name: str
    mode: str
    dtype: str
    shape: tuple[int, ...]
    location: str = "DEVICE"


NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_}


class HostEngine:
    """The engine of a *function* from input arrays to output arrays; *limits* are the largest sizes of -1."""

    def __init__(
        self,
        cuda: HostCuda,
        tensors: Sequence[HostTensor],
        function: Callable[[dict[str, Any]], dict[str, Any]],
        limit: int = 8,
    ) -> None:
        self.cuda, self.function, self.limit = cuda, function, limit
        self.tensors = {tensor.name: tensor for tensor in tensors}
        self.num_io_tensors = len(tensors)
        self.contexts = 0
        self.refuses_context = False
        self.enqueue_fails_at = 0
        self.capturable: bool | None = None

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return named(self.tensors[name].mode)

    def get_tensor_dtype(self, name: str) -> Any:
        return named(self.tensors[name].dtype)

    def get_tensor_location(self, name: str) -> Any:
        return named(self.tensors[name].location)

    def create_execution_context(self) -> Any:
        if self.refuses_context:
            return None
        self.contexts += 1
        found = HostContext(self)
        if self.capturable is not None:
            found.is_stream_capturable = lambda handle: self.capturable  # type: ignore[attr-defined]
        return found


class HostContext:
    def __init__(self, engine: HostEngine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.enqueued = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        wanted = self.engine.tensors[name].shape
        if len(wanted) != len(shape):
            return False
        if not all(n == w or (w == -1 and 1 <= n <= self.engine.limit) for n, w in zip(shape, wanted)):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Of an output: its -1 is the current size of the first dynamic input dimension; -2 is never known."""
        tensor = self.engine.tensors[name]
        if tensor.mode == "INPUT":
            return self.shapes[name]
        sizes = [
            size
            for known, shape in self.shapes.items()
            for size, wanted in zip(shape, self.engine.tensors[known].shape)
            if wanted == -1
        ]
        return tuple(sizes[0] if dim == -1 else -1 if dim == -2 else dim for dim in tensor.shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        known = address in self.engine.cuda.gpu or address in self.engine.cuda.mapped
        self.addresses[name] = address
        return known

    def execute_async_v3(self, handle: int) -> bool:
        self.enqueued += 1
        if self.enqueued == self.engine.enqueue_fails_at:
            return False
        shapes = {name: self.get_tensor_shape(name) for name in self.engine.tensors}
        self.engine.cuda.streams[handle].put(lambda: self._compute(shapes))
        return True

    def _compute(self, shapes: dict[str, tuple[int, ...]]) -> None:
        modes = {name: tensor.mode for name, tensor in self.engine.tensors.items()}
        inputs = {name: self._view(name, shapes[name]).copy() for name, mode in modes.items() if mode == "INPUT"}
        for name, array in self.engine.function(inputs).items():
            self._view(name, shapes[name])[...] = array

    def _view(self, name: str, shape: tuple[int, ...]) -> Any:
        dtype = np.dtype(NUMPY[self.engine.tensors[name].dtype])
        size = int(np.prod(shape)) * dtype.itemsize
        block = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(block, np.uint8).view(dtype).reshape(shape)
