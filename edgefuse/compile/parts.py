"""The parts of the model that is being compiled: found on the float graph, measured on the ones that may be chosen."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgefuse.backends import Settings
from edgefuse.candidates import Builder
from edgefuse.part_times import PartSet, PartTime
from edgefuse.partition import Split, split
from edgefuse.partition.macs import count_macs
from edgefuse.partition.tensors import infer, read_facts
from edgefuse.parts import Partition
from edgefuse.plan import Choice
from edgefuse.precision import FLOAT, PRECISIONS, base_of
from edgefuse.spec import ModelSpec


@dataclass(frozen=True)
class Parts:
    """The float graph's ``partition``, the part of every node, and its multiply-accumulates (0 where unknown)."""

    partition: Partition
    of_node: Mapping[str, str]
    macs: Mapping[str, int]
    notes: tuple[str, ...]
    state: Mapping[str, str]

    @property
    def text(self) -> str:
        names = ", ".join(part.name for part in self.partition.branches)
        return f"{names} → trunk" if self.partition.trunk is not None and names else names or "one part"

    def rows(
        self, choice: Choice, int8_nodes: Container[str], eligible: Iterable[str], times: Iterable[PartTime]
    ) -> tuple[dict[str, Any], ...]:
        """The report's ``plan.parts`` for the chosen plan; empty where the model has one part only."""
        if len(self.partition.parts) < 2:
            return ()
        chosen = [time for time in times if time.graph == choice.graph]
        inference = PRECISIONS[choice.precision][1]
        found = []
        for part in self.partition.parts:
            own = [name for name in eligible if self.of_node.get(name, "trunk") == part.name]
            int8 = sum(name in int8_nodes for name in own)
            ways = [t.p50_ms for t in chosen if t.part == part.name and t.settings.inference_precision == inference]
            plain = FLOAT if inference == "f32" else inference
            row = {
                **part.to_json(),
                "kind": "trunk" if part is self.partition.trunk else "branch",
                "precision": choice.precision if int8 or base_of(choice.graph) in ("fp16", FLOAT) else plain,
                "int8": int8,
                "eligible": len(own),
                "latency_p50_ms": min(ways, default=None),
            }
            found.append(row if ways else {**row, "latency_reason": "the parts of this graph were not measured"})
        return tuple(found)


def find_parts(path: Path, spec: ModelSpec, state: Mapping[str, str]) -> Parts:
    """Cut the graph at *path* in thought."""
    found = split(onnx.load(path), spec, state)
    facts = read_facts(infer(found.model), spec)
    macs = {node.name: count_macs(node, facts) or 0 for node in found.model.graph.node}
    return Parts(found.partition, found.node_parts, macs, found.notes, state)


def cut_graph(
    builder: Builder, graph: str, path: Path, state: Mapping[str, str], ways: tuple[Settings, ...]
) -> PartSet:
    """The parts of the graph at *path*, written and compiled; ``ToolchainError`` where the vendor refuses one."""
    found: Split = split(onnx.load(path), builder.spec, state)
    backend = builder.device.backend
    folder = builder.work / f"parts-{backend}-{graph}"
    folder.mkdir()
    paths = {}
    for index, (name, model) in enumerate(found.models().items()):
        paths[name] = folder / f"{index}.onnx"
        onnx.save(model, paths[name])
    artifacts = builder.work / "part-artifacts" / f"{backend}-{graph}"
    parts = PartSet(backend, graph, builder.spec, found.partition, artifacts, ways)
    builder.place.compile_parts(parts, paths, builder.golden)
    return parts
