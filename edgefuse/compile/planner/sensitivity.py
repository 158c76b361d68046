"""Where the accuracy goes: what each part of the model, and each block inside a part, loses when only it is INT8.

The float model runs once over a few samples, and the tensors between blocks are kept. A unit is then judged by running
only what lies behind it, from those tensors on: its own operations quantized, everything after it in float.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import onnx
from onnx import helper

from edgefuse.backends.onnxruntime import open_session
from edgefuse.check import REFERENCE, Judge, compare_stages, judge_accuracy
from edgefuse.golden import GoldenSample
from edgefuse.partition.extract import Index, extract
from edgefuse.parts import Part
from edgefuse.quantize import Quantizer, Treatment
from edgefuse.quantize.placement import Weighted
from edgefuse.spec import Array, Feed

MAX_BLOCKS = 12
MAX_CACHE_BYTES = 256 << 20
"""Of kept tensors; beyond it fewer samples are used."""


@dataclass(frozen=True)
class Unit:
    """Operations that become INT8 together; ``macs`` are those of its operations for one call."""

    name: str
    part: str
    nodes: tuple[str, ...]
    macs: int


@dataclass(frozen=True)
class Loss:
    """What is lost when only the unit is INT8: ``drop`` in the metric (None: sqnr), ``sqnr_db`` of the worst output."""

    unit: Unit
    drop: float | None
    sqnr_db: float

    @property
    def noise(self) -> float:
        """Power of the error over that of the signal. Errors of different units are independent enough to add up."""
        return float(10 ** (-self.sqnr_db / 10))

    def to_json(self) -> dict[str, object]:
        found = asdict(self.unit)
        return {**found, "nodes": list(self.unit.nodes), "drop": self.drop, "sqnr_db": self.sqnr_db}


def part_units(candidates: Sequence[Weighted], macs: Mapping[str, int], parts: Mapping[str, str]) -> list[Unit]:
    """One unit for each part that has operations among *candidates*; *parts* maps a node to its part."""
    owners = [parts.get(item.node.name, "trunk") for item in candidates]
    return [
        _unit(name, name, [item for item, owner in zip(candidates, owners) if owner == name], macs)
        for name in dict.fromkeys(owners)
    ]


def block_units(candidates: Sequence[Weighted], macs: Mapping[str, int], parts: Mapping[str, str]) -> list[Unit]:
    """At most ``MAX_BLOCKS`` runs of neighbouring operations in each part. The first and the last operation stand
    alone: the input's range and the answer's precision hang on them."""
    found = []
    for part in part_units(candidates, macs, parts):
        own = [item for item in candidates if item.node.name in part.nodes]
        for index, block in enumerate(_runs(own)):
            found.append(_unit(f"{part.part}/{index + 1}", part.part, block, macs))
    return found


def _unit(name: str, part: str, items: Sequence[Weighted], macs: Mapping[str, int]) -> Unit:
    return Unit(name, part, tuple(c.node.name for c in items), sum(macs.get(c.node.name, 0) for c in items))


def _runs(items: Sequence[Weighted]) -> list[Sequence[Weighted]]:
    if len(items) <= MAX_BLOCKS:
        return [items[i : i + 1] for i in range(len(items))]
    size = math.ceil((len(items) - 2) / (MAX_BLOCKS - 2))
    middle = [items[i : min(i + size, len(items) - 1)] for i in range(1, len(items) - 1, size)]
    return [items[:1], *middle, items[-1:]]


class Probe:
    """The float tensors between units, over a few *samples*, from one pass; :meth:`losses` runs on from them."""

    def __init__(
        self, quantizer: Quantizer, units: Iterable[Unit], samples: Sequence[GoldenSample], judge: Judge
    ) -> None:
        self.quantizer, self.judge = quantizer, judge
        self.graph = quantizer.graph.model.graph
        self.index = Index(self.graph)
        self.outputs = [value.name for value in self.graph.output]
        makers = {node.name: node for node in self.graph.node}
        firsts = {makers[unit.nodes[0]].input[0] for unit in units}
        wanted = [name for name in dict.fromkeys(firsts) if name in self.index.makers]
        self.samples, self.kept = self._run_float(sorted(wanted), samples)

    def _run_float(
        self, wanted: list[str], samples: Sequence[GoldenSample]
    ) -> tuple[list[GoldenSample], list[dict[str, Array]]]:
        observed = onnx.ModelProto()
        observed.CopyFrom(self.quantizer.graph.model)
        observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in self.outputs)
        session = open_session(observed.SerializeToString(), optimize="basic")
        present = {node.name for node in session.get_inputs()}
        used, kept, size = [], [], 0
        for sample in samples:
            feed = {name: array for name, array in sample.feed.items() if name in present}
            found = dict(zip(wanted, session.run(wanted, feed))) if wanted else {}
            used.append(sample)
            kept.append({**feed, **found})
            size += sum(array.nbytes for array in found.values())
            if size > MAX_CACHE_BYTES:
                break
        return used, kept

    def loss(self, unit: Unit, treatment: Treatment) -> Loss:
        """What quantizing *unit* alone costs, with *treatment*'s ways of quantizing."""
        others = {item.node.name for item in self.quantizer.candidates} - set(unit.nodes)
        alone = Treatment(frozenset(others), residuals=False, depthwise=treatment.depthwise)
        runner = self._behind(self.quantizer.model(alone), unit)
        pair = (REFERENCE, unit.name)
        comparison = compare_stages(self.samples, {unit.name: runner}, self.judge, [pair])[pair]
        drop = None if self.judge.metric is None else judge_accuracy(comparison, pair, self.judge)["drop"]
        return Loss(unit, drop, comparison.worst_sqnr_db)

    def _behind(self, model: onnx.ModelProto, unit: Unit) -> _FromKept:
        """The graph from kept tensors to the outputs that *unit* reaches, with the unit quantized."""
        changed = self._reached(unit)
        index = Index(model.graph)
        outputs = [name for name in self.outputs if name in changed]
        given = {name for row in self.kept[:1] for name in row if name not in changed}
        _, ends = index.needed(outputs, given.__contains__)
        part = Part("behind", (), tuple(index.ordered(ends)), tuple(outputs))
        types = {value.name: value for value in model.graph.output} | {name: self._type(name) for name in ends}
        references = [sample.reference for sample in self.samples]
        return _FromKept(extract(model, index, part, {}, types), outputs, self.kept, references)

    def _type(self, name: str) -> onnx.ValueInfoProto:
        array = self.kept[0][name]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)

    def _reached(self, unit: Unit) -> set[str]:
        """Every tensor that depends on the unit's operations."""
        names, changed = set(unit.nodes), set[str]()
        for place, node in enumerate(self.graph.node):
            if node.name in names or not changed.isdisjoint(self.index.reads[place]):
                changed.update(name for name in node.output if name)
        return changed


class _FromKept:
    """A runner over the kept tensors, sample after sample; outputs that the unit does not reach are the reference's."""

    def __init__(
        self, part: onnx.ModelProto, outputs: list[str], kept: Sequence[Feed], references: Sequence[Mapping[str, Array]]
    ) -> None:
        self.session = open_session(part.SerializeToString(), emulate=True)
        self.inputs = [node.name for node in self.session.get_inputs()]
        self.outputs = outputs
        self.rows: Iterator[tuple[Feed, Mapping[str, Array]]] = iter(zip(kept, references))

    def __call__(self, feed: Feed) -> dict[str, Array]:
        kept, reference = next(self.rows)
        found = self.session.run(self.outputs, {name: kept[name] for name in self.inputs})
        return {**reference, **dict(zip(self.outputs, found))}

    def close(self) -> None:
        self.rows = iter(())
