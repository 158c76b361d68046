"""ONNX Runtime on the CPU: the only file that imports ``onnxruntime``.

Runs the float ONNX graph and the quantized one (emulated: Q and DQ as written, not fused) for the gates, and is a
backend of its own. The artifact is the ONNX file.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner, Settings
from edgefuse.blob_cache import BlobCache, miss
from edgefuse.errors import MissingToolError, ToolchainError
from edgefuse.machine import processor
from edgefuse.spec import Array, Feed, ModelSpec

# onnxruntime 1.32 carries a telemetry client; nothing that EdgeFuse runs may call home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
try:
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
except ImportError as error:
    raise MissingToolError("ONNX Runtime is not installed", hint="Install it with: pip install onnxruntime") from error

ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    *(value for value in vars(ort_errors).values() if isinstance(value, type) and issubclass(value, Exception)),
)


LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

ONE_ARTIFACT = QUICK = True
"""It holds the graph; how it is executed is settled when it is opened."""


def version() -> str:
    return str(ort.__version__)


def identity() -> dict[str, str]:
    return {"version": version(), "arch": platform.machine()}


def capabilities() -> dict[str, Any]:
    return {
        "name": platform.processor() or platform.machine(),
        "arch": platform.machine(),
        "precisions": ["float", "int8"],
    }


def compile(onnx_path: Path, out: Path, spec: ModelSpec, settings: Settings) -> None:
    """Copy the graph, after the library has accepted it."""
    open_graph(onnx_path, spec, settings.threads).close()
    shutil.copyfile(onnx_path, out / "model.onnx")


def open(artifact: Path, spec: ModelSpec, settings: Settings, cache: BlobCache | None = None) -> Runner:
    """The graph, optimized for this CPU.

    What *cache* keeps is the optimized graph. Opening it and the first result take 0.5 to 0.8 times as long (1.32.0:
    93 ms became 59 for a camera + LiDAR + IMU model in INT8, 89 became 67 for two cameras in float); ORT's own file
    format was not faster than ONNX.
    """
    path = artifact / "model.onnx"
    if cache is None:
        return open_graph(path, spec, settings.threads)
    key = cache.key("onnxruntime", version(), processor(), settings.threads)
    blob, why = cache.read(key)
    if blob is not None:
        try:
            with _translated("loading the optimized graph"):
                session = open_session(blob.tobytes(), optimize="none", threads=settings.threads)
            return _OrtRunner(session, spec, "hit")
        except ToolchainError as error:
            why = f"the kept graph was refused: {error.what}"
    cache.check_artifact()
    with _translated("loading the graph"):
        session = open_session(str(path), threads=settings.threads)
    return _OrtRunner(session, spec, miss(why, _keep(path, settings, cache, key)))


def _keep(path: Path, settings: Settings, cache: BlobCache, key: str) -> str:
    """Why the optimized graph could not be kept for the next start, or "". The library writes it only to a file, and
    only while it opens a session: a second one, so that a full disk cannot touch the first."""
    try:
        with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder, _translated("saving the optimized graph"):
            optimized = Path(folder) / "optimized.onnx"
            open_session(str(path), threads=settings.threads, save_as=optimized)
            return cache.write(key, optimized.read_bytes())
    except (ToolchainError, OSError) as error:
        return f"not kept: {error}"


def open_graph(onnx_path: Path, spec: ModelSpec, threads: int = 1, emulate: bool = False) -> Runner:
    """Run an ONNX file as it is; with *emulate*, Q/DQ pairs are computed as written instead of fused into INT8
    kernels, whose results differ from every other toolchain's."""
    with _translated("loading the graph"):
        session = open_session(str(onnx_path), threads=threads, emulate=emulate)
    return _OrtRunner(session, spec)


def open_session(
    model: str | bytes,
    *,
    optimize: str = "all",
    threads: int = 1,
    emulate: bool = False,
    save_as: Path | None = None,
) -> ort.InferenceSession:
    """The library's session for a file or a serialized model, raising the library's own errors.

    *optimize*: "all", "basic" (keeps every tensor between operators), or "none" (the graph as it is written).
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[optimize]
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Threads that go on spinning after a call would slow down whatever is measured, or runs, in between.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if emulate:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if save_as is not None:
        options.optimized_model_filepath = str(save_as)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except ERRORS as error:
        line = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ToolchainError(f"ONNX Runtime {version()} failed while {doing}: {line.strip()[:300]}") from error


class _OrtRunner:
    """``cached``: "off" (there was no cache), "hit", "miss", or "miss: " and why."""

    def __init__(self, session: ort.InferenceSession, spec: ModelSpec, cached: str = "off") -> None:
        self.cached = cached
        self._session: ort.InferenceSession | None = session
        present = {node.name for node in session.get_inputs()}
        self._inputs = [name for name in spec.names if name in present]
        self._outputs = list(spec.outputs)

    def __call__(self, feed: Feed) -> dict[str, Array]:
        if self._session is None:
            raise ToolchainError("the model is closed", hint="Load it again with edgefuse.load(path).")
        with _translated("running the model"):
            results = self._session.run(self._outputs, {name: feed[name] for name in self._inputs})
        return dict(zip(self._outputs, results))

    def close(self) -> None:
        self._session = None
