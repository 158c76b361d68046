"""Which data types meet in one operator, and which ones TensorRT, its version and the GPU have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from onnx import NodeProto, TensorProto

from edgefuse.lint.finding import Finding, found
from edgefuse.lint.operators import INTEGER
from edgefuse.lint.quantization import dequantizes, is_quantization
from edgefuse.lint.scope import Scope, dtype_name, is_standard
from edgefuse.lint.target import PRECISIONS, Target, text

T = TensorProto
FLOATS = (T.FLOAT, T.FLOAT16, T.BFLOAT16, T.DOUBLE)
ALL = slice(None)
EQUAL: dict[str, slice] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Mean", "Sum", "Min", "Max", "PRelu", "Concat", "Einsum"), ALL),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), ALL),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "Attention"), slice(0, 3)),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization", "InstanceNormalization"), ALL),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), ALL),
    "Where": slice(1, 3),
}
"""Operators whose float inputs (these of them) must have one type. Each was refused by TensorRT-RTX 1.7.1 with two;
Pow, Clip, Pad and BatchNormalization were not."""
PRESENT = {*FLOATS, *PRECISIONS, T.UNDEFINED, T.INT8, T.INT32, T.INT64, T.BOOL}
REFUSED = {"HardSwish": (T.BFLOAT16,), "Range": (T.FLOAT16, T.BFLOAT16)}
"""Types that TensorRT has, but not in these operators."""
CASTS = ("Cast", "CastLike")
HALF_SCALES_FAIL = ((10, 16), (8, 7))
"""TensorRT version and compute capability of NVIDIA/TensorRT issue 4832; the same file builds on Thor."""


def check_types_of_inputs(scope: Scope, node: NodeProto, target: Target) -> Iterator[Finding]:
    """E6 and, of single operators, E10. TensorRT computes in float32 where the model says float64, so these two are
    equal to it."""
    if not is_standard(node):
        return
    yield from _refused(scope, node)
    if node.op_type not in EQUAL:
        return
    types = {name: scope.dtype(name) for name in node.input[EQUAL[node.op_type]]}
    floats = {name: T.FLOAT if dtype == T.DOUBLE else dtype for name, dtype in types.items() if dtype in FLOATS}
    if len(set(floats.values())) > 1:
        listed = ", ".join(f"{name!r} is {dtype_name(dtype)}" for name, dtype in floats.items())
        yield found(
            "E6",
            node,
            f"{listed}; expected one type: TensorRT refuses the graph",
            "Cast all of them to one type before this node (weights and scales are best stored in it).",
        )


def _refused(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    dtype = scope.dtype(node.input[0]) if node.input else T.UNDEFINED
    if dtype in REFUSED.get(node.op_type, ()):
        yield found(
            "E10",
            node,
            f"{node.input[0]!r} is {dtype_name(dtype)}; expected float32: TensorRT refuses {node.op_type} in that type",
            f"Cast to float32 before this {node.op_type}, and back after it.",
        )


def check_data_types(scope: Scope, target: Target) -> Iterator[Finding]:
    """E10, P4 and P5: once for each type of this graph, at the first node that has it."""
    uses: dict[int, list[tuple[NodeProto, str]]] = defaultdict(list)
    for node in scope.nodes:
        for name in filter(None, (*node.input, *node.output)):
            uses[scope.dtype(name)].append((node, name))
    for dtype, places in uses.items():
        if dtype in PRECISIONS:
            yield from _precision(dtype, places, target)
        elif dtype not in PRESENT:
            yield from _missing(scope, dtype, places)
    scales = [(node, name) for node, name in uses[T.FLOAT16] if dequantizes(node) and name == node.input[1]]
    if scales and (target.version[:2], target.compute_capability) == HALF_SCALES_FAIL:
        yield _half_scale(scales, target)


def _precision(dtype: int, places: list[tuple[NodeProto, str]], target: Target) -> Iterator[Finding]:
    name, tensorrt, capability = PRECISIONS[dtype]
    node, tensor = places[0]
    has = ""
    if target.version < tensorrt:
        has = f"TensorRT {text(tensorrt)}; the target has {target.tensorrt}"
    elif target.compute_capability and target.compute_capability < capability:
        has = f"compute capability {text(capability)}; the target has {text(target.compute_capability)}"
    if has:
        yield found(
            "P4",
            node,
            f"{tensor!r}{_more(places)} is {name}, which needs {has}",
            "Use float16 or int8 on this target.",
        )


def _missing(scope: Scope, dtype: int, places: list[tuple[NodeProto, str]]) -> Iterator[Finding]:
    """TensorRT has uint8 as an input or output of the model alone, next to a Cast. Of Q/DQ, E1 tells; of what computes
    on integers, E5."""
    refused = [(node, name) for node, name in places if not _is_allowed(scope, node, name)]
    if not refused:
        return
    node, name = refused[0]
    here = "but as an input or output next to a Cast," if dtype == T.UINT8 else "anywhere"
    yield found(
        "E10",
        node,
        f"{name!r}{_more(refused)} is {dtype_name(dtype)}, which TensorRT does not have {here} and refuses",
        "Cast to float32 first, right after the input, then transpose or slice."
        if dtype == T.UINT8
        else "Use float32, int32 or int64.",
    )


def _is_allowed(scope: Scope, node: NodeProto, name: str) -> bool:
    if is_quantization(node) or node.op_type in INTEGER:
        return True
    outermost = scope.maker(name) is None or name in {value.name for value in scope.graph.output}
    return scope.dtype(name) == T.UINT8 and node.op_type in CASTS and outermost


def _half_scale(scales: list[tuple[NodeProto, str]], target: Target) -> Finding:
    node, name = scales[0]
    return found(
        "P5",
        node,
        f"scale {name!r}{_more(scales)} is float16; expected float32: TensorRT {target.tensorrt} fails with it on "
        f"compute capability {text(target.compute_capability)} (could not infer output types for dequantize)",
        "Keep scales, and what is between INT8 operators, in float32.",
    )


def _more(places: list[tuple[NodeProto, str]]) -> str:
    others = len({name for _, name in places}) - 1
    return f" (and {others} more)" if others else ""
