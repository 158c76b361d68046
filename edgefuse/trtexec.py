"""The ``trtexec`` command that builds a bundle's graph without Python. Standard library only."""

from __future__ import annotations

import shlex

from edgefuse.spec import DimRange, ModelSpec, TensorSpec

WEAKLY_TYPED = ("8.", "9.")


def weakly_typed(tensorrt: str | None) -> bool:
    """Whether this TensorRT has no strongly typed networks; None, a version that is not known yet, has them."""
    return tensorrt is not None and tensorrt.startswith(WEAKLY_TYPED)


def trtexec_command(onnx_file: str, graph: str, spec: ModelSpec, tensorrt: str | None, workspace_mib: int) -> str:
    """The command for the graph called *graph* (a name of :data:`edgefuse.precision.GRAPHS`) in *onnx_file*.

    TensorRT 10 and later run strongly typed (11 accepts the flag and ignores it); 8.5 and 8.6 know no such flag and
    need the precisions that the graph uses switched on.
    """
    parts = ["trtexec", f"--onnx={onnx_file}", f"--saveEngine={graph}.engine"]
    if weakly_typed(tensorrt):
        parts += [flag for name, flag in (("int8", "--int8"), ("fp16", "--fp16")) if name in graph.split("+")]
    else:
        parts.append("--stronglyTyped")
    parts += ["--noTF32", f"--memPoolSize=workspace:{workspace_mib}M", *_shapes(spec)]
    return shlex.join([*parts, "--profilingVerbosity=detailed"])


def _shapes(spec: ModelSpec) -> list[str]:
    """One optimization profile; dynamic inputs only. Its best size is the largest, which a control loop waits for."""
    dynamic = [tensor for tensor in spec.inputs if tensor.dynamic]
    if not dynamic:
        return []
    smallest = ",".join(_shape(tensor, largest=False) for tensor in dynamic)
    largest = ",".join(_shape(tensor, largest=True) for tensor in dynamic)
    return [f"--minShapes={smallest}", f"--optShapes={largest}", f"--maxShapes={largest}"]


def _shape(tensor: TensorSpec, largest: bool) -> str:
    dims = [(dim.max if largest else dim.min) if isinstance(dim, DimRange) else dim for dim in tensor.shape]
    name = f"'{tensor.name}'" if ":" in tensor.name or "," in tensor.name else tensor.name
    return f"{name}:{'x'.join(map(str, dims))}"
