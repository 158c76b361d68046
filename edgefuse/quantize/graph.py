"""A small index over an ONNX graph: who makes a tensor, who reads it, which are constant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
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
