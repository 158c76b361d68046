"""One graph of a model, indexed for the rules: the main one, or the body of an If, Loop or Scan inside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, defs, helper, numpy_helper
from onnx.external_data_helper import uses_external_data
from onnx.reference import ReferenceEvaluator

from edgefuse.errors import ModelError
from edgefuse.export.onnx_rules import STANDARD, opset_of
from edgefuse.spec import Array

EVALUATED = {"Constant", "Identity", "Cast", "Reshape", "Add", "Sub", "Mul", "Div", "Max", "Min", "Abs"}
"""What exporters compute scales with. A constant that another operator makes has no value here, only the name."""


@dataclass(frozen=True)
class Scope:
    """``fixed`` names what depends on constants alone, which TensorRT resolves as it builds. ``folder`` has the
    external data. Names that a body captures are looked up in ``parent``."""

    graph: GraphProto
    opset: int
    folder: Path
    parent: Scope | None
    nodes: tuple[NodeProto, ...]
    makers: dict[str, NodeProto]
    readers: dict[str, list[NodeProto]]
    initializers: dict[str, TensorProto]
    types: dict[str, TypeProto.Tensor]
    fixed: frozenset[str]

    def maker(self, name: str) -> NodeProto | None:
        """The node that writes *name*, also one outside of this body."""
        owner = self._owner(name)
        return owner.makers.get(name) if owner else None

    def is_fixed(self, name: str) -> bool:
        owner = self._owner(name)
        return owner is not None and name in owner.fixed

    def constant(self, name: str) -> Array | None:
        """The value of *name* where that can be told: an initializer, or a little arithmetic on some."""
        owner = self._owner(name)
        if owner is None or name not in owner.fixed:
            return None
        if name in owner.initializers:
            return _read(owner.initializers[name], owner.folder)
        return owner._evaluated(name, owner.makers[name])

    def _evaluated(self, name: str, node: NodeProto) -> Array | None:
        if node.op_type not in EVALUATED or node.domain not in STANDARD:
            return None
        inputs = {source: self.constant(source) for source in node.input}
        if any(value is None for value in inputs.values()):
            return None
        try:
            outputs: Any = ReferenceEvaluator(node).run(None, inputs)
        except (ValueError, TypeError, RuntimeError):  # shapes or types that do not fit: not a graph that runs at all
            return None
        return np.asarray(outputs[list(node.output).index(name)])

    def dtype(self, name: str) -> int:
        """The element type as in ``TensorProto.DataType``; 0 where shape inference could not tell."""
        owner = self._owner(name)
        if owner is None:
            return 0
        tensor = owner.initializers.get(name)
        return tensor.data_type if tensor else owner.types[name].elem_type if name in owner.types else 0

    def rank(self, name: str) -> int | None:
        owner = self._owner(name)
        if owner and name in owner.initializers:
            return len(owner.initializers[name].dims)
        known = owner.types.get(name) if owner else None
        return len(known.shape.dim) if known is not None and known.HasField("shape") else None

    def bodies(self, node: NodeProto) -> Iterator[Scope]:
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
            for graph in graphs:
                yield read_scope(graph, self.opset, self.folder, self)

    def _owner(self, name: str) -> Scope | None:
        here = name in self.makers or name in self.initializers or name in self.types
        return self if here else self.parent._owner(name) if self.parent else None


def main_scope(model: ModelProto, folder: Path) -> Scope:
    """*model* after shape inference, without functions."""
    return read_scope(model.graph, opset_of(model), folder, None)


def read_scope(graph: GraphProto, opset: int, folder: Path, parent: Scope | None) -> Scope:
    """Raises :class:`ModelError` where a node lacks inputs or outputs that ONNX requires."""
    nodes = tuple(graph.node)
    for node in nodes:
        _check_arity(node, opset)
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in nodes:
        for name in dict.fromkeys(node.input):
            readers[name].append(node)
    return Scope(
        graph,
        opset,
        folder,
        parent,
        nodes,
        {name: node for node in nodes for name in node.output if name},
        readers,
        initializers,
        {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)},
        _fixed(nodes, set(initializers), parent),
    )


def _check_arity(node: NodeProto, opset: int) -> None:
    """The rules count on the inputs and outputs that ONNX requires; onnx's own checker would want all weights too."""
    if not is_standard(node) or not defs.has(node.op_type):
        return
    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:  # newer than this opset, which is for W3 and for TensorRT to judge
        return
    if len(node.input) < schema.min_input or len(node.output) < schema.min_output:
        raise ModelError(
            f"{node.op_type} has {len(node.input)} inputs and {len(node.output)} outputs; expected at least "
            f"{schema.min_input} and {schema.min_output}",
            where=f"node {node.name or ', '.join(node.output)!r}",
            hint="Export it again, and check it with onnx.checker.check_model.",
        )


def _fixed(nodes: tuple[NodeProto, ...], known: set[str], parent: Scope | None) -> frozenset[str]:
    for node in nodes:
        sources = [name for name in node.input if name]
        made = sources or node.op_type == "Constant"
        if made and all(name in known or (parent is not None and parent.is_fixed(name)) for name in sources):
            known.update(name for name in node.output if name)
    return frozenset(known)


def _read(tensor: TensorProto, folder: Path) -> Array:
    try:
        return np.asarray(numpy_helper.to_array(tensor, str(folder)))
    except Exception as error:  # FileNotFoundError, ValidationError, ValueError: the file is missing or too short
        if not uses_external_data(tensor):
            raise ModelError(
                f"the constant {tensor.name!r} is damaged: its data does not fit its type and shape",
                hint="Export it again, and check it with onnx.checker.check_model.",
            ) from error
        raise ModelError(
            f"cannot read the external data of {tensor.name!r}",
            where=str(folder),
            hint="Put the file with the weights beside the model, under the name that the export gave it.",
        ) from error


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The value of *node*'s attribute (strings decoded), or *default*."""
    for item in node.attribute:
        if item.name == name:
            value = helper.get_attribute_value(item)
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return default


def is_standard(node: NodeProto) -> bool:
    return node.domain in STANDARD


def dtype_name(dtype: int) -> str:
    """``float16``, ``uint8`` …, as numpy spells them."""
    if dtype in (TensorProto.UNDEFINED, TensorProto.STRING):
        return str(TensorProto.DataType.Name(dtype)).lower()
    return str(helper.tensor_dtype_to_np_dtype(dtype).name)
