"""Each QuantizeLinear and DequantizeLinear by itself: its type, zero point and scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

import numpy as np
from onnx import NodeProto, TensorProto

from edgefuse.lint.finding import Finding, found
from edgefuse.lint.scope import Scope, attribute, dtype_name
from edgefuse.lint.target import Target

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
ACCEPTED = (
    TensorProto.UNDEFINED,
    TensorProto.INT8,
    TensorProto.INT4,
    TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT4E2M1,
)
"""What TensorRT quantizes to, or shape inference could not tell; P4 asks whether the target computes with it."""
SYMMETRIC = "Quantize symmetrically to int8. In onnxruntime: activation_type=QInt8, ActivationSymmetric=True."


def is_quantization(node: NodeProto) -> bool:
    """Of any domain: TensorRT's parser reads the operator's name alone."""
    return node.op_type in (QUANTIZE, DEQUANTIZE) and len(node.input) >= 2 and len(node.output) == 1


def dequantizes(node: NodeProto | None) -> TypeGuard[NodeProto]:
    return node is not None and node.op_type == DEQUANTIZE and is_quantization(node)


def check_quantization(scope: Scope, node: NodeProto, target: Target) -> Iterator[Finding]:
    """E1 to E4, and W1 of activations. What several nodes share is told once, at the first of them."""
    if not is_quantization(node):
        return
    if node.op_type == DEQUANTIZE and scope.dtype(node.input[0]) == TensorProto.INT32:
        yield _int32_bias(node)
        return
    zero_point = node.input[2] if len(node.input) > 2 else ""
    if not zero_point:
        yield from _without_zero_point(scope, node)
    elif scope.readers[zero_point][0] is node:
        yield from _zero_point(scope, node, zero_point)
    if scope.readers[node.input[1]][0] is node:
        yield from _scale(scope, node, node.input[1])
        yield from _scale_of_activation(scope, node, node.input[1])


def _int32_bias(node: NodeProto) -> Finding:
    return found(
        "E4",
        node,
        f"{node.input[0]!r} is int32; expected int8: TensorRT refuses to dequantize an int32 bias",
        "Leave biases in float32. In onnxruntime: extra_options={'QuantizeBias': False}.",
    )


def _without_zero_point(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    """The type is then that of the integers, or QuantizeLinear's ``output_dtype`` (opset 21), which is uint8 unless
    given."""
    if node.op_type == DEQUANTIZE:
        made = scope.maker(node.input[0])
        if made is not None and made.op_type == QUANTIZE:
            return  # told there
        name, dtype = node.input[0], scope.dtype(node.input[0])
    else:
        name, dtype = node.output[0], attribute(node, "output_dtype", TensorProto.UNDEFINED)
        if dtype == TensorProto.UNDEFINED:
            yield found(
                "E2",
                node,
                f"{node.input[0]!r} is quantized without a zero point, which in ONNX means uint8; expected int8 and 0. "
                + _effect(scope, node, TensorProto.UINT8),
                "Add the zero point: int8, 0, of the scale's shape; and make the scale for ±127.",
            )
    if dtype not in ACCEPTED:
        yield _wrong_type(scope, node, f"{name!r}", dtype)


def _zero_point(scope: Scope, node: NodeProto, name: str) -> Iterator[Finding]:
    what, dtype = f"zero point {name!r}{_shared(scope, name)}", scope.dtype(name)
    if dtype not in ACCEPTED:
        yield _wrong_type(scope, node, what, dtype)
    if not scope.is_fixed(name):
        yield found("E2", node, f"{what} is computed at run time; expected the constant 0: no engine", SYMMETRIC)
        return
    value = scope.constant(name)
    if value is not None and (wrong := value[value != 0]).size:
        yield found("E2", node, f"{what} holds {wrong[0]}; expected 0: TensorRT refuses the graph", SYMMETRIC)


def _wrong_type(scope: Scope, node: NodeProto, what: str, dtype: int) -> Finding:
    return found("E1", node, f"{what} is {dtype_name(dtype)}; expected int8. {_effect(scope, node, dtype)}", SYMMETRIC)


def _effect(scope: Scope, node: NodeProto, dtype: int) -> str:
    if dtype != TensorProto.UINT8:
        return "TensorRT refuses the graph, or takes the integers for int8."
    scale = scope.constant(node.input[1])
    top = f", {127 * float(scale.max()):.4g}," if scale is not None and scale.size else ""
    return f"TensorRT takes it for int8 with the same scale: all above 127 × scale{top} saturates, without an error."


def _scale(scope: Scope, node: NodeProto, name: str) -> Iterator[Finding]:
    what = f"scale {name!r}{_shared(scope, name)}"
    if not scope.is_fixed(name):
        yield found(
            "E3",
            node,
            f"{what} is computed at run time; expected a constant: building the engine crashes",
            "Calibrate, and store the scale as an initializer (static quantization).",
        )
        return
    value = scope.constant(name)
    if value is None:
        return
    numbers = value.astype(np.float64)
    bad = numbers[~(np.isfinite(numbers) & (numbers > 0))]
    if bad.size:
        yield found(
            "E3",
            node,
            f"{what} holds {bad[0]:g} ({bad.size} of {numbers.size} values); expected positive, finite numbers",
            "Calibrate on samples in which the tensor varies and is finite, or leave it in float.",
        )


def _scale_of_activation(scope: Scope, node: NodeProto, name: str) -> Iterator[Finding]:
    if scope.is_fixed(node.input[0]) or not scope.rank(name):
        return
    value = scope.constant(name)
    shape = "of one axis" if value is None else f"of shape {list(value.shape)}"
    yield found(
        "W1",
        node,
        f"activation {node.input[0]!r} has the scale {name!r}{_shared(scope, name)} {shape}; expected a scalar, of "
        "shape []: what reads it runs in float, without a word",
        "Quantize activations per tensor, with a scale and zero point of shape [].",
    )


def _shared(scope: Scope, name: str) -> str:
    count = len(scope.readers[name])
    return f" (read by {count} nodes)" if count > 1 else ""
