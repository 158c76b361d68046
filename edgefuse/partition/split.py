"""The straight line from a graph to its parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from edgefuse.partition.boundary import Scene
from edgefuse.partition.extract import Index, extract
from edgefuse.partition.layout import Layout, foreign_shapes, lay_out
from edgefuse.partition.macs import count_macs
from edgefuse.partition.nodes import BOOKKEEPING
from edgefuse.partition.simplify import simplify
from edgefuse.partition.state import check_state, place_state, stream_of_inputs
from edgefuse.partition.tensors import infer, item_bytes, measure, read_facts
from edgefuse.parts import Part, Partition
from edgefuse.spec import ModelSpec, TensorSpec


@dataclass(frozen=True)
class Split:
    """``model`` is the simplified copy that the parts are cut from; ``node_parts`` gives the part of every node by its
    name; ``notes`` say which streams got no branch and why."""

    model: onnx.ModelProto
    partition: Partition
    node_parts: dict[str, str]
    notes: tuple[str, ...]

    def models(self) -> dict[str, onnx.ModelProto]:
        """Each part as a model of its own, checked by onnx."""
        return cut_simplified(self.model, self.partition)


def split(model: onnx.ModelProto, spec: ModelSpec, state: Mapping[str, str] | None = None) -> Split:
    """Cut a copy of *model*. Raises :class:`edgefuse.errors.ModelError` if *state* names what is not there."""
    state = dict(state or {})
    check_state(spec, state)
    simple = simplify(model, spec)
    scene = make_scene(simple, spec)
    sensors = stream_of_inputs(spec, state)
    sources = {**sensors, **place_state(simple.graph, sensors, state, scene.facts)}
    layout = lay_out(scene, sources)
    parts = _branches(scene, layout)
    parts += _trunk(scene, layout, sensors, parts)
    partition = Partition(tuple(parts), _boundary(scene, parts), tuple(state.items()))
    return Split(simple, partition, _node_parts(scene.index, partition), layout.notes)


def make_scene(simple: onnx.ModelProto, spec: ModelSpec) -> Scene:
    facts = read_facts(infer(simple), spec)
    return Scene(Index(simple.graph), spec.outputs, facts, lambda names: measure(simple, spec, names, facts))


def cut_simplified(simple: onnx.ModelProto, partition: Partition) -> dict[str, onnx.ModelProto]:
    """The parts of a graph that :func:`simplify` made, as models."""
    graph, index = infer(simple).graph, Index(simple.graph)
    types = {value.name: value for value in [*graph.value_info, *graph.output, *graph.input]}
    boundary = {tensor.name: tensor for tensor in partition.tensors}
    models = {part.name: extract(simple, index, part, boundary, types) for part in partition.parts}
    for alone in models.values():
        onnx.checker.check_model(alone)
    return models


def _branches(scene: Scene, layout: Layout) -> list[Part]:
    parts = []
    for stream, wants in layout.wants.items():
        outputs = [n for n in scene.index.ordered(wants) if n not in scene.outputs]
        outputs += [n for n in scene.outputs if n in wants]
        nodes, ends = scene.index.needed(outputs, foreign_shapes(scene, layout.reach, stream))
        inputs = scene.index.ordered(ends)
        shapes = tuple(name for name in inputs if name not in scene.index.inputs)
        parts.append(Part(stream, (stream,), tuple(inputs), tuple(outputs), shapes, *_figures(scene, nodes)))
    return parts


def _trunk(scene: Scene, layout: Layout, sensors: Mapping[str, str], branches: list[Part]) -> list[Part]:
    """The trunk, if there is anything in it."""
    if not layout.trunk:
        return []
    nodes, ends = scene.index.needed(layout.trunk, set(layout.boundary).__contains__)
    inputs = tuple(scene.index.ordered(ends))
    streams = _streams(inputs, sensors, branches)
    return [Part(_free_name(sensors.values()), streams, inputs, layout.trunk, (), *_figures(scene, nodes))]


def _streams(inputs: Iterable[str], sensors: Mapping[str, str], branches: Iterable[Part]) -> tuple[str, ...]:
    makers = {name: part.name for part in branches for name in part.outputs}
    found = {sensors.get(name) or makers.get(name) for name in inputs}
    return tuple(stream for stream in dict.fromkeys(sensors.values()) if stream in found)


def _free_name(streams: Iterable[str]) -> str:
    taken, name = set(streams), "trunk"
    while name in taken:
        name += "_"
    return name


def _figures(scene: Scene, nodes: Iterable[int]) -> tuple[int, int, int | None]:
    """Operations, bytes of weights, multiply-accumulates."""
    graph, nodes = scene.index.graph, list(nodes)
    macs = [count_macs(graph.node[i], scene.facts) for i in nodes]
    read = {name for i in nodes for name in scene.index.reads[i]}
    weight_bytes = sum(item_bytes(t.data_type) * math.prod(t.dims) for t in graph.initializer if t.name in read)
    operations = sum(graph.node[i].op_type not in BOOKKEEPING for i in nodes)
    return operations, weight_bytes, None if None in macs else sum(count or 0 for count in macs)


def _boundary(scene: Scene, parts: Iterable[Part]) -> tuple[TensorSpec, ...]:
    """What one part makes and another reads, in the order of the parts."""
    read = {name for part in parts for name in part.inputs} - set(scene.index.inputs)
    specs = [scene.facts[name].spec(name, part.name) for part in parts for name in part.outputs if name in read]
    return tuple(spec for spec in specs if spec is not None)


def _node_parts(index: Index, partition: Partition) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in partition.parts:
        nodes, _ = index.needed(part.outputs, set(part.inputs).__contains__)
        for i in nodes:
            found.setdefault(index.graph.node[i].name, part.name)
    return found
