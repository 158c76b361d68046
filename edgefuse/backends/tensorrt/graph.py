"""Recording what a stream does once, and replaying it as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from edgefuse.backends.tensorrt import cuda
from edgefuse.errors import ToolchainError


def record(stream: Any, enqueue: Callable[[], None], held: ExitStack) -> Any:
    """What :func:`cuda.launch` takes to repeat *enqueue*; destroyed when *held* closes.

    Raises ``ToolchainError`` where the work cannot be recorded; the stream is usable again then.
    """
    graph = _capture(stream, enqueue)
    try:
        executable = cuda.instantiate(graph)
    finally:
        cuda.destroy_graph(graph)
    held.callback(cuda.destroy_executable, executable)
    return executable


def _capture(stream: Any, enqueue: Callable[[], None]) -> Any:
    cuda.begin_capture(stream)
    try:
        enqueue()
    except ToolchainError:
        with suppress(ToolchainError):  # ends the capture, and fails because of the error above, which says more
            cuda.destroy_graph(cuda.end_capture(stream))
        raise
    return cuda.end_capture(stream)
