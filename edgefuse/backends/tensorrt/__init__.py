"""TensorRT on an NVIDIA GPU: Jetson, and desktop GPUs (also through TensorRT-RTX).

The artifact is an engine (``model.plan``), built on the device that runs it: it is tied to the library's version and to
the GPU. The steps are in :mod:`builder`, running it in :mod:`runner`, the check without a GPU in :mod:`offline`.
Numpy, ``tensorrt`` and cuda-python, each imported in one file (:mod:`vendor`, :mod:`cuda`) when it is first needed.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner, Settings
from edgefuse.backends.tensorrt import cuda, vendor
from edgefuse.backends.tensorrt.builder import build
from edgefuse.backends.tensorrt.engine import PLAN, load_engine
from edgefuse.backends.tensorrt.runner import TensorRtRunner
from edgefuse.blob_cache import BlobCache
from edgefuse.spec import ModelSpec

FIRST_FP16, NO_FP16 = (5, 3), (6, 1)
FIRST_INT8, NO_INT8 = (6, 1), (6, 2)
FIRST_TF32 = (8, 0)

ONE_ARTIFACT = QUICK = False
"""An engine is built for its settings."""


def version() -> str:
    """Such as "10.3.0.26", or "rtx-1.7.1.116" for TensorRT-RTX. Raises ``MissingToolError``."""
    return vendor.version()


def identity() -> dict[str, str]:
    """An engine is tied to ``version``, ``arch`` and the GPU: a name and ``multiprocessors``, since CUDA calls every
    Jetson of a generation alike ("Orin"). ``driver`` is what was there when it was built; a newer one runs it too."""
    found = cuda.device()
    return {
        "version": version(),
        "arch": _arch(found.capability),
        "gpu": found.name,
        "multiprocessors": str(found.multiprocessors),
        "driver": cuda.driver_version(),
    }


def capabilities() -> dict[str, Any]:
    """The GPU; ``cuda`` is the version up to which its driver goes, ``memory_gb`` is in 10^9 bytes and is shared with
    the CPU where ``integrated``. Raises ``DeviceMismatchError`` where there is none."""
    found = cuda.device()
    return {
        "name": found.name,
        "arch": _arch(found.capability),
        "precisions": precisions(found.capability),
        "compute_capability": found.capability,
        "multiprocessors": found.multiprocessors,
        "driver": cuda.driver_version(),
        "cuda": cuda.cuda_version(),
        "memory_gb": round(found.memory_bytes / 1e9, 1),
        "integrated": found.integrated,
    }


def precisions(capability: str) -> list[str]:
    """What a GPU of compute *capability* ("8.7") computes faster than, or as fast as, float32.

    From the hardware precision matrix of TensorRT's support matrix: FP16 from 5.3 but 6.1, INT8 from 6.1 but 6.2.
    """
    major, minor = capability.split(".")
    found = (int(major), int(minor))
    rows = (
        ("float", True),
        ("tf32", found >= FIRST_TF32),
        ("fp16", found >= FIRST_FP16 and found != NO_FP16),
        ("int8", found >= FIRST_INT8 and found != NO_INT8),
    )
    return [name for name, has in rows if has]


def compile(onnx_path: Path, out: Path, spec: ModelSpec, settings: Settings) -> None:
    """Build the engine for this GPU: ``model.plan``, and ``layers.json`` about it."""
    build(onnx_path, out, spec, settings, _arch(cuda.device().capability))


def open(artifact: Path, spec: ModelSpec, settings: Settings, cache: BlobCache | None = None) -> Runner:
    """The engine, with its memory allocated and (shapes permitting) its CUDA graph recorded.

    *cache* is ignored: the engine is what the vendor compiles.
    """
    cuda.device()  # the library's own words for a missing driver are worse
    log = vendor.make_logger(vendor.library())
    return TensorRtRunner(load_engine(artifact / PLAN, log), spec, settings, log)


def _arch(capability: str) -> str:
    """Such as "aarch64-sm87"."""
    return f"{platform.machine()}-sm{capability.replace('.', '')}"
