"""OpenVINO on the CPU: the only file that imports ``openvino``.

The artifact is OpenVINO's IR (``model.xml`` + ``model.bin``); it is compiled for the CPU when it is opened. The
inference precision is always set: a CPU with BF16 silently uses it for float graphs otherwise.
"""

from __future__ import annotations

import functools
import io
import platform
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.backends import Runner, Settings
from edgefuse.blob_cache import Blob, BlobCache, miss
from edgefuse.errors import DeviceMismatchError, MissingToolError, ModelError, ToolchainError
from edgefuse.machine import processor
from edgefuse.spec import Array, Feed, ModelSpec, TensorSpec

try:
    import openvino as ov
except ImportError as error:
    raise MissingToolError(
        "OpenVINO is not installed", hint="Install it with: pip install 'edgefuse[openvino]'"
    ) from error

ONE_ARTIFACT = QUICK = True
"""It holds the graph; how it is executed is settled when it is opened."""


def version() -> str:
    """The release, such as "2026.4.1"."""
    return str(ov.get_version()).split("-")[0]


def identity() -> dict[str, str]:
    return {"version": version(), "arch": platform.machine()}


@functools.cache
def capabilities() -> dict[str, Any]:
    """Name and architecture of this machine's CPU, and the precisions that its plugin runs natively."""
    core = _core()
    found = set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    precisions = ["float", "int8"] if "INT8" in found else ["float"]
    return {
        "name": str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
        "arch": platform.machine(),
        "precisions": [*precisions, "bf16"] if "BF16" in found else precisions,
    }


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Vendor exceptions as ours. OpenVINO raises RuntimeError for everything it refuses, with the cause last."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ToolchainError(
            f"OpenVINO {version()} failed while {doing}: {lines[-1] if lines else error!r}",
            hint="Try another --precision, or another OpenVINO version.",
        ) from error


def compile(onnx_path: Path, out: Path, spec: ModelSpec, settings: Settings) -> None:
    """Write ``model.xml`` and ``model.bin`` for *onnx_path*, every port carrying exactly its name in *spec*."""
    with _translated("reading the ONNX graph"):
        model = _core().read_model(onnx_path)
        inputs = {tensor.name: _find_port(model.inputs, tensor.name) for tensor in spec.inputs}
        outputs = {name: _find_port(model.outputs, name) for name in spec.outputs}
        missing = [name for name, port in outputs.items() if port is None]
        if missing:
            raise ModelError(f"OpenVINO lost the output {missing[0]!r} of the graph", where=onnx_path.name)
        for name, port in [*inputs.items(), *outputs.items()]:
            if port is not None:
                port.get_tensor().set_names({name})
        dynamic = {
            port: _partial_shape(tensor)
            for tensor in spec.inputs
            if tensor.dynamic and (port := inputs[tensor.name]) is not None
        }
        if dynamic:
            model.reshape(dynamic)
    with _translated("writing the IR"):
        ov.save_model(model, out / "model.xml", compress_to_fp16=False)


def _find_port(ports: list[Any], name: str) -> Any | None:
    """The port that has *name* among its names: OpenVINO gives one port several where nodes were folded."""
    return next((port for port in ports if name in port.get_names()), None)


def _partial_shape(tensor: TensorSpec) -> ov.PartialShape:
    dims = [d if isinstance(d, int) else ov.Dimension(d.min, d.max) for d in tensor.shape]
    return ov.PartialShape([ov.Dimension(d) if isinstance(d, int) else d for d in dims])


def open(artifact: Path, spec: ModelSpec, settings: Settings, cache: BlobCache | None = None) -> Runner:
    """The artifact, compiled for this CPU with *settings*.

    What *cache* keeps is OpenVINO's own blob: the graph after its transformations, from which the kernels are made
    again. The first result takes 0.38 to 0.47 times as long with it as with read_model and compile_model (2026.4.1,
    four fusion models; benchmarks/cold_start.py has the whole of a start). That is as fast as OpenVINO's ``CACHE_DIR``,
    and a blob without weights (``CACHE_MODE``) was no faster.
    """
    if settings.inference_precision == "bf16" and "bf16" not in capabilities()["precisions"]:
        raise DeviceMismatchError(
            f"the plan runs in bf16, which this CPU ({capabilities()['name']}) does not have",
            hint="Compile the model on this machine: edgefuse compile … --target host",
        )
    config = _config(settings)
    if cache is None:
        return _OpenVinoRunner(_compiled(artifact, config), spec)
    key = cache.key("openvino", ov.get_version(), capabilities(), processor(), config)
    blob, why = cache.read(key)
    if blob is not None:
        try:
            return _OpenVinoRunner(_imported(blob, config), spec, "hit", blob)
        except ToolchainError as error:
            why = f"the kept blob was refused: {error.what}"
    cache.check_artifact()
    compiled = _compiled(artifact, config)
    return _OpenVinoRunner(compiled, spec, miss(why, _keep(compiled, cache, key)))


