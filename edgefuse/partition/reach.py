"""Which streams every tensor depends on: by value, or by shape alone."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import onnx

from edgefuse.export.onnx_rules import RANDOM
from edgefuse.partition.nodes import SHAPE_FOLLOWS, SHAPE_GIVERS, is_standard, reads

TRUNK = "\0trunk"
"""In place of a stream: what depends on it belongs to the trunk, whatever else it depends on."""


@dataclass(frozen=True)
class Reach:
    """``values`` change the tensor; ``shapes`` only if the shape of their data does; ``ragged`` change its shape."""

    values: frozenset[str] = frozenset()
    shapes: frozenset[str] = frozenset()
    ragged: frozenset[str] = frozenset()

    @property
    def constant(self) -> bool:
        return not self.values and not self.shapes

    @property
    def met(self) -> bool:
        """Whether it depends on the values of several streams: only the trunk can compute it."""
        return len(self.values) > 1 or TRUNK in self.values

    @property
    def home(self) -> str | None:
        """The stream in whose branch the tensor lives, ``TRUNK``, or None for a constant."""
        if self.constant:
            return None
        owners = self.values or self.shapes
        return next(iter(owners)) if len(owners) == 1 else TRUNK


NOTHING = Reach()


def find_reach(
    graph: onnx.GraphProto, sources: Mapping[str, str], static: Container[str], ordinary: Container[str] = ()
) -> dict[str, Reach]:
    """The reach of every tensor that is no initializer.

    *sources* gives the stream of each input; *static* holds the tensors whose shape cannot change; the Shape of a
    tensor of one of the streams *ordinary* counts as a value of that stream.
    """
    found = {name: Reach(frozenset([stream])) for name, stream in sources.items()}
    for node in graph.node:
        read = [found.get(name, NOTHING) for name in reads(node)]
        reach = _shape_reach(read[0], ordinary) if takes_shape(node) else _union(read)
        if node.op_type in RANDOM:
            reach = Reach(reach.values | {TRUNK}, reach.shapes, reach.ragged)
        ragged = reach.ragged | _shaped_by(node, read, found)
        for name in filter(None, node.output):
            found[name] = Reach(reach.values, reach.shapes, frozenset() if name in static else ragged)
    return found


def takes_shape(node: onnx.NodeProto) -> bool:
    return node.op_type in ("Shape", "Size") and is_standard(node)


def is_shape_leaf(node: onnx.NodeProto, reach: Mapping[str, Reach]) -> bool:
    """Whether *node* turns the data of one stream into something that depends on their shape alone."""
    if not takes_shape(node) or node.input[0] not in reach:
        return False
    return bool(reach[node.input[0]].values) and not reach[node.output[0]].values


def _shape_reach(data: Reach, ordinary: Container[str]) -> Reach:
    if len(data.values) != 1 or any(stream in ordinary or stream == TRUNK for stream in data.values):
        return Reach(data.values, data.shapes)
    return Reach(data.ragged, data.values | data.shapes)


def _union(read: Iterable[Reach]) -> Reach:
    read = list(read)
    return Reach(*(frozenset().union(*(getattr(r, part) for r in read)) for part in ("values", "shapes", "ragged")))


def _shaped_by(node: onnx.NodeProto, read: list[Reach], found: Mapping[str, Reach]) -> frozenset[str]:
    """Streams whose values decide the shape of what *node* makes."""
    if is_standard(node) and node.op_type in SHAPE_FOLLOWS:
        places = [i for i in SHAPE_GIVERS.get(node.op_type, ()) if i < len(node.input)]
        return _union(found.get(node.input[i], NOTHING) for i in places).values
    return frozenset() if takes_shape(node) else _union(read).values
