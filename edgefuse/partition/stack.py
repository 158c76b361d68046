"""Stack, then index: a Concat of several streams' tensors from which Slice, Split or Gather takes one piece again.

The indexing node is replaced by one that reads the piece itself, under the same output name; bit-exact by construction,
as nothing but the place that values are copied from changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgefuse.partition.nodes import is_standard
from edgefuse.partition.tensors import Facts
from edgefuse.quantize.graph import Graph, attribute, fresh_names, replace_nodes
from edgefuse.spec import Array


@dataclass(frozen=True)
class Piece:
    """*tensor* fills the places from ``start`` to ``end`` of the stacked tensor."""

    tensor: str
    start: int
    end: int


@dataclass(frozen=True)
class Stack:
    """*tensor*, of *rank* dimensions, holds the pieces one after another along *axis*."""

    tensor: str
    rank: int
    axis: int
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return self.pieces[-1].end

    def holding(self, start: int, end: int) -> Piece | None:
        """The one piece in which all places from *start* to *end* lie."""
        return next((p for p in self.pieces if p.start <= start < end <= p.end), None)


@dataclass(frozen=True)
class _Editor:
    model: onnx.ModelProto
    graph: Graph
    facts: Mapping[str, Facts]
    fresh: Callable[[str], str]

    def whole_numbers(self, name: str) -> Array | None:
        """The value of a constant of whole numbers."""
        value = self.graph.constant(name)
        if value is None and name in self.graph.makers and self.graph.makers[name].op_type == "Constant":
            tensor = next((a.t for a in self.graph.makers[name].attribute if a.name == "value"), None)
            value = None if tensor is None else np.asarray(numpy_helper.to_array(tensor))
        return value if value is not None and value.dtype.kind in "iu" else None

    def integers(self, name: str) -> list[int] | None:
        value = self.whole_numbers(name)
        return None if value is None else [int(i) for i in value.flat]

    def constant(self, values: list[int] | Array, near: str) -> str:
        name = self.fresh(f"{near}_place")
        self.model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def rank(self, name: str) -> int | None:
        dims = self.facts.get(name, Facts()).dims
        return None if dims is None else len(dims)


def index_before_stacking(model: onnx.ModelProto, facts: Mapping[str, Facts]) -> int:
    """Rewrite *model* in place; returns how many nodes were replaced. One pass: a stack of stacks takes another."""
    editor = _Editor(model, Graph(model), facts, fresh_names(model))
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in model.graph.node:
        stack = _stack_of(node, editor) if is_standard(node) and node.op_type in _RULES else None
        instead = _RULES[node.op_type](node, stack, editor) if stack else None
        nodes += [node] if instead is None else instead
        count += instead is not None
    if count:
        replace_nodes(model.graph, nodes)
    return count


def _stack_of(node: onnx.NodeProto, editor: _Editor) -> Stack | None:
    """The Concat that *node* reads, if the size of each of its pieces is known."""
    concat = editor.graph.makers.get(node.input[0])
    if concat is None or concat.op_type != "Concat" or not is_standard(concat):
        return None
    rank = next((r for r in map(editor.rank, concat.input) if r is not None), None)
    if rank is None:
        return None
    axis = attribute(concat, "axis", 0) % rank
    sizes = [(editor.facts.get(name, Facts()).dims or (None,) * rank)[axis] for name in concat.input]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes):
        return None
    ends = list(accumulate(known))
    pieces = tuple(Piece(n, e - s, e) for n, s, e in zip(concat.input, known, ends))
    return Stack(concat.output[0], rank, axis, pieces)


def _identity(tensor: str, output: str, name: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [tensor], [output], name=name)


def _gather(node: onnx.NodeProto, stack: Stack, editor: _Editor) -> list[onnx.NodeProto] | None:
    indices = editor.whole_numbers(node.input[1])
    if indices is None or not indices.size or attribute(node, "axis", 0) % stack.rank != stack.axis:
        return None
    places = np.where(indices < 0, indices + stack.size, indices)
    piece = stack.holding(int(places.min()), int(places.max()) + 1)
    if piece is None:
        return None
    stacked = _unstacked(piece.tensor, stack, editor) if places.shape == () else None
    if stacked is not None:
        return [_identity(stacked, node.output[0], node.name)]
    shifted = editor.constant(places - piece.start, node.output[0])
    return [helper.make_node("Gather", [piece.tensor, shifted], node.output, name=node.name, axis=stack.axis)]


def _unstacked(tensor: str, stack: Stack, editor: _Editor) -> str | None:
    """What torch.stack was given: the tensor before the Unsqueeze that made the stacking axis."""
    maker = editor.graph.makers.get(tensor)
    if maker is None or maker.op_type != "Unsqueeze" or not is_standard(maker):
        return None
    given = [list(a.ints) for a in maker.attribute if a.name == "axes"]  # an attribute before opset 13
    axes = given[0] if given else editor.integers(maker.input[1])
    return maker.input[0] if axes is not None and [a % stack.rank for a in axes] == [stack.axis] else None


def _slice(node: onnx.NodeProto, stack: Stack, editor: _Editor) -> list[onnx.NodeProto] | None:
    given = [editor.integers(name) if name else None for name in node.input[1:]]
    if len(node.input) < 3 or any(v is None for v, name in zip(given, node.input[1:]) if name):
        return None
    starts, ends = given[0] or [], given[1] or []
    axes = given[2] if len(given) > 2 and given[2] is not None else list(range(len(starts)))
    steps = given[3] if len(given) > 3 and given[3] is not None else [1] * len(starts)
    axes = [a % stack.rank for a in axes]
    if axes.count(stack.axis) != 1 or steps[axes.index(stack.axis)] != 1:
        return None
    at = axes.index(stack.axis)
    start, end, _ = slice(starts[at], ends[at]).indices(stack.size)
    piece = stack.holding(start, end)
    if piece is None:
        return None
    if (start, end) == (piece.start, piece.end) and len(axes) == 1:
        return [_identity(piece.tensor, node.output[0], node.name)]
    starts[at], ends[at] = start - piece.start, end - piece.start
    values = [editor.constant(v, node.output[0]) for v in (starts, ends, axes, steps)]
    return [helper.make_node("Slice", [piece.tensor, *values], node.output, name=node.name)]


def _split(node: onnx.NodeProto, stack: Stack, editor: _Editor) -> list[onnx.NodeProto] | None:
    sizes = _split_sizes(node, stack.size, editor)
    if sizes is None or attribute(node, "axis", 0) % stack.rank != stack.axis:
        return None
    places = [(name, e - s, e) for name, s, e in zip(node.output, sizes, accumulate(sizes)) if name]
    if all(stack.holding(start, end) is None for _, start, end in places):
        return None
    found = [_taken(*place, stack, editor) for place in places]
    for index, instead in enumerate(found):
        instead.name = node.name if index == 0 else editor.fresh(f"{node.name}_{index}")
    return found


def _split_sizes(node: onnx.NodeProto, total: int, editor: _Editor) -> list[int] | None:
    given = [list(a.ints) for a in node.attribute if a.name == "split"]  # an attribute before opset 13
    if given:
        return given[0]
    if len(node.input) > 1 and node.input[1]:
        return editor.integers(node.input[1])
    size = -(-total // len(node.output))
    sizes = [min(size, total - i * size) for i in range(len(node.output))]
    return sizes if min(sizes) > 0 else None


def _taken(output: str, start: int, end: int, stack: Stack, editor: _Editor) -> onnx.NodeProto:
    """Of the piece that holds it all, else of the stack."""
    piece = stack.holding(start, end) or Piece(stack.tensor, 0, stack.size)
    if (start, end) == (piece.start, piece.end):
        return _identity(piece.tensor, output, "")
    bounds = [editor.constant([v], output) for v in (start - piece.start, end - piece.start, stack.axis)]
    return helper.make_node("Slice", [piece.tensor, *bounds], [output])


_RULES = {"Gather": _gather, "Slice": _slice, "Split": _split}
