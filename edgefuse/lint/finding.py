"""What the linter knows (``RULES``) and what it says (``Finding``).

The letter of a rule tells its severity: **E** TensorRT refuses the graph, or computes something else than it says;
**P** the same, of the target's TensorRT version or GPU; **W** it builds, but not as the graph asks, or under a
condition. ``docs/lint.md`` has the sources.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from onnx import NodeProto

ERROR, WARNING = "error", "warning"

RULES: dict[str, tuple[str, str]] = {
    "E1": (ERROR, "the quantized type is not int8 (uint8 saturates without a word)"),
    "E2": (ERROR, "a zero point is missing, not zero or not constant"),
    "E3": (ERROR, "a scale is not positive, not finite or not constant"),
    "E4": (ERROR, "an int32 bias is dequantized"),
    "E5": (ERROR, "an operator that computes on integers (QLinear…, …Integer, DynamicQuantizeLinear)"),
    "E6": (ERROR, "floats of different types meet in one operator"),
    "E7": (ERROR, "LSTM, GRU or RNN with layout=1 (ignored) or input_forget=1"),
    "E8": (ERROR, "an attribute or input value that the parser refuses (ScatterND reduction, Resize antialias …)"),
    "E9": (ERROR, "an operator or output that TensorRT does not have, or one of another domain"),
    "E10": (ERROR, "a data type that TensorRT does not have, or uint8 inside the graph"),
    "P1": (ERROR, "the target's parser ignores the axes of Reduce… where they are an input (before TensorRT 9)"),
    "P2": (ERROR, "the target's parser does not know the operator yet"),
    "P3": (ERROR, "the target's parser does not know Attention yet (before TensorRT 10.14)"),
    "P4": (ERROR, "the target's TensorRT or GPU lacks the precision (FP8, FP4, INT4, BF16)"),
    "P5": (ERROR, "float16 scales fail on Orin with TensorRT 10.16"),
    "W1": (WARNING, "an activation's scale is no scalar, or a weight's lies on the wrong axis: float, not INT8"),
    "W2": (WARNING, "quantization between a convolution or product and its activation"),
    "W3": (WARNING, "the opset is outside what the target's parser documents"),
    "W4": (WARNING, "Attention in float32"),
    "W5": (WARNING, "unequal scales meet in one Concat"),
    "W6": (WARNING, "the operator needs TensorRT's plugin library"),
    "W7": (WARNING, "only one side of a convolution or product is quantized: float, not INT8"),
}
"""Rule → severity and title. E1 to E9 and W1 to W5 are named as in the project's facts (tensorrt.md, 1.7)."""


@dataclass(frozen=True)
class Finding:
    """One breach of ``rule``. ``node`` is the node's name, or its operator and first output where it has none."""

    rule: str
    severity: str
    node: str
    op: str
    message: str
    cure: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def found(rule: str, node: NodeProto, message: str, cure: str) -> Finding:
    return Finding(rule, RULES[rule][0], label(node), node.op_type, message, cure)


def label(node: NodeProto) -> str:
    return node.name or f"{node.op_type} → {next(iter(node.output), '')}"


def makes(node: NodeProto) -> str:
    """``Unique, which makes 'y',`` for messages about a node as a whole."""
    return f"{node.op_type}, which makes {', '.join(repr(name) for name in node.output if name)},"
