"""The few calls of the CUDA runtime that a runner needs; error codes become ``ToolchainError``.

Through cuda-python, the only file that imports it. Pointers are plain integers; whoever allocates frees.
"""

from __future__ import annotations

import ctypes
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.errors import DeviceMismatchError, MissingToolError, ToolchainError

DEVICE = 0
"""The first GPU that CUDA_VISIBLE_DEVICES leaves."""
OUT_OF_MEMORY, NO_DRIVER, NO_DEVICE = 2, 35, 100
DRIVER_FILE = Path("/proc/driver/nvidia/version")


@functools.cache
def runtime() -> Any:
    """cuda-python's runtime module; raises ``MissingToolError``."""
    try:
        try:
            from cuda.bindings import runtime as found
        except ModuleNotFoundError as error:
            if error.name not in ("cuda", "cuda.bindings"):
                raise
            from cuda import cudart as found  # before cuda-python 12.6
    except ImportError as error:
        raise MissingToolError(
            f"cuda-python cannot be loaded: {error}",
            hint="Install the one of the driver's CUDA: pip install 'cuda-python==12.6.*' on JetPack 6, "
            "'cuda-python>=13,<14' on JetPack 7; elsewhere nvidia-smi names the version.",
        ) from error
    return found


@dataclass(frozen=True)
class Device:
    """``capability`` as in "8.7"; ``integrated``: GPU and CPU share their memory, as on Jetson."""

    name: str
    capability: str
    multiprocessors: int
    memory_bytes: int
    integrated: bool


def device() -> Device:
    """The GPU; raises ``DeviceMismatchError`` where there is none."""
    if _call("counting GPUs", "cudaGetDeviceCount") == 0:
        raise DeviceMismatchError("there is no NVIDIA GPU here", hint="Run this on the device.")
    found = _call("reading the GPU's properties", "cudaGetDeviceProperties", DEVICE)
    name = found.name.decode(errors="replace") if isinstance(found.name, bytes) else str(found.name)
    return Device(
        name=name,
        capability=f"{found.major}.{found.minor}",
        multiprocessors=int(found.multiProcessorCount),
        memory_bytes=int(found.totalGlobalMem),
        integrated=bool(found.integrated),
    )


def cuda_version() -> str:
    """The CUDA version up to which the driver goes, such as "12.6"."""
    number = int(_call("asking the driver for its version", "cudaDriverGetVersion"))
    return f"{number // 1000}.{number % 1000 // 10}"


def driver_version() -> str:
    """The driver's release, such as "540.4.0"; "CUDA 12.6" where the kernel does not tell."""
    try:
        text = DRIVER_FILE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return match[1] if match else f"CUDA {cuda_version()}"


def malloc(size_bytes: int) -> int:
    """Memory of the GPU."""
    return int(_call(f"allocating {size_bytes} bytes on the GPU", "cudaMalloc", size_bytes))


def free(pointer: int) -> None:
    _call("freeing memory of the GPU", "cudaFree", pointer)


def host_malloc(size_bytes: int, mapped: bool) -> int:
    """Pinned memory of the CPU; *mapped*: the GPU may use it too, at :func:`mapped_pointer`."""
    flags = int(runtime().cudaHostAllocMapped) if mapped else int(runtime().cudaHostAllocDefault)
    return int(_call(f"allocating {size_bytes} bytes of pinned memory", "cudaHostAlloc", size_bytes, flags))


def host_free(pointer: int) -> None:
    _call("freeing pinned memory", "cudaFreeHost", pointer)


def mapped_pointer(host_pointer: int) -> int:
    return int(_call("mapping pinned memory", "cudaHostGetDevicePointer", host_pointer, 0))


def host_view(pointer: int, size_bytes: int) -> NDArray[np.uint8]:
    """The bytes at *pointer*, not a copy: dead once they are freed."""
    return np.frombuffer((ctypes.c_uint8 * size_bytes).from_address(pointer), np.uint8)


def to_device(device_pointer: int, host_pointer: int, size_bytes: int, stream: Any) -> None:
    kind = runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
    _call("copying to the GPU", "cudaMemcpyAsync", device_pointer, host_pointer, size_bytes, kind, stream)


def to_host(host_pointer: int, device_pointer: int, size_bytes: int, stream: Any) -> None:
    kind = runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
    _call("copying from the GPU", "cudaMemcpyAsync", host_pointer, device_pointer, size_bytes, kind, stream)


def create_stream() -> Any:
    """A stream that does not wait for the default one; ``int(stream)`` is its handle."""
    return _call("creating a stream", "cudaStreamCreateWithFlags", int(runtime().cudaStreamNonBlocking))


def synchronize(stream: Any) -> None:
    """Wait for the stream's work; an error of that work is raised here."""
    _call("running the model", "cudaStreamSynchronize", stream)


def destroy_stream(stream: Any) -> None:
    _call("destroying a stream", "cudaStreamDestroy", stream)


def begin_capture(stream: Any) -> None:
    """Record what this thread does on *stream* instead of doing it; other threads' calls stay out of it."""
    mode = runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    _call("capturing a CUDA graph", "cudaStreamBeginCapture", stream, mode)


def end_capture(stream: Any) -> Any:
    """The recorded graph. Must be called once capture has begun, also after an error."""
    return _call("capturing a CUDA graph", "cudaStreamEndCapture", stream)


def instantiate(graph: Any) -> Any:
    """What :func:`launch` takes. ``cudaGraphInstantiate`` has other arguments in CUDA 11 than in 12 and 13; this form
    of it is the same in all three."""
    return _call("instantiating a CUDA graph", "cudaGraphInstantiateWithFlags", graph, 0)


def launch(executable: Any, stream: Any) -> None:
    _call("launching a CUDA graph", "cudaGraphLaunch", executable, stream)


def destroy_graph(graph: Any) -> None:
    _call("destroying a CUDA graph", "cudaGraphDestroy", graph)


def destroy_executable(executable: Any) -> None:
    _call("destroying a CUDA graph", "cudaGraphExecDestroy", executable)


def _call(doing: str, name: str, *arguments: Any) -> Any:
    """The second value that cuda-python returns beside the error code, if there is one."""
    code, *values = getattr(runtime(), name)(*arguments)
    if int(code) != 0:
        raise _translated(doing, int(code), code)
    return values[0] if values else None


def _translated(doing: str, number: int, code: Any) -> ToolchainError:
    _, text = runtime().cudaGetErrorString(code)
    said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    if number in (NO_DRIVER, NO_DEVICE):
        return DeviceMismatchError(
            f"there is no NVIDIA driver here that works (CUDA error {number}: {said})",
            hint="Run this on the device. On Jetson the driver comes with JetPack; elsewhere nvidia-smi must work.",
        )
    if number == OUT_OF_MEMORY:
        return ToolchainError(
            f"the GPU's memory is full: {doing} failed",
            hint="Close what else uses the GPU, or choose a smaller precision. On Jetson CPU and GPU share the memory.",
        )
    return ToolchainError(f"CUDA failed while {doing}: {said} (error {number})")
