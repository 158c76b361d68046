"""One part of a graph: what its outputs need, back to given tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import helper

from edgefuse.partition.nodes import reads
from edgefuse.partition.tensors import DTYPE_OF
from edgefuse.parts import Part
from edgefuse.spec import DimRange, TensorSpec

Types = Mapping[str, onnx.ValueInfoProto]
KIND_OF = {name: kind for kind, name in DTYPE_OF.items()}


@dataclass
class Index:
    """*graph*, indexed once: the place of the node that makes a tensor, and what each node reads."""

    graph: onnx.GraphProto
    makers: dict[str, int] = field(default_factory=dict)
    reads: list[list[str]] = field(default_factory=list)
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        weights = {tensor.name for tensor in self.graph.initializer}
        self.inputs = tuple(value.name for value in self.graph.input if value.name not in weights)
        self.reads = [reads(node) for node in self.graph.node]
        self.makers = {name: i for i, node in enumerate(self.graph.node) for name in node.output if name}

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        return self.graph.node[self.makers[tensor]] if tensor in self.makers else None

    def read_by(self, tensor: str) -> list[str]:
        """What the node that makes *tensor* reads."""
        return self.reads[self.makers[tensor]] if tensor in self.makers else []

    def needed(self, outputs: Iterable[str], given: Callable[[str], bool]) -> tuple[list[int], set[str]]:
        """The nodes, in order, that *outputs* need, and the tensors at which that ends: inputs and *given* ones."""
        pending, nodes, ends, seen = list(outputs), set[int](), set[str](), set[str]()
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.inputs or given(name):
                ends.add(name)
            elif name in self.makers:
                nodes.add(self.makers[name])
                pending += self.reads[self.makers[name]]
        return sorted(nodes), ends

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Inputs as the graph lists them, then tensors as they are made."""
        inputs = {name: i for i, name in enumerate(self.inputs)}
        return sorted(set(names), key=lambda name: (self.makers.get(name, -1), inputs.get(name, -1), name))


def extract(
    model: onnx.ModelProto, index: Index, part: Part, boundary: Mapping[str, TensorSpec], types: Types
) -> onnx.ModelProto:
    """*part* of *model* as a model of its own; *types* holds the ``ValueInfoProto`` of tensors where known."""
    nodes, _ = index.needed(part.outputs, set(part.inputs).__contains__)
    alone = onnx.ModelProto()
    alone.CopyFrom(onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import))
    alone.functions.extend(model.functions)
    alone.producer_name = model.producer_name
    graph = alone.graph
    graph.name = part.name
    graph.node.extend(index.graph.node[i] for i in nodes)
    _add_constants(graph, index.graph, {name for i in nodes for name in index.reads[i]} | set(part.outputs))
    graph.input.extend(_typed(name, boundary, types) for name in part.inputs)
    graph.output.extend(_typed(name, boundary, types) for name in part.outputs)
    outside = {*part.inputs, *part.outputs}
    made = (name for i in nodes for name in index.graph.node[i].output if name in types and name not in outside)
    graph.value_info.extend(types[name] for name in made if is_static(types[name]))  # names of open ones may now clash
    return alone


def is_static(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def _add_constants(graph: onnx.GraphProto, whole: onnx.GraphProto, read: set[str]) -> None:
    graph.initializer.extend(tensor for tensor in whole.initializer if tensor.name in read)
    graph.sparse_initializer.extend(tensor for tensor in whole.sparse_initializer if tensor.values.name in read)
    kept = {tensor.name for tensor in graph.initializer}
    graph.quantization_annotation.extend(a for a in whole.quantization_annotation if a.tensor_name in kept)


def _typed(name: str, boundary: Mapping[str, TensorSpec], types: Types) -> onnx.ValueInfoProto:
    if name not in boundary:
        return types[name] if name in types else helper.make_empty_tensor_value_info(name)
    spec = boundary[name]
    dims = [f"{name}_{i}" if isinstance(dim, DimRange) else dim for i, dim in enumerate(spec.shape)]
    return helper.make_tensor_value_info(name, KIND_OF[spec.dtype], dims)
