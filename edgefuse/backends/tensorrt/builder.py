"""From ONNX to ``model.plan`` on the device itself: precision is what the graph says, and nothing else.

Beside it ``layers.json`` says which kernel runs what in which precision, as the vendor's inspector tells it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from edgefuse.backends import Settings
from edgefuse.backends.tensorrt import vendor
from edgefuse.backends.tensorrt.engine import PLAN, load_engine
from edgefuse.backends.tensorrt.layers import count_precisions, read_layers
from edgefuse.backends.tensorrt.network import Network, add_profile, parse
from edgefuse.backends.tensorrt.timing_cache import cache_file, read_cache, write_cache
from edgefuse.backends.tensorrt.vendor import last_words
from edgefuse.errors import ToolchainError
from edgefuse.spec import ModelSpec

LAYERS = "layers.json"
MIB = 1 << 20
MEMORY = re.compile(r"out ?of ?memory|insufficient memory|memory allocation|workspace", re.IGNORECASE)


def build(onnx_path: Path, out: Path, spec: ModelSpec, settings: Settings, arch: str) -> None:
    """Write ``model.plan`` and ``layers.json`` into *out*; *arch* as in "aarch64-sm87".

    Raises ``ModelError`` where the parser refuses the graph, ``ToolchainError`` where the build fails.
    """
    trt, notes = vendor.library(), list[str]()
    log = vendor.make_logger(trt)
    network = parse(trt, onnx_path, log)
    config = _configure(trt, network, spec, settings)
    timings = None if vendor.is_rtx(trt) else _attach_timings(config, arch, notes)  # RTX measures nothing at build time
    plan = network.builder.build_serialized_network(network.definition, config)
    if plan is None:
        raise _failure(log, onnx_path, settings)
    (out / PLAN).write_bytes(memoryview(plan))
    if timings is not None:
        write_cache(timings, bytes(memoryview(config.get_timing_cache().serialize())), notes)
    del network, config, plan  # the engine is loaded next, and a board has little memory
    _write_layers(trt, out, log, notes)


def _configure(trt: Any, network: Network, spec: ModelSpec, settings: Settings) -> Any:
    """TensorRT computes float32 in TF32 (10 bits of mantissa) on Ampere and later unless told not to."""
    config = network.builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * MIB)
    if settings.inference_precision == "tf32":
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if vendor.is_rtx(trt):  # which otherwise builds for every GPU that it knows
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
    add_profile(network, config, spec)
    return config


def _attach_timings(config: Any, arch: str, notes: list[str]) -> Path:
    """What earlier builds measured. One that is damaged, or of another GPU, is left out and later replaced."""
    path = cache_file(vendor.version(), arch)
    cache = config.create_timing_cache(read_cache(path, notes))
    if cache is None or not config.set_timing_cache(cache, False):
        notes.append("timing cache damaged or of another GPU: replaced")
        config.set_timing_cache(config.create_timing_cache(b""), False)
    return path


def _failure(log: Any, onnx_path: Path, settings: Settings) -> ToolchainError:
    said = last_words(log)
    hint = "Try another --precision."
    if any(MEMORY.search(message) for message in log.errors):
        hint = (
            f"The GPU's memory does not suffice, or the {settings.workspace_mib} MiB of workspace: close what else "
            "uses the GPU, or change workspace_mib of the device profile."
        )
    return ToolchainError(
        f"TensorRT {vendor.version()} cannot build the graph: {said}", where=onnx_path.name, hint=hint
    )


def _write_layers(trt: Any, out: Path, log: Any, notes: list[str]) -> None:
    inspector = load_engine(out / PLAN, log).create_engine_inspector()
    layers = read_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    found = {"counts": count_precisions(layers), "notes": notes, "layers": layers}
    (out / LAYERS).write_text(json.dumps(found, indent=1), encoding="utf-8")
