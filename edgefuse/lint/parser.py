"""What the ONNX parser of the target's TensorRT version is too old for."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from edgefuse.lint.finding import RULES, Finding, found, makes
from edgefuse.lint.operators import scatters_with_reduction
from edgefuse.lint.scope import Scope, is_standard
from edgefuse.lint.target import ATTENTION, OLDEST_OPSET, REDUCE_AXES, SCATTER_REDUCTION, SINCE, Target, Version, text


def check_opset(scope: Scope, target: Target) -> Iterator[Finding]:
    """W3, once for the model. No parser refuses a number: TensorRT-RTX 1.7.1 took opsets 5 to 27 of one graph. It reads
    each operator as the newest version that it knows, so what breaks is single operators (P1 to P3)."""
    if scope.parent is None and not OLDEST_OPSET <= scope.opset <= target.newest_opset:
        severity = RULES["W3"][0]
        yield Finding(
            "W3",
            severity,
            scope.graph.name or "the graph",
            "",
            f"the model's opset is {scope.opset}; TensorRT {target.tensorrt} documents {OLDEST_OPSET} to "
            f"{target.newest_opset}: operators that changed since may be read in their old meaning",
            f"Export at opset {min(18, target.newest_opset)}, or use onnx.version_converter.",
        )


def check_age(scope: Scope, node: NodeProto, target: Target) -> Iterator[Finding]:
    """P1 to P3."""
    if not is_standard(node):
        return
    if _has_axes_input(node) and scope.is_fixed(node.input[1]) and target.version < REDUCE_AXES:
        yield found(
            "P1",
            node,
            f"the axes {node.input[1]!r} are an input; expected an attribute: TensorRT {target.tensorrt} ignores them "
            "and reduces over all axes, without a word",
            "Export at opset 17, in which the axes are an attribute.",
        )
    if target.version < SINCE.get(node.op_type, ()):
        lower = "Export at a lower opset, at which it is written out as single operators, or update JetPack."
        yield _too_new("P2", node, "", SINCE[node.op_type], target, lower)
    if scatters_with_reduction(node) and target.version < SCATTER_REDUCTION:
        cure = "Write each index once, or sum with a product."
        yield _too_new("P2", node, " with a reduction", SCATTER_REDUCTION, target, cure)
    if node.op_type == "Attention" and target.version < ATTENTION:
        cure = "Export at opset 22 or lower, at which attention is MatMul, Softmax and MatMul."
        yield _too_new("P3", node, "", ATTENTION, target, cure)


def _has_axes_input(node: NodeProto) -> bool:
    """ReduceSum's are one since opset 13, which every parser knows."""
    return node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and any(node.input[1:])


def _too_new(rule: str, node: NodeProto, what: str, since: Version, target: Target, cure: str) -> Finding:
    return found(
        rule, node, f"{makes(node)}{what} needs TensorRT {text(since)}; the target has {target.tensorrt}", cure
    )
