"""Which kernels TensorRT-RTX chose, read from its VERBOSE build log; no GPU is needed for it.

Near its end the log holds one message "Layers:" with a line for every kernel (TensorRT-RTX 1.7.1.116):

    Name: n_conv_myl0_1, LayerType: correlation, Inputs: [ { Name: …, Datatype: Int8, … } ], Constants: [ { …,
    Dimensions: [32,32,3,3], …, Datatype: Int8, … }, … ], Outputs: [ … ], TacticName: …, Metadata: [ONNX Layer: conv]…

Metadata names the ONNX nodes. A product runs in INT8 where the kernel that *is* the product (``PRODUCTS``) reads Int8
on both sides. A generated kernel that reads Int8 proves nothing: "CastMulCastMulCastFc" dequantizes, then multiplies
in float. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TITLE = "Layers:"
INT8 = "Int8"
PRODUCTS = frozenset({"correlation", "gemm", "deconv"})
GENERATED = frozenset({"kgen", "runtime_fusion"})

LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"(?:Constants: \[(?P<constants>.*?)\], )?Outputs: \[(?P<outputs>.*?)\], TacticName: "
)
TENSOR = re.compile(r"Dimensions: \[(?P<dims>[-\d,]*)\].*?Datatype: (?P<dtype>\w+)")
NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
PRODUCT = r"(?:Fc|MulSum)"
DEQUANTIZED_PRODUCT = re.compile(rf"(?<!Roun)Cast.*{PRODUCT}")
"""Operations of a generated kernel, in order: DQ is Cast (and Mul), Q ends in RounCast, a product is Fc or MulSum."""


@dataclass(frozen=True)
class Operand:
    dtype: str
    dims: tuple[int, ...]

    @property
    def single(self) -> bool:
        return all(dim == 1 for dim in self.dims)


@dataclass(frozen=True)
class Kernel:
    """One line of the log. ``nodes`` are the ONNX nodes that it computes, or computes a part of."""

    name: str
    kind: str
    inputs: tuple[Operand, ...]
    constants: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    nodes: tuple[str, ...]

    @property
    def factors(self) -> tuple[str, str]:
        """Types of the two things that a product multiplies: the first input, and the weights or the second input.

        Constants begin with the weights, or with the scalars alpha and beta where both factors are inputs (weights
        that a kernel before this one dequantized are an input).
        """
        weights = [operand for operand in self.constants[:1] if not operand.single or operand.dtype == INT8]
        second = [*weights, *self.inputs[1:2]]
        return (_dtype(self.inputs), _dtype(second))

    @property
    def multiplies_floats(self) -> bool:
        """Whether this is a generated kernel with a product of values that it dequantized, or that never were int8."""
        if self.kind not in GENERATED or not re.search(PRODUCT, self.name):
            return False
        integers = any(operand.dtype == INT8 for operand in (*self.inputs, *self.constants))
        return not integers or DEQUANTIZED_PRODUCT.search(self.name) is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "kernel": self.name,
            "kind": self.kind,
            "nodes": list(self.nodes),
            "inputs": list(self.factors),
            "output": _dtype(self.outputs),
        }


def read_kernels(messages: Sequence[str]) -> list[Kernel]:
    """Every kernel that the log's *messages* list; lines of another form are passed over."""
    lines = [line for message in messages if message.startswith(TITLE) for line in message.splitlines()]
    found = [(match, line) for line in lines if (match := LINE.match(line))]
    return [
        Kernel(
            match["name"],
            match["kind"],
            _operands(match["inputs"]),
            _operands(match["constants"] or ""),
            _operands(match["outputs"]),
            tuple(NODE.findall(line[match.end() :])),
        )
        for match, line in found
    ]


def _dtype(operands: Sequence[Operand]) -> str:
    return operands[0].dtype if operands else "?"


def _operands(text: str) -> tuple[Operand, ...]:
    return tuple(
        Operand(match["dtype"], tuple(int(dim) for dim in match["dims"].split(",") if dim))
        for match in TENSOR.finditer(text)
    )


def judge_node(node: str, kernels: Sequence[Kernel]) -> str | None:
    """What the product of ONNX node *node* was computed in: "Int8", another type, or None where the log does not tell.

    Two nodes of one name are judged together, and by the worse.
    """
    shown = node.split("]")[0]  # the log's own bracket ends a name that contains one
    mine = [kernel for kernel in kernels if shown in kernel.nodes]
    products = [kernel for kernel in mine if kernel.kind in PRODUCTS]
    floats = [dtype for kernel in products for dtype in kernel.factors if dtype != INT8]
    if products:
        return floats[0] if floats else INT8
    generated = next((kernel for kernel in mine if kernel.multiplies_floats), None)
    return f"{_dtype(generated.outputs)} (in {generated.kind} {generated.name})" if generated else None


def classify(nodes: Sequence[str], kernels: Sequence[Kernel]) -> dict[str, list[Any]]:
    """``int8``: the *nodes* proven to run in INT8; ``fallback``: those that do not; ``unknown``: neither."""
    judged = {node: judge_node(node, kernels) for node in nodes}
    return {
        "int8": [node for node, dtype in judged.items() if dtype == INT8],
        "fallback": [{"node": node, "ran_as": dtype} for node, dtype in judged.items() if dtype not in (INT8, None)],
        "unknown": [node for node, dtype in judged.items() if dtype is None],
    }
