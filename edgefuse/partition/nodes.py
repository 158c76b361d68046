"""What is known of ONNX operators: what a node reads, which are cheap, whose output shape hangs on values."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from edgefuse.export.onnx_rules import STANDARD, subgraphs


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _words(
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike "
    "Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual "
    "HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or "
    "PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum "
    "Swish Tan Tanh ThresholdedRelu Where Xor"
)
MOVING = _words(
    "Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Reshape Resize Shape Size Slice "
    "SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Upsample"
)
CHEAP = ELEMENTWISE | MOVING
"""A branch may leave these to the trunk, where they are computed again at every step."""
PARAMETERS_ONLY = {"QuantizeLinear", "DequantizeLinear", "Resize", "Upsample"}
"""Their constants say how, they are no weights."""
BOOKKEEPING = {"Constant", "Identity", "QuantizeLinear", "DequantizeLinear"}

SHAPE_GIVERS = {
    "Reshape": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4), "Range": (0, 1, 2), "ConstantOfShape": (0,), "Tile": (1,),
    "Pad": (1, 3), "Resize": (1, 2, 3), "Upsample": (1,), "TopK": (1,), "OneHot": (1,), "Split": (1,), "Squeeze": (1,),
    "Unsqueeze": (1,), "ReduceL1": (1,), "ReduceL2": (1,), "ReduceLogSum": (1,), "ReduceLogSumExp": (1,),
    "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,), "ReduceProd": (1,), "ReduceSum": (1,),
    "ReduceSumSquare": (1,), "AffineGrid": (1,), "SequenceAt": (1,), "SplitToSequence": (1,),
}  # fmt: skip
"""Inputs whose values decide the shape of the output."""
SHAPE_FOLLOWS = CHEAP | _words(
    "AffineGrid ArgMax ArgMin Attention AveragePool BatchNormalization ConcatFromSequence Constant ConstantOfShape "
    "Conv ConvInteger ConvTranspose CumSum Det DynamicQuantizeLinear Einsum EyeLike GRU Gemm GlobalAveragePool "
    "GlobalLpPool GlobalMaxPool GridSample GroupNormalization Hardmax InstanceNormalization LRN LSTM "
    "LayerNormalization LogSoftmax LpNormalization LpPool MatMul MatMulInteger MaxPool MaxRoiPool "
    "MeanVarianceNormalization OneHot QLinearConv QLinearMatMul RMSNormalization RNN Range ReduceL1 ReduceL2 "
    "ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare ReverseSequence "
    "RoiAlign RotaryEmbedding Scatter ScatterElements ScatterND SequenceAt SequenceConstruct Softmax SplitToSequence "
    "TopK"
)
"""The shape of the output follows from the shapes of the inputs and the values in ``SHAPE_GIVERS``, nothing else."""


def reads(node: onnx.NodeProto) -> list[str]:
    """Tensors that *node* needs, each once: its inputs, and what its bodies take from outside, however deep."""
    return list(dict.fromkeys([name for name in node.input if name] + [*_captured(node)]))


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    for body in subgraphs(node):
        made = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        made |= {tensor.values.name for tensor in body.sparse_initializer}
        made |= {name for inner in body.node for name in inner.output}
        wanted = [name for inner in body.node for name in reads(inner)] + [value.name for value in body.output]
        yield from (name for name in wanted if name not in made)


def is_standard(node: onnx.NodeProto) -> bool:
    return node.domain in STANDARD


def key(node: onnx.NodeProto) -> str:
    """What a node is called in :func:`edgefuse.partition.node_parts`: its name, or else its first output's."""
    return node.name or next((name for name in node.output if name), "")
