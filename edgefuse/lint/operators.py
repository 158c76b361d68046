"""Operators, attributes and outputs that TensorRT does not have, on any target or on this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import NodeProto, TensorProto

from edgefuse.lint.finding import Finding, found, makes
from edgefuse.lint.quantization import is_quantization
from edgefuse.lint.scope import Scope, attribute, is_standard
from edgefuse.lint.target import SCATTER_REDUCTION, SINCE, Target

NAMES = """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
    BlackmanWindow Cast CastLike CausalConvWithState Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose
    Cos Cosh CumSum DeformConv DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten
    Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If
    ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual LinearAttention
    Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg
    NonMaxSuppression NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow QuantizeLinear RMSNormalization RNN
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RoiAlign RotaryEmbedding Round STFT ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape
    Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan
    Tanh TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor"""
IMPORTED = frozenset(NAMES.split())
"""What ``OnnxParser.supports_operator`` affirms in TensorRT-RTX 1.7.1 (of onnx 1.23's operators), and of
onnx-tensorrt's operators.md (8.5 to 10.15) DeformConv and the three of old opsets."""
INTEGER = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
PLUGINS = {"NonZero", "RoiAlign", "NonMaxSuppression", "DeformConv", "LinearAttention", "CausalConvWithState"}
FOREIGN = {"com.microsoft": {"QuantizeLinear", "DequantizeLinear", "Gelu"}}
"""Operators of another domain that are the standard ones, under which TensorRT reads them."""
COORDINATES = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
POOLS = ("MaxPool", "AveragePool", "LpPool")
ATTRIBUTES: tuple[tuple[tuple[str, ...], str, Any, tuple[Any, ...], str], ...] = (
    (
        ("ScatterND",),
        "reduction",
        "none",
        ("none",),
        "Write each index once, or sum with a product or ScatterElements.",
    ),
    (("Resize",), "antialias", 0, (0,), "Export with antialias=False, or resize before the model."),
    (("Resize",), "keep_aspect_ratio_policy", "stretch", ("stretch",), "Give the sizes that result, or scales."),
    (("Resize",), "coordinate_transformation_mode", "half_pixel", COORDINATES, "Use half_pixel or align_corners."),
    (POOLS, "dilations", (1,), (1,), "Pool without dilation, or over slices with a stride."),
    (("LpPool", "LpNormalization"), "p", 2, (1, 2), "Use the norm of 1 or 2, or write it out with Pow and a sum."),
    (("Attention",), "softcap", 0.0, (0.0,), "Export at opset 22 or lower, at which attention is written out."),
    (("BatchNormalization",), "training_mode", 0, (0,), "Export after model.eval()."),
)
"""Operators, attribute, its default, what TensorRT takes, and the cure (onnx-tensorrt's ``onnxOpCheckers.cpp``)."""
RECURRENT = ("LSTM", "GRU", "RNN")
CONSTANTS = {"Squeeze": (1,), "Unsqueeze": (1,), "Dropout": (2,), "STFT": (1, 2)}
"""Inputs that must be known when the engine is built; of every Reduce it is the axes."""
ONE_OUTPUT = {"MaxPool", "LayerNormalization", "BatchNormalization", "Attention"}
"""TensorRT makes the first output alone, and refuses a node with more even where nothing reads them."""


def check_operator(scope: Scope, node: NodeProto, target: Target) -> Iterator[Finding]:
    """E5, E7 to E9, W4 and W6; the operators' age is for ``parser.py``."""
    if not is_standard(node):
        yield from _foreign(node)
    elif node.op_type in INTEGER:
        yield found(
            "E5",
            node,
            f"{makes(node)} computes on integers; expected QuantizeLinear and DequantizeLinear around a float one: "
            "TensorRT refuses the graph",
            "Quantize in the Q/DQ format. In onnxruntime: quantize_static with QuantFormat.QDQ.",
        )
    elif node.op_type not in IMPORTED:
        yield found("E9", node, f"{makes(node)} is an operator that TensorRT does not have", _replace(node))
    else:
        yield from _outputs(node)
        yield from _recurrent(node)
        yield from _attributes(node)
        yield from _computed(scope, node)
        yield from _attention(scope, node)
        yield from _plugin(node, target)


def _replace(node: NodeProto) -> str:
    if node.op_type.startswith(("Sequence", "Optional", "SplitTo", "ConcatFrom")):
        return "Export with a fixed number of tensors: a Python loop that is unrolled, torch.stack or torch.cat."
    return f"Write the model without {node.op_type} and export it again, or do that step outside of the model."


def _foreign(node: NodeProto) -> Iterator[Finding]:
    if is_quantization(node) or node.op_type in FOREIGN.get(node.domain, ()):
        return
    if node.domain.startswith("trt"):
        if not node.op_type.startswith("TRT_"):
            yield _needs_plugin(node, "the plugin library that has it")
        return
    known = node.op_type in IMPORTED
    does = f"takes it for ONNX's own {node.op_type}" if known else "looks for a plugin of that name"
    yield found(
        "E9",
        node,
        f"{makes(node)} is of the domain {node.domain!r}; expected a standard operator: TensorRT {does}",
        "Export without it; of a file that onnxruntime optimized, use the one from before. Or load a TensorRT plugin.",
    )


def _outputs(node: NodeProto) -> Iterator[Finding]:
    extra = [name for name in node.output[1:] if name]
    if extra and node.op_type in ONE_OUTPUT:
        yield found(
            "E9",
            node,
            f"{node.op_type} also makes {extra[0]!r}; expected its first output alone, also if nothing reads the rest",
            "Remove that output (return_indices=False of a pool, eval mode of a normalization) and export again.",
        )


def _recurrent(node: NodeProto) -> Iterator[Finding]:
    if node.op_type in RECURRENT and attribute(node, "layout", 0) != 0:
        yield found(
            "E7",
            node,
            f"{node.op_type} has layout=1; expected 0: TensorRT ignores it, and takes the batch of {node.input[0]!r} "
            "for time without a word",
            "Export with layout 0 (time first) and a Transpose before and after, as torch.onnx does.",
        )
    if node.op_type == "LSTM" and attribute(node, "input_forget", 0) != 0:
        yield found(
            "E7",
            node,
            f"{makes(node)} has input_forget=1 (coupled gates); expected 0: TensorRT refuses the graph",
            "Store the input gate's weights as those of a plain LSTM, or write the cell out as single operators.",
        )


def _attributes(node: NodeProto) -> Iterator[Finding]:
    for operators, name, default, accepted, cure in ATTRIBUTES:
        if node.op_type not in operators:
            continue
        value = attribute(node, name, default)
        if any(item not in accepted for item in (value if isinstance(value, list | tuple) else (value,))):
            listed = ", ".join(map(str, accepted))
            message = f"{makes(node)} has {name}={value}; expected {listed}: TensorRT refuses the graph"
            yield found("E8", node, message, cure)


def _computed(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    places = (1,) if node.op_type.startswith("Reduce") else CONSTANTS.get(node.op_type, ())
    for name in (node.input[place] for place in places if place < len(node.input)):
        if name and not scope.is_fixed(name):
            yield found(
                "E8",
                node,
                f"{name!r} is computed at run time; expected a constant: TensorRT refuses the graph",
                "Make it a fixed number in the model's code and export again.",
            )


def _attention(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    if node.op_type == "Attention" and scope.dtype(node.input[0]) == TensorProto.FLOAT:
        yield found(
            "W4",
            node,
            f"{node.input[0]!r} is float32; expected float16 or bfloat16: TensorRT-RTX has no kernel for it and builds "
            "no engine",
            "Cast the inputs to float16, or export at opset 22 or lower, at which attention is written out.",
        )


def _plugin(node: NodeProto, target: Target) -> Iterator[Finding]:
    if node.op_type in PLUGINS and target.version >= SINCE.get(node.op_type, ()):
        yield _needs_plugin(node, "libnvinfer_plugin")
    if scatters_with_reduction(node) and target.version >= SCATTER_REDUCTION:
        yield _needs_plugin(node, "libnvinfer_plugin")


def scatters_with_reduction(node: NodeProto) -> bool:
    return node.op_type == "ScatterElements" and bool(attribute(node, "reduction", "none") != "none")


def _needs_plugin(node: NodeProto, library: str) -> Finding:
    return found(
        "W6",
        node,
        f"{makes(node)} is a plugin of TensorRT: it works where {library} is loaded, and fails in TensorRT-RTX",
        "Keep it if the target has that library (JetPack does), or do that step outside of the model.",
    )
