"""The vendor toolchains that turn an ONNX graph into something fast, and how to add one.

A backend is a module of this package that satisfies :class:`Backend`, plus one line in ``BACKENDS``. It is a
Protocol that *modules* satisfy and not a base class: there is one OpenVINO, so there is nothing to instantiate.
The vendor's library is imported inside that one file and nowhere else.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from edgefuse.blob_cache import BlobCache
from edgefuse.errors import UsageError, nearest
from edgefuse.spec import Array, Feed, ModelSpec

BACKENDS = {
    "openvino": "edgefuse.backends.openvino",
    "onnxruntime": "edgefuse.backends.onnxruntime",
    "tensorrt": "edgefuse.backends.tensorrt",
}


class Runner(Protocol):
    """A loaded model: float, quantized or compiled, whatever runs it. Not safe to call from two threads at once."""

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """All outputs for one feed. The arrays are the caller's own copies."""

    def close(self) -> None:
        """Free the vendor's memory; a second call does nothing."""


@dataclass(frozen=True)
class Settings:
    """How a graph is executed. ``inference_precision`` is what float operations may run in: "f32", "bf16" (CPU) or
    "tf32" (GPU). ``threads`` is the CPU's, each tied to a core where ``pinned``; ``cuda_graph`` and
    ``workspace_mib`` (for the builder's tactics) are the GPU's.
    """

    threads: int = 1
    inference_precision: str = "f32"
    pinned: bool = True
    cuda_graph: bool = True
    workspace_mib: int = 1024


class Backend(Protocol):
    ONE_ARTIFACT: bool
    """Whether one artifact of a graph serves all :class:`Settings`."""

    QUICK: bool
    """Whether compiling a graph takes seconds; an engine takes minutes."""

    def version(self) -> str:
        """The vendor library's release, such as "2026.4.1". Raises ``MissingToolError``."""

    def identity(self) -> dict[str, str]:
        """Everything that an artifact is tied to: at least ``version`` and ``arch``."""

    def capabilities(self) -> dict[str, Any]:
        """What this machine's device can do: ``name``, ``arch`` (identity's), ``precisions``."""

    def compile(self, onnx_path: Path, out: Path, spec: ModelSpec, settings: Settings) -> None:
        """Write the artifact for *onnx_path* into the existing folder *out*."""

    def open(self, artifact: Path, spec: ModelSpec, settings: Settings, cache: BlobCache | None = None) -> Runner:
        """Load an artifact written by :meth:`compile`. Raises ``ToolchainError``.

        With *cache*, what the vendor compiles here is kept there for the next time; the results are the same to the
        bit. A backend whose artifact is compiled already ignores it.
        """


def load_backend(name: str) -> Backend:
    """The backend module called *name*; raises ``UsageError`` for an unknown one."""
    if name not in BACKENDS:
        raise UsageError(f"there is no backend {name!r}", hint=nearest(name, BACKENDS))
    return cast(Backend, importlib.import_module(BACKENDS[name]))
