"""Whether NVIDIA's own importer and compiler take a graph, and which operations they run in INT8, without a GPU.

Always with TensorRT-RTX, which builds on a CPU; meant for a child process (:mod:`edgefuse.child`), because a graph that
it cannot lower may end in an assertion. What a green check proves, and what it does not, stands in DESIGN and in the
report: this is not a test on a Jetson. Standard library and TensorRT-RTX.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from edgefuse.backends.tensorrt.kernels import GENERATED, PRODUCTS, TITLE, classify, read_kernels
from edgefuse.backends.tensorrt.network import Network, add_profile, parse
from edgefuse.backends.tensorrt.vendor import last_words, make_logger, rtx_library
from edgefuse.errors import EdgeFuseError, ToolchainError
from edgefuse.spec import ModelSpec

WORKSPACE_BYTES = 1 << 30


def available() -> str | None:
    """TensorRT-RTX's release, such as "1.7.1.116"; None where it is missing or does not load. Never raises."""
    try:
        return str(rtx_library().__version__)
    except EdgeFuseError:
        return None


def check_offline(
    onnx_path: str, spec: dict[str, Any], compute_capability: str, expected_int8: list[str]
) -> dict[str, Any]:
    """Parse and build the graph for *compute_capability* ("8.6"), and look up the nodes *expected_int8* (names of Conv,
    ConvTranspose, Gemm and MatMul that read Q/DQ on both sides) among the kernels.

    Raises ``ModelError`` where the parser refuses the graph (with node, operator and its sentence), ``ToolchainError``
    where the build fails. A capability that TensorRT-RTX has no target for (8.7, say) is built for the next lower one;
    ``sm`` says which.
    """
    trt = rtx_library()
    target = _target(trt, compute_capability)
    log = make_logger(trt, wanted=lambda message: message.startswith(TITLE))
    started = time.monotonic()
    network = parse(trt, Path(onnx_path), log)
    plan = _build(trt, network, ModelSpec.from_json(spec), target, log)
    seconds = time.monotonic() - started
    if plan is None:
        raise ToolchainError(
            f"TensorRT-RTX {trt.__version__} cannot build the graph for {target}: {last_words(log)}",
            where=Path(onnx_path).name,
        )
    kernels = read_kernels(log.said)
    return {
        "tool": "TensorRT-RTX",
        "version": str(trt.__version__),
        "sm": target,
        "seconds": round(seconds, 3),
        "plan_bytes": int(plan.nbytes),
        "kernels": [kernel.to_json() for kernel in kernels if kernel.kind in PRODUCTS | GENERATED and kernel.nodes],
        **classify(expected_int8, kernels),
    }


def _build(trt: Any, network: Network, spec: ModelSpec, target: str, log: Any) -> Any:
    """The serialized engine, or None."""
    config = network.builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
    add_profile(network, config, spec)
    return network.builder.build_serialized_network(network.definition, config)


def _target(trt: Any, compute_capability: str) -> str:
    """The name of the target for *compute_capability*, or of the highest one below it."""
    wanted = int(compute_capability.replace(".", ""))
    known = sorted(int(name[2:]) for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
    lower = [number for number in known if number <= wanted]
    if not lower:
        raise ToolchainError(
            f"TensorRT-RTX {trt.__version__} builds for compute capability {known[0] / 10} and later; "
            f"asked for {compute_capability}"
        )
    return f"SM{lower[-1]}"
