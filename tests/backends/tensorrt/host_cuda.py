"""A GPU cannot be installed here: the CUDA runtime, acted out in the CPU's memory (``host_engine`` is the engine).

``HostCuda`` has the functions of ``cuda.bindings.runtime`` that EdgeFuse calls, under their names and with their
results (an error code first). It moves real bytes, but late: what is put on a stream happens when the stream is
synchronized, so whoever reads too early reads old bytes. Memory of the "GPU" lies at other addresses than the CPU's,
and a copy in the wrong direction is an error. It knows nothing about speed, alignment or a real driver's moods.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

SUCCESS, INVALID, OUT_OF_MEMORY, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED = 0, 1, 2, 900, 901
TEXTS = {
    INVALID: b"invalid argument",
    OUT_OF_MEMORY: b"out of memory",
    35: b"CUDA driver version is insufficient for CUDA runtime version",
    100: b"no CUDA-capable device is detected",
    700: b"an illegal memory access was encountered",
    CAPTURE_UNSUPPORTED: b"operation not permitted when stream is capturing",
    CAPTURE_INVALIDATED: b"operation failed due to a previous error during capture",
}
Work = Callable[[], None]


@dataclass(eq=False)
class Stream:
    handle: int
    pending: list[Work] = field(default_factory=list)
    captured: list[Work] | None = None
    broken: bool = False

    def __int__(self) -> int:
        return self.handle

    def put(self, work: Work) -> None:
        (self.pending if self.captured is None else self.captured).append(work)


class HostCuda:
    """``fail("cudaMalloc", 2, 2)``: the second call of that function returns error 2. ``calls`` counts by name."""

    cudaHostAllocDefault, cudaHostAllocMapped, cudaStreamNonBlocking = 0, 2, 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, integrated: bool = False, capability: tuple[int, int] = (8, 7), gpus: int = 1) -> None:
        self.gpus, self.integrated, self.capability = gpus, integrated, capability
        self.host: dict[int, Any] = {}
        self.gpu: dict[int, Any] = {}
        self.mapped: set[int] = set()
        self.streams: dict[int, Stream] = {}
        self.graphs: list[list[Work]] = []
        self.executables: list[list[Work]] = []
        self.calls: Counter[str] = Counter()
        self.failures: dict[tuple[str, int], int] = {}
        self.freed_twice = False

    @property
    def live(self) -> int:
        """Everything that was made and not yet destroyed."""
        return sum(map(len, (self.host, self.gpu, self.streams, self.graphs, self.executables)))

    def fail(self, name: str, call: int, code: int) -> None:
        self.failures[name, call] = code

    def _failure(self, name: str) -> int:
        self.calls[name] += 1
        return self.failures.get((name, self.calls[name]), SUCCESS)

    def cudaGetErrorString(self, code: int) -> tuple[int, bytes]:
        return SUCCESS, TEXTS.get(code, b"unknown error")

    def cudaGetDeviceCount(self) -> tuple[int, int | None]:
        code = self._failure("cudaGetDeviceCount")
        return code, None if code else self.gpus

    def cudaGetDeviceProperties(self, device: int) -> tuple[int, Any]:
        major, minor = self.capability
        found = SimpleNamespace(
            name=b"Orin",
            major=major,
            minor=minor,
            multiProcessorCount=8,
            totalGlobalMem=7_990_000_000,
            integrated=int(self.integrated),
        )
        return self._failure("cudaGetDeviceProperties"), found

    def cudaDriverGetVersion(self) -> tuple[int, int]:
        return self._failure("cudaDriverGetVersion"), 12060

    def cudaMalloc(self, size: int) -> tuple[int, int | None]:
        return self._allocate("cudaMalloc", self.gpu, size)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[int, int | None]:
        code, pointer = self._allocate("cudaHostAlloc", self.host, size)
        if pointer is not None and flags & self.cudaHostAllocMapped:
            self.mapped.add(pointer)
        return code, pointer

    def _allocate(self, name: str, where: dict[int, Any], size: int) -> tuple[int, int | None]:
        if code := self._failure(name):
            return code, None
        block = (ctypes.c_uint8 * size)(*[0xAA] * min(size, 64))  # not zero: memory is not cleared
        where[ctypes.addressof(block)] = block
        return SUCCESS, ctypes.addressof(block)

    def cudaFree(self, pointer: int) -> tuple[int]:
        return self._release("cudaFree", self.gpu, pointer)

    def cudaFreeHost(self, pointer: int) -> tuple[int]:
        self.mapped.discard(pointer)
        return self._release("cudaFreeHost", self.host, pointer)

    def _release(self, name: str, where: dict[int, Any], pointer: int) -> tuple[int]:
        code = self._failure(name)
        if where.pop(pointer, None) is None:
            self.freed_twice = True
            return (INVALID,)
        return (code,)

    def cudaHostGetDevicePointer(self, pointer: int, flags: int) -> tuple[int, int | None]:
        code = self._failure("cudaHostGetDevicePointer")
        return (code, pointer) if pointer in self.mapped and not code else (code or INVALID, None)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: Stream) -> tuple[int]:
        code = self._failure("cudaMemcpyAsync")
        target, origin = (self.gpu, self.host) if kind == 1 else (self.host, self.gpu)
        fits = to in target and source in origin and size <= min(len(target[to]), len(origin[source]))
        if code or not fits:
            stream.broken = stream.captured is not None
            return (code or INVALID,)
        stream.put(lambda: ctypes.memmove(to, source, size) and None)
        return (SUCCESS,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, Stream | None]:
        if code := self._failure("cudaStreamCreateWithFlags"):
            return code, None
        stream = Stream(1000 + self.calls["cudaStreamCreateWithFlags"])
        self.streams[int(stream)] = stream
        return SUCCESS, stream

    def cudaStreamSynchronize(self, stream: Stream) -> tuple[int]:
        if code := self._failure("cudaStreamSynchronize"):
            return (code,)
        if stream.captured is not None:
            stream.broken = True
            return (CAPTURE_UNSUPPORTED,)
        pending, stream.pending = stream.pending, []
        for work in pending:
            work()
        return (SUCCESS,)

    def cudaStreamDestroy(self, stream: Stream) -> tuple[int]:
        code = self._failure("cudaStreamDestroy")
        return (code,) if self.streams.pop(int(stream), None) else (INVALID,)

    def cudaStreamBeginCapture(self, stream: Stream, mode: int) -> tuple[int]:
        if code := self._failure("cudaStreamBeginCapture"):
            return (code,)
        stream.captured, stream.broken = [], False
        return (SUCCESS,)

    def cudaStreamEndCapture(self, stream: Stream) -> tuple[int, Any]:
        code = self._failure("cudaStreamEndCapture")
        captured, stream.captured = stream.captured, None
        if code or captured is None or stream.broken:
            return code or CAPTURE_INVALIDATED, None
        self.graphs.append(captured)
        return SUCCESS, captured

    def cudaGraphInstantiateWithFlags(self, graph: list[Work], flags: int) -> tuple[int, Any]:
        if code := self._failure("cudaGraphInstantiateWithFlags"):
            return code, None
        self.executables.append([*graph])
        return SUCCESS, self.executables[-1]

    def cudaGraphLaunch(self, executable: list[Work], stream: Stream) -> tuple[int]:
        if code := self._failure("cudaGraphLaunch"):
            return (code,)
        for work in executable:
            stream.put(work)
        return (SUCCESS,)

    def cudaGraphDestroy(self, graph: list[Work]) -> tuple[int]:
        self.graphs = [known for known in self.graphs if known is not graph]
        return (self._failure("cudaGraphDestroy"),)

    def cudaGraphExecDestroy(self, executable: list[Work]) -> tuple[int]:
        self.executables = [known for known in self.executables if known is not executable]
        return (self._failure("cudaGraphExecDestroy"),)
