"""One input or output of an engine: its pinned memory on the CPU, its memory on the GPU, and the copies between."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefuse.backends.tensorrt import cuda
from edgefuse.errors import FeedError, ToolchainError
from edgefuse.spec import Array

DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""Names of the vendor's ``DataType`` that numpy knows."""


@dataclass(frozen=True)
class Memory:
    """Allocated once. On a GPU that shares the CPU's memory both pointers are of one block, and nothing is copied."""

    host: int
    gpu: int
    size_bytes: int
    shared: bool


def allocate(size_bytes: int, shared: bool, held: ExitStack) -> Memory:
    """Memory that is freed when *held* closes; raises ``ToolchainError`` that says how much was asked for."""
    host = cuda.host_malloc(size_bytes, mapped=shared)
    held.callback(cuda.host_free, host)
    if shared:
        return Memory(host, cuda.mapped_pointer(host), size_bytes, shared)
    gpu = cuda.malloc(size_bytes)
    held.callback(cuda.free, gpu)
    return Memory(host, gpu, size_bytes, shared)


class Port:
    """A tensor of the engine in *memory*, large enough for its largest shape; :meth:`resize` sets the current one."""

    def __init__(self, name: str, dtype: str, shape: tuple[int, ...], memory: Memory) -> None:
        self.name, self.dtype, self.memory = name, np.dtype(dtype), memory
        self.resize(shape)

    def resize(self, shape: tuple[int, ...]) -> None:
        """Raises ``ToolchainError`` where *shape* does not fit, rather than let the GPU write past the end."""
        self.size_bytes = size_bytes(shape, self.dtype)
        if self.size_bytes > self.memory.size_bytes:
            raise ToolchainError(
                f"{self.name!r} has the shape {shape}, {self.size_bytes} bytes; "
                f"the engine's largest shapes need {self.memory.size_bytes}"
            )
        view = cuda.host_view(self.memory.host, self.memory.size_bytes)
        self.array: Array = view[: self.size_bytes].view(self.dtype).reshape(shape)

    def write(self, array: Array) -> None:
        """Fill the pinned memory. Integers of another size are converted, values that do not survive it refused."""
        self.array[...] = array
        if array.dtype != self.dtype and not np.array_equal(self.array, array):
            raise FeedError(
                f"input {self.name!r} holds values that the engine's {self.dtype} cannot",
                hint="Keep the values in range.",
            )

    def read(self) -> Array:
        """The caller's own copy."""
        return self.array.copy()

    def upload(self, stream: Any) -> None:
        if not self.memory.shared:
            cuda.to_device(self.memory.gpu, self.memory.host, self.size_bytes, stream)

    def download(self, stream: Any) -> None:
        if not self.memory.shared:
            cuda.to_host(self.memory.host, self.memory.gpu, self.size_bytes, stream)


def size_bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return int(math.prod(shape) * np.dtype(dtype).itemsize)


def check_dtype(name: str, given: str, taken: str) -> None:
    """A feed's *given* type must be what the engine has *taken*, or both integers, which :meth:`Port.write` checks.

    Some versions and readers narrow int64 to int32; a float that is narrowed would change answers.
    """
    if given != taken and not (np.dtype(given).kind in "iu" and np.dtype(taken).kind in "iu"):
        raise ToolchainError(
            f"input {name!r} is {given} in the model and {taken} in the engine",
            hint=f"Export the model with {taken} inputs, and compile it again.",
        )


def numpy_dtype(engine: Any, name: str) -> str:
    """Raises ``ToolchainError`` for a type that numpy does not have, such as BF16."""
    found = str(engine.get_tensor_dtype(name).name)
    if found not in DTYPES:
        raise ToolchainError(
            f"{name!r} is {found} in the engine, which numpy does not have", hint="Cast it to float32 in the model."
        )
    return DTYPES[found]
