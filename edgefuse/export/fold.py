"""Replaces what depends on constants alone by its value: an exported LSTM carries 18 such nodes around its
weights.

onnxruntime computes the values, all in one session, so that folding cannot disagree with the reference
runner.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from edgefuse.backends.onnxruntime import open_session
from edgefuse.spec import Array

MAX_GROWTH_BYTES = 1 << 20
"""A folded value may exceed the values that it is made from by this much; ``Expand`` of a scalar may not."""
KEPT = {
    "DequantizeLinear",
    "QuantizeLinear",
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
    "Constant",
}
"""Quantization must stay visible; random values are not constants; a Constant is one already."""


def fold_constants(model: ir.Model) -> int:
    """Fold *model* in place; returns how many nodes went away."""
    before = len(model.graph)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    values = _constant_values(model.graph)
    wanted = [value for value in values if _is_read_by_others(value, values)]
    if wanted:
        arrays = _evaluate(model, wanted)
        kept = [(value, array) for value, array in zip(wanted, arrays) if array.nbytes <= _limit_bytes(value)]
        _replace(model.graph, kept)
    passes.RemoveUnusedNodesPass()(model)
    return before - len(model.graph)


def _limit_bytes(value: ir.Value) -> int:
    """What the folded value may take: as much as the initializers that it is made from, and a little more."""
    sources = {source for node in _ancestors(value) for source in node.inputs if source and source.is_initializer()}
    return MAX_GROWTH_BYTES + sum(source.const_value.nbytes for source in sources if source.const_value)


def _ancestors(value: ir.Value) -> set[ir.Node]:
    pending, found = [value.producer()], set()
    while pending:
        node = pending.pop()
        if node is not None and node not in found:
            found.add(node)
            pending.extend(source.producer() for source in node.inputs if source is not None)
    return found


def _constant_values(graph: ir.Graph) -> dict[ir.Value, None]:
    """Outputs of foldable nodes, in the graph's order (a dict keeps it)."""
    found: dict[ir.Value, None] = {}
    for node in graph:
        if _foldable(node) and all(value is None or value in found or _is_constant(value) for value in node.inputs):
            found.update(dict.fromkeys(node.outputs))
    return found


def _foldable(node: ir.Node) -> bool:
    plain = node.domain in ("", "ai.onnx") and node.op_type not in KEPT
    subgraphs = any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())
    return plain and not subgraphs and bool(node.inputs)


def _is_constant(value: ir.Value) -> bool:
    return value.is_initializer() and not value.is_graph_input()


def _is_read_by_others(value: ir.Value, values: dict[ir.Value, None]) -> bool:
    """Whether a node that is not folded reads *value*. An output stays as it is: it must keep its name."""
    return not value.is_graph_output() and any(
        output not in values for use in value.uses() for output in use.node.outputs
    )


def _evaluate(model: ir.Model, wanted: list[ir.Value]) -> list[Array]:
    """The values, computed by onnxruntime from a model of the constant nodes alone."""
    part = ir.Model(ir.convenience.extract(model.graph, [], wanted), ir_version=model.ir_version)
    # Optimized, its own folder would do it all again.
    session = open_session(ir.to_proto(part).SerializeToString(), optimize="none")
    return list(session.run([value.name for value in wanted], {}))


def _replace(graph: ir.Graph, folded_values: list[tuple[ir.Value, Array]]) -> None:
    for value, array in folded_values:
        folded = ir.Value(
            name=f"{value.name}_folded",
            type=value.type,
            shape=ir.Shape(array.shape),
            const_value=ir.tensor(np.ascontiguousarray(array), name=f"{value.name}_folded"),
        )
        graph.register_initializer(folded)
        value.replace_all_uses_with(folded)
