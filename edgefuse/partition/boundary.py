"""Where branches end and the trunk begins: the legal cut with the fewest bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import onnx

from edgefuse.partition.extract import Index
from edgefuse.partition.mincut import UNLIMITED, cut_vertices
from edgefuse.partition.nodes import CHEAP, PARAMETERS_ONLY, is_standard
from edgefuse.partition.reach import NOTHING, TRUNK, Reach
from edgefuse.partition.tensors import Facts
from edgefuse.spec import TensorSpec

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}


@dataclass
class Scene:
    """A graph and what is known of its tensors; ``measure`` adds facts by a run, on demand and once."""

    index: Index
    outputs: tuple[str, ...]
    facts: dict[str, Facts]
    measure: Callable[[list[str]], Mapping[str, Facts]]
    measured: set[str] = field(default_factory=set)

    def measure_open(self, names: Collection[str]) -> None:
        """Measure those of *names* whose shape or type is open."""
        open_ = sorted(n for n in names if n not in self.measured and self.facts.get(n, Facts()).spec(n) is None)
        self.measured.update(open_)
        self.facts.update(self.measure(open_) if open_ else {})

    def heavy(self, tensor: str, reach: Mapping[str, Reach]) -> bool:
        """Whether the node that makes *tensor* has to stay in its branch."""
        node = self.index.maker(tensor)
        if node is None or not reach.get(tensor, NOTHING).values:
            return False  # an input; or made of constants and shapes, which every reader may copy
        if not is_standard(node) or node.op_type not in CHEAP:
            return True
        constants = [n for n in self.index.read_by(tensor) if reach.get(n, NOTHING).constant]
        return node.op_type not in PARAMETERS_ONLY and any(self._is_weight(name) for name in constants)

    def _is_weight(self, name: str) -> bool:
        fact = self.facts.get(name, Facts())
        return fact.kind in FLOATS and fact.largest != 1

    def sendable(self, tensor: str, reach: Mapping[str, Reach]) -> TensorSpec | None:
        """As what *tensor* could cross: one branch makes it, a bundle knows its type, values do not shape it."""
        found = reach.get(tensor, NOTHING)
        if found.home == TRUNK or found.ragged:
            return None
        return self.facts.get(tensor, Facts()).spec(tensor, found.home or "")


def trunk_reads(scene: Scene, reach: Mapping[str, Reach]) -> list[str]:
    """What the trunk needs of the branches at first sight: single-stream tensors that its nodes and outputs read."""
    nodes, _ = scene.index.needed(scene.outputs, lambda _: False)
    found = {o: None for o in scene.outputs if reach.get(o, NOTHING).home == TRUNK and not reach[o].values}
    for i in nodes:
        if any(reach[name].met for name in scene.index.graph.node[i].output if name):
            found |= dict.fromkeys(scene.index.reads[i])
    return [n for n in found if not reach.get(n, NOTHING).met and not reach.get(n, NOTHING).constant]


def movable_region(scene: Scene, reach: Mapping[str, Reach], sinks: list[str]) -> dict[str, list[str]]:
    """The tensors between the trunk's reads and the last heavy nodes before them; each with what it is made from."""
    found: dict[str, list[str]] = {}
    pending = list(sinks)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        stays = name in scene.index.inputs or scene.heavy(name, reach)
        before = [] if stays else scene.index.read_by(name)
        found[name] = [n for n in before if not reach.get(n, NOTHING).constant]
        pending += found[name]
    return found


def least_cut(scene: Scene, reach: Mapping[str, Reach]) -> tuple[list[str], set[str]]:
    """The tensors that the trunk reads; or, where something heavy has no tensor behind it that could be sent, the
    streams of such."""
    sinks = trunk_reads(scene, reach)
    region = movable_region(scene, reach, sinks)
    scene.measure_open(region)
    sizes = {name: _capacity(scene, name, reach, len(region)) for name in region}
    starts = [name for name, before in region.items() if not before]
    edges = [(a, b) for b, before in region.items() for a in before]
    cut = cut_vertices(sizes, edges, starts, sinks)
    if cut is None:
        return [], _stuck(region, sizes, sinks, reach)
    return scene.index.ordered(cut), set()


def _capacity(scene: Scene, name: str, reach: Mapping[str, Reach], count: int) -> int:
    """Bytes first, then the number of tensors."""
    fact = scene.facts.get(name, Facts())
    if name in scene.index.inputs:
        return (fact.size_bytes or 1) * (count + 1) + 1
    if scene.sendable(name, reach) is None or fact.size_bytes is None:
        return UNLIMITED
    return fact.size_bytes * (count + 1) + 1


def _stuck(
    region: Mapping[str, list[str]], sizes: Mapping[str, int], sinks: list[str], reach: Mapping[str, Reach]
) -> set[str]:
    """Streams of the heavy nodes that reach the trunk through tensors that cannot be sent."""
    pending, seen = list(sinks), set[str]()
    while pending:
        name = pending.pop()
        if name not in seen and sizes[name] >= UNLIMITED:
            seen.add(name)
            pending += region[name]
    return {stream for name in seen if not region[name] for stream in reach[name].values}
