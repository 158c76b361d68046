"""Where the quantization lies: what keeps a convolution or product in INT8, and what silently does not.

Which operators carry integers onwards, and which axis a weight's scales must have, was measured with TensorRT-RTX
1.7.1, whose build log names every kernel with its types. The axis of ConvTranspose is NVIDIA's documentation: that
version runs every ConvTranspose in float.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from edgefuse.lint.finding import Finding, found, label
from edgefuse.lint.quantization import QUANTIZE, dequantizes, is_quantization
from edgefuse.lint.scope import Scope, attribute, is_standard
from edgefuse.lint.target import Target

CONVOLUTIONS, PRODUCTS = ("Conv", "ConvTranspose"), ("Gemm", "MatMul")
WEIGHTED = CONVOLUTIONS + PRODUCTS
CARRIERS = {"MaxPool", "Pad", "Transpose", "Slice", "Split", "Identity", "Dropout", "Flatten", "Reshape"}
CARRIERS |= {"Squeeze", "Unsqueeze", "Expand", "Tile", "Gather", "DepthToSpace", "SpaceToDepth", "GlobalMaxPool"}
"""They move values, so int8 passes them. Relu, Clip, AveragePool and Resize end it."""
FUSED = ("Relu", "Clip", "LeakyRelu", "PRelu", "BatchNormalization")


def check_placement(scope: Scope, node: NodeProto, target: Target) -> Iterator[Finding]:
    """W1 of weights, W2, W5 and W7."""
    if is_quantization(node):
        yield from _before_activation(scope, node)
    elif is_standard(node) and node.op_type in WEIGHTED and len(node.input) >= 2:
        yield from _one_sided(scope, node)
        yield from _weight_axis(scope, node)
    elif is_standard(node) and node.op_type == "Concat":
        yield from _unequal_scales(scope, node)


def _before_activation(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    made = scope.maker(node.input[0])
    if node.op_type != QUANTIZE or made is None or not _ends_product(scope, made):
        return
    readers = (reader for dequantize in scope.readers[node.output[0]] for reader in _readers(scope, dequantize))
    activation = next((reader for reader in readers if reader.op_type in FUSED), None)
    if activation is not None:
        yield found(
            "W2",
            node,
            f"{node.input[0]!r} is quantized between {label(made)!r} and {label(activation)!r}; expected nothing "
            "there: it rounds twice and keeps the two from fusing",
            f"Quantize {activation.output[0]!r} instead. In onnxruntime: OpTypesToExcludeOutputQuantization.",
        )


def _ends_product(scope: Scope, node: NodeProto) -> bool:
    """A convolution, a product, or the Add of a product's bias."""
    if node.op_type != "Add":
        return node.op_type in WEIGHTED
    makers = [scope.maker(name) for name in node.input if not scope.is_fixed(name)]
    return len(makers) == 1 and makers[0] is not None and makers[0].op_type == "MatMul"


def _readers(scope: Scope, node: NodeProto) -> list[NodeProto]:
    return scope.readers[node.output[0]] if dequantizes(node) else []


def _one_sided(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    """Of a product whose weight alone is quantized, TensorRT reads the weight as integers, which is worth having."""
    left, right = node.input[:2]
    sides = (_is_quantized(scope, left), _is_quantized(scope, right))
    if sides[0] == sides[1] or scope.is_fixed(left):
        return
    if node.op_type in PRODUCTS and sides[1] and scope.is_fixed(right):
        return
    there, missing = (left, right) if sides[0] else (right, left)
    yield found(
        "W7",
        node,
        f"{there!r} is quantized and {missing!r} is not; expected both or neither: it runs in float, without a word",
        f"Quantize {missing!r} as well, right before this node, or take the quantization from {there!r}.",
    )


def _is_quantized(scope: Scope, name: str) -> bool:
    node = scope.maker(name)
    while node is not None and node.op_type in CARRIERS:
        node = scope.maker(node.input[0])
    if node is not None and node.op_type == "Concat":
        return all(_is_quantized(scope, source) for source in dict.fromkeys(node.input))
    return dequantizes(node)


def _weight_axis(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    name = node.input[1]
    made, turns = scope.maker(name), []
    while made is not None and made.op_type == "Transpose":
        turns.append(attribute(made, "perm", []))
        made = scope.maker(made.input[0])
    if not dequantizes(made) or not scope.is_fixed(name):
        return
    scale, rank = scope.constant(made.input[1]), scope.rank(made.input[0])
    if scale is None or scale.size <= 1 or scale.ndim != 1 or not rank:
        return
    actual = attribute(made, "axis", 1) % rank
    for perm in reversed(turns):
        actual = list(perm).index(actual) if actual in perm else rank - 1 - actual  # no perm: all axes reversed
    wanted = _output_axis(node, rank)
    if wanted is not None and actual != wanted:
        yield found(
            "W1",
            node,
            f"weight {made.input[0]!r} has one scale ({made.input[1]!r}) for each index of axis {actual}; expected "
            f"axis {wanted}, the output channels: it runs in float, without a word",
            f"Quantize the weight along axis {wanted}, or with one scale for all of it.",
        )


def _output_axis(node: NodeProto, rank: int) -> int | None:
    """The axis of the output channels in the weight as this node reads it."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attribute(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return rank - 1


def _unequal_scales(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    inputs = [made for made in map(scope.maker, node.input) if dequantizes(made)]
    readers = scope.readers[node.output[0]]
    around = inputs + [reader for reader in readers if reader.op_type == QUANTIZE and is_quantization(reader)]
    known = [(item, scope.constant(item.input[1])) for item in around if inputs]
    scales = {label(item): float(value) for item, value in known if value is not None and value.size == 1}
    if len(set(scales.values())) > 1:
        listed = ", ".join(f"{value:.4g} ({name})" for name, value in scales.items())
        yield found(
            "W5",
            node,
            f"the scales around {node.output[0]!r} are {listed}; expected one: each other one quantizes again",
            "Give all its quantized inputs, and what quantizes its output, the largest scale; or leave it in float.",
        )
