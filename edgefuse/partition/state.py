"""Where the model's carried state belongs: to the one branch that uses it, or to the trunk."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import onnx

from edgefuse.errors import ModelError, nearest
from edgefuse.partition.macs import count_macs
from edgefuse.partition.reach import TRUNK, Reach, find_reach
from edgefuse.partition.tensors import Facts
from edgefuse.spec import ModelSpec


def check_state(spec: ModelSpec, state: Mapping[str, str]) -> None:
    """Raise :class:`ModelError` unless *state* goes from inputs of the model to outputs of it."""
    for given, fed_by in state.items():
        for name, known, what in ((given, spec.names, "input"), (fed_by, spec.outputs, "output")):
            if name not in known:
                raise ModelError(f"the state {given!r} names {name!r}, which is no {what}", hint=nearest(name, known))


def stream_of_inputs(spec: ModelSpec, state: Mapping[str, str]) -> dict[str, str]:
    """The stream of every input but the state's, in the spec's order."""
    return {item.name: item.stream or item.name for item in spec.inputs if item.name not in state}


def place_state(
    graph: onnx.GraphProto, sensors: Mapping[str, str], state: Iterable[str], facts: Mapping[str, Facts]
) -> dict[str, str]:
    """For each input of *state* the stream whose branch holds it, or ``TRUNK``."""
    streams = list(dict.fromkeys(sensors.values()))
    if len(streams) == 1:
        return dict.fromkeys(state, streams[0])
    marks = {name: f"\0state {name}" for name in state}
    static = {name for name, fact in facts.items() if fact.shape is not None}
    reach = find_reach(graph, {**sensors, **marks}, static)
    return {name: _owner(graph, mark, reach, frozenset(marks.values()), facts) for name, mark in marks.items()}


def _owner(
    graph: onnx.GraphProto, mark: str, reach: Mapping[str, Reach], marks: frozenset[str], facts: Mapping[str, Facts]
) -> str:
    """The stream that everything which meets this state depends on, if the state meets it alone somewhere."""
    met = {r.values - marks for r in reach.values() if mark in r.values} - {frozenset()}
    common = frozenset.intersection(*met) if met else frozenset()
    if len(common) != 1 or common not in met:
        return TRUNK
    return next(iter(common)) if _pays(graph, common, reach, marks, facts) else TRUNK


def _pays(
    graph: onnx.GraphProto,
    stream: frozenset[str],
    reach: Mapping[str, Reach],
    marks: Container[str],
    facts: Mapping[str, Facts],
) -> bool:
    """Whether at most half of the branch's work comes before the state: it would run at every step, for nothing."""
    before, behind = 0, 0
    for node in graph.node:
        values = next((reach[name].values for name in node.output if name in reach), frozenset[str]())
        macs = count_macs(node, facts)
        if frozenset(v for v in values if v not in marks) != stream:
            continue
        if macs is None:
            return True
        before, behind = (before + macs, behind) if values == stream else (before, behind + macs)
    return before <= behind
