"""Makes what depends on sensors in form only, by static shapes or by stacking and indexing again, independent of them.

Every rewrite keeps the names of tensors and every bit of their values; the model that was given stays as it is.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from edgefuse.export.fold import fold_constants
from edgefuse.partition.nodes import key
from edgefuse.partition.reach import takes_shape
from edgefuse.partition.stack import index_before_stacking
from edgefuse.partition.tensors import Facts, infer, read_facts
from edgefuse.quantize.graph import Graph, attribute
from edgefuse.spec import Array, DimRange, ModelSpec, TensorSpec

MAX_ROUNDS = 8
"""A constant shape can make further shapes known; exported models needed at most 2 rounds."""


def simplify(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """A copy of *model* with the spec's input shapes, every node named, and the rewrites of ``docs/partition.md``."""
    simple = onnx.ModelProto()
    simple.CopyFrom(model)
    _name_nodes(simple.graph)
    _fix_inputs(simple.graph, spec)
    for _ in range(MAX_ROUNDS):
        facts = read_facts(infer(simple), spec)
        indexed = index_before_stacking(simple, facts)
        if _known_shapes_to_constants(simple, facts):
            simple = _folded(simple)
        elif not indexed:
            break
    return simple


def _name_nodes(graph: onnx.GraphProto) -> None:
    """A name of its own for every node: what :func:`key` says, with underscores behind it where another has that."""
    taken, seen = {node.name for node in graph.node}, {""}
    for node in graph.node:
        if node.name in seen:
            name = key(node) or node.op_type
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def _fix_inputs(graph: onnx.GraphProto, spec: ModelSpec) -> None:
    inputs = {item.name: item for item in spec.inputs}
    for value in graph.input:
        if value.name in inputs:
            _fix_shape(value.type.tensor_type, inputs[value.name])


def _fix_shape(tensor: onnx.TypeProto.Tensor, spec: TensorSpec) -> None:
    old = [dim.dim_param for dim in tensor.shape.dim] if tensor.HasField("shape") else []
    tensor.shape.ClearField("dim")
    for i, dim in enumerate(spec.shape):
        if isinstance(dim, DimRange):
            name = old[i] if len(old) == len(spec.shape) and old[i] else f"{spec.name}_{i}"
            tensor.shape.dim.add(dim_param=name)
        else:
            tensor.shape.dim.add(dim_value=dim)


def _known_shapes_to_constants(model: onnx.ModelProto, facts: dict[str, Facts]) -> int:
    """Replace Shape and Size, and the Gather of known places of a Shape, by constants; returns how many."""
    graph, count = Graph(model), 0
    for node in model.graph.node:
        value = _known_shape(node, graph, facts)
        if value is not None:
            constant = onnx.helper.make_node("Constant", [], list(node.output), name=node.name)
            constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=numpy_helper.from_array(value))
            node.CopyFrom(constant)
            count += 1
    return count


def _known_shape(node: onnx.NodeProto, graph: Graph, facts: dict[str, Facts]) -> Array | None:
    if takes_shape(node):
        dims = _shape_dims(node, facts)
        known = [dim for dim in dims or () if isinstance(dim, int)]
        if dims is None or len(known) < len(dims):
            return None
        return np.array(known, np.int64) if node.op_type == "Shape" else np.array(np.prod(known, dtype=np.int64))
    return _gathered_dims(node, graph, facts)


def _shape_dims(node: onnx.NodeProto, facts: dict[str, Facts]) -> tuple[object, ...] | None:
    dims = facts.get(node.input[0], Facts()).dims
    if dims is None or node.op_type == "Size":
        return dims
    return dims[slice(attribute(node, "start", 0), attribute(node, "end", len(dims)))]


def _gathered_dims(node: onnx.NodeProto, graph: Graph, facts: dict[str, Facts]) -> Array | None:
    if node.op_type != "Gather" or attribute(node, "axis", 0) or node.input[0] not in graph.makers:
        return None
    shape, indices = graph.makers[node.input[0]], graph.constant(node.input[1])
    dims = _shape_dims(shape, facts) if shape.op_type == "Shape" else None
    if dims is None or indices is None or not all(-len(dims) <= i < len(dims) for i in indices.flat):
        return None
    picked = [dims[i] for i in indices.flat]
    known = [dim for dim in picked if isinstance(dim, int)]
    return np.array(known, np.int64).reshape(indices.shape) if len(known) == len(picked) else None


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    folded = ir.from_proto(model)
    fold_constants(folded)
    return ir.to_proto(folded)