def _config(settings: Settings) -> dict[str, Any]:
    """For compiling and for importing: a blob carries none of it, and one of a float32 model that is imported without
    runs in bf16 and on all cores (2026.4.1)."""
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": settings.threads,
        "INFERENCE_PRECISION_HINT": settings.inference_precision,
    }
    if not settings.pinned:
        config["ENABLE_CPU_PINNING"] = False
    return config


def _compiled(artifact: Path, config: dict[str, Any]) -> ov.CompiledModel:
    with _translated("compiling for the CPU"):
        return _core().compile_model(_core().read_model(artifact / "model.xml"), "CPU", config)


def _imported(blob: Blob, config: dict[str, Any]) -> ov.CompiledModel:
    """The model of a blob. It reads its weights from *blob* whenever it runs, so *blob* has to outlive it."""
    with _translated("importing the compiled model"):
        return _core().import_model(ov.Tensor(blob, shared_memory=True), "CPU", config)


def _keep(compiled: ov.CompiledModel, cache: BlobCache, key: str) -> str:
    """Why *compiled* could not be kept for the next start, or ""."""
    try:
        with _translated("exporting the compiled model"):
            exported = io.BytesIO()
            compiled.export_model(exported)
    except ToolchainError as error:
        return f"not kept: {error.what}"
    return cache.write(key, exported.getbuffer())


class _OpenVinoRunner:
    """One infer request. With static shapes the request's own buffers are filled and read through numpy views, which
    costs less than passing arrays to ``infer()`` (15 against 45 µs on a graph with one Add).

    ``cached`` says where the compiled model came from: "off" (there was no cache), "hit", "miss", or "miss: " and why.
    """

    def __init__(
        self, compiled: ov.CompiledModel, spec: ModelSpec, cached: str = "off", blob: Blob | None = None
    ) -> None:
        self.cached = cached
        self._blob = blob  # the memory of the model's weights
        self._request = compiled.create_infer_request()
        ports = {tensor.name: _find_port(compiled.inputs, tensor.name) for tensor in spec.inputs}
        self._ports = {name: port for name, port in ports.items() if port is not None}
        self._outputs = {name: _find_port(compiled.outputs, name) for name in spec.outputs}
        static = [port.get_partial_shape().is_static for port in [*self._ports.values(), *self._outputs.values()]]
        if all(static):
            self._inputs = [(name, self._request.get_tensor(port).data) for name, port in self._ports.items()]
            self._kept: list[tuple[str, Array]] = []
            self._there: dict[str, Array | None] = {}
            self._results = [(name, self._request.get_tensor(port).data) for name, port in self._outputs.items()]
            self._call = self._call_static
        else:
            self._call = self._call_dynamic

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return self._call(feed)

    def keep(self, names: Container[str]) -> None:
        """The arrays given for these inputs are never written to afterwards: what is in the request's buffer already
        is not copied again. For features that are held from step to step, of tens of kilobytes and more."""
        if self._call == self._call_static:
            self._kept = [(name, buffer) for name, buffer in self._inputs if name in names]
            self._inputs = [(name, buffer) for name, buffer in self._inputs if name not in names]

    def _call_static(self, feed: Feed) -> dict[str, Array]:
        for name, buffer in self._inputs:
            buffer[...] = feed[name]
        for name, buffer in self._kept:
            array = feed[name]
            if self._there.get(name) is not array:
                self._there[name] = None  # Ctrl-C in the middle
                buffer[...] = array
                self._there[name] = array
        self._request.infer()
        return {name: buffer.copy() for name, buffer in self._results}

    def _call_dynamic(self, feed: Feed) -> dict[str, Array]:
        with _translated("running the model"):
            for name, port in self._ports.items():
                self._request.set_tensor(port, ov.Tensor(np.ascontiguousarray(feed[name])))
            self._request.infer()
            return {name: self._request.get_tensor(port).data.copy() for name, port in self._outputs.items()}

    def close(self) -> None:
        self._inputs, self._results, self._ports, self._outputs = [], [], {}, {}
        self._kept, self._there = [], {}
        self._request, self._call = None, _closed
        self._blob = None


def _closed(feed: Feed) -> dict[str, Array]:
    raise ToolchainError("the model is closed", hint="Load it again with edgefuse.load(path).")
