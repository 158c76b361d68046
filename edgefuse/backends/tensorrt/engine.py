"""An engine in memory: read from ``model.plan``, and what it says of itself compared with the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgefuse.backends.tensorrt import vendor
from edgefuse.errors import DeviceMismatchError, EdgeFuseError, ToolchainError
from edgefuse.spec import ModelSpec

PLAN = "model.plan"
REBUILD = "Build it again here, from the graph in the bundle: edgefuse compile NAME.edgefuse"
OTHER_MACHINE = re.compile(r"version|compute|platform|incompatible", re.IGNORECASE)


def load_engine(path: Path, log: Any) -> Any:
    """The engine in the file *path*.

    Raises ``DeviceMismatchError`` where it was built for another TensorRT or another GPU, ``ToolchainError`` where it
    is missing or damaged. Host code in a plan stays forbidden (``engine_host_code_allowed`` is False unless set).
    """
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise ToolchainError(f"the engine cannot be read: {error.strerror}", where=path.name, hint=REBUILD) from error
    trt = vendor.library()
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan) if plan else None
    if engine is None:
        raise refusal(vendor.last_words(log, "the file is empty" if not plan else "it gave no reason"), path)
    return engine


def refusal(said: str, path: Path) -> EdgeFuseError:
    """A plan that the vendor does not load, in its own words."""
    kind = DeviceMismatchError if OTHER_MACHINE.search(said) else ToolchainError
    return kind(f"{vendor.version()} does not load the engine: {said}", where=path.name, hint=REBUILD)


def tensor_names(engine: Any, mode: str) -> list[str]:
    """Names of the engine's tensors of *mode* "INPUT" or "OUTPUT", in its order."""
    names = [str(engine.get_tensor_name(index)) for index in range(engine.num_io_tensors)]
    return [name for name in names if engine.get_tensor_mode(name).name == mode]


def check_tensors(engine: Any, spec: ModelSpec) -> None:
    """The engine must take nothing that the model does not name, and give all that it promises."""
    inputs, outputs = tensor_names(engine, "INPUT"), tensor_names(engine, "OUTPUT")
    strange = [name for name in inputs if name not in spec.names]
    missing = [name for name in spec.outputs if name not in outputs]
    if strange or missing:
        what = f"takes {strange[0]!r}, which the model does not" if strange else f"has no output {missing[0]!r}"
        raise ToolchainError(f"the engine {what}: it is another model's", where=PLAN, hint=REBUILD)
    on_cpu = [name for name in inputs if engine.get_tensor_location(name).name != "DEVICE"]
    if on_cpu:
        raise ToolchainError(
            f"the engine reads {on_cpu[0]!r} on the CPU, as a shape",
            where=PLAN,
            hint="Give the model the size as a dimension of another input.",
        )
