"""A small index over an ONNX graph: who makes a tensor, who reads it, which are constant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from edgefuse.spec import Array


@dataclass
class Graph:
    """*model*'s top-level graph, indexed once; the rewriter adds nodes and rebuilds the list at the end."""

    model: onnx.ModelProto
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    readers: dict[str, list[onnx.NodeProto]] = field(default_factory=lambda: defaultdict(list))
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        for node in self.model.graph.node:
            self.makers.update({name: node for name in node.output if name})
            for name in node.input:
                self.readers[name].append(node)

    def constant(self, name: str) -> Array | None:
        """The value of the initializer *name*, or None where it is computed or fed."""
        tensor = self.constants.get(name)
        return None if tensor is None else np.asarray(numpy_helper.to_array(tensor))


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Make *nodes*, some of which may be the graph's own, its nodes; weights that nobody reads then are dropped."""
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copied)
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    read |= {name for node in graph.node for attr in node.attribute for name in _captured(attr)}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _captured(attr: onnx.AttributeProto) -> set[str]:
    """Names that the body of an If, Loop or Scan may read from outside."""
    bodies = [attr.g] if attr.HasField("g") else list(attr.graphs)
    return {
        name
        for body in bodies
        for node in body.node
        for name in [*node.input, *(n for inner in node.attribute for n in _captured(inner))]
    }


def fresh_names(model: onnx.ModelProto) -> Callable[[str], str]:
    """A function that gives the wanted name, with underscores behind it where a tensor or node of *model* has it."""
    graph = model.graph
    taken = {value.name for value in [*graph.input, *graph.output]} | {tensor.name for tensor in graph.initializer}
    taken |= {name for node in graph.node for name in [node.name, *node.input, *node.output]}

    def fresh(wanted: str) -> str:
        while wanted in taken:
            wanted += "_"
        taken.add(wanted)
        return wanted

    return fresh
