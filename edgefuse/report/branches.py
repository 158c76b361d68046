"""What the report says of the model's parts: branches and trunk, the tensors between them, and whether to run them one
by one. The terminal, the page and ``edgefuse inspect`` show the same. Imports nothing of the workstation's: the device
prints it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefuse.parts import Partition, tensor_bytes
from edgefuse.report.units import percent, significant, size_text


@dataclass(frozen=True)
class Tensor:
    """One tensor on the boundary; ``readers`` are named where one of them is not the trunk."""

    name: str
    shape: str
    dtype: str
    size: str
    readers: tuple[str, ...]

    @property
    def form(self) -> str:
        return f"{self.shape.replace('x', '×')} {self.dtype}"


@dataclass(frozen=True)
class Part:
    """One part as a person reads it; shares are of all parts, None where one of them is not known. ``time_ms`` is None
    where the part was not measured, ``reason`` says why. ``answers`` are those of the model's outputs that it makes,
    ``own_inputs`` what it reads of the model's inputs."""

    name: str
    trunk: bool
    streams: tuple[str, ...]
    precision: str
    operations: int
    operations_share: float
    weights: str
    macs: int | None
    int8: str
    quantized: bool
    time_ms: float | None
    time_share: float | None
    reason: str
    own_inputs: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    answers: tuple[str, ...]

    @property
    def time(self) -> str:
        return "not measured" if self.time_ms is None else f"{significant(self.time_ms)} ms"


def read_parts(plan: Mapping[str, Any]) -> list[Part]:
    """The parts of *plan* (or of what has its ``parts`` and ``boundary``); empty where it says nothing about them."""
    rows = [row for row in plan["parts"] if "kind" in row]
    boundary = plan.get("boundary") or []
    operations = sum(row["operations"] for row in rows) or 1
    times = [row.get("latency_p50_ms") for row in rows]
    whole_ms = None if any(time is None for time in times) else sum(times) or None
    return [_part(row, operations, whole_ms, boundary) for row in rows]


def _part(
    row: Mapping[str, Any], operations: int, whole_ms: float | None, boundary: Sequence[Mapping[str, Any]]
) -> Part:
    crossing, time_ms = {item["name"] for item in boundary}, row.get("latency_p50_ms")
    return Part(
        name=row["name"],
        trunk=row["kind"] == "trunk",
        streams=tuple(row["streams"]),
        precision=row.get("precision") or "",
        operations=row["operations"],
        operations_share=row["operations"] / operations,
        weights=size_text(row["weight_bytes"]),
        macs=row["macs"],
        int8=f"{row['int8']} of {row['eligible']}" if row.get("eligible") else "",
        quantized=bool(row.get("int8")),
        time_ms=time_ms,
        time_share=None if whole_ms is None or time_ms is None else time_ms / whole_ms,
        reason=row.get("latency_reason") or "no reason given",
        own_inputs=tuple(name for name in row["inputs"] if name not in crossing),
        tensors=tuple(_tensor(item) for item in boundary if item["from"] == row["name"]),
        answers=tuple(name for name in row["outputs"] if name not in crossing),
    )


def _tensor(item: Mapping[str, Any]) -> Tensor:
    size = item["size_bytes"]
    others = [name for name in item["to"] if name != "trunk"]
    return Tensor(
        item["name"],
        item["shape"],
        item["dtype"],
        "size not fixed" if size is None else size_text(size),
        tuple(item["to"]) if others else (),
    )


def boundary_rows(partition: Partition) -> list[dict[str, Any]]:
    """The plan's ``boundary``: the tensors between parts."""
    return [
        {
            "name": tensor.name,
            "shape": tensor.shape_text,
            "dtype": tensor.dtype,
            "size_bytes": tensor_bytes(tensor),
            "from": tensor.stream,
            "to": [part.name for part in partition.parts if tensor.name in part.inputs],
        }
        for tensor in partition.tensors
    ]


def unmeasured(partition: Partition, reason: str) -> dict[str, Any]:
    """``parts``, ``boundary`` and ``cut`` as a plan has them, for a partition of which nothing was measured."""
    rows = [
        {
            **part.to_json(),
            "kind": "trunk" if part is partition.trunk else "branch",
            "latency_p50_ms": None,
            "latency_reason": reason,
        }
        for part in partition.parts
    ]
    return {"parts": rows, "boundary": boundary_rows(partition), "cut": None}


@dataclass(frozen=True)
class Source:
    """One stream on its way into a part: ``inputs`` are the model's inputs that it delivers there."""

    stream: str
    rate: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Lane:
    """One row of the picture: the streams, the branch that they feed (None: they go straight to the trunk)."""

    sources: tuple[Source, ...]
    part: Part | None


def picture_rows(report: Mapping[str, Any]) -> tuple[list[Lane], Part | None]:
    """The branches, one row each, and the streams that only the trunk reads; and the trunk, if there is one."""
    parts = read_parts(report["plan"]) if "plan" in report else []
    inputs = report.get("model", {}).get("inputs", [])
    trunk = next((part for part in parts if part.trunk), None)
    lanes = [Lane(_sources(part.streams, part.own_inputs, inputs), part) for part in parts if not part.trunk]
    if trunk is not None and trunk.own_inputs:
        streams = [item["stream"] or item["name"] for item in inputs if item["name"] in trunk.own_inputs]
        lanes += [Lane((source,), None) for source in _sources(streams, trunk.own_inputs, inputs)]
    return lanes, trunk


def _sources(streams: Iterable[str], names: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> tuple[Source, ...]:
    found = []
    for stream in dict.fromkeys(streams):
        own = [item for item in inputs if (item["stream"] or item["name"]) == stream]
        rate = max((item["rate_hz"] or 0 for item in own), default=0)
        read = tuple(item["name"] for item in own if item["name"] in names)
        found.append(Source(stream, f"{rate:g} Hz" if rate else "", read))
    return tuple(found)


def branches_text(plan: Mapping[str, Any]) -> str | None:
    """One sentence: each part's time and, where they differ, precision; None where there are not several parts."""
    parts = read_parts(plan)
    if len(parts) < 2:
        return None
    same = len({part.precision for part in parts}) == 1
    told = {part.name: _part_text(part, same) for part in parts}
    branches = " · ".join(told[part.name] for part in parts if not part.trunk)
    text = " → ".join([*([branches] if branches else []), *(told[part.name] for part in parts if part.trunk)])
    return f"{text} (all {parts[0].precision})" if same and parts[0].precision else text


def _part_text(part: Part, same: bool) -> str:
    time = "" if part.time_ms is None else f" {significant(part.time_ms)} ms"
    return f"{part.name}{time}{'' if same else f' {part.precision}'}"


def split_text(cut: Mapping[str, Any]) -> str:
    """Whether the bundle can run part by part, why, and how close that comes to the whole."""
    return f"{kept_text(cut)}; {equality_text(cut)}"


def kept_text(cut: Mapping[str, Any]) -> str:
    if not cut["kept"]:
        return f"not kept: {cut['reason']}"
    return f"kept{', for calls too' if cut['calls'] == 'parts' else ' for streams'}: {cut['reason']}"


def equality_text(cut: Mapping[str, Any]) -> str:
    """The parts put together against the whole graph, on the samples of the search."""
    if cut["equal"] == cut["samples"]:
        return f"equal to the whole bit for bit on all {cut['samples']} samples"
    return (
        f"equal to the whole bit for bit on {cut['equal']} of {cut['samples']} samples, "
        f"at most {significant(cut['max_abs'])} apart"
    )


def costs_text(cut: Mapping[str, Any]) -> str | None:
    """Computing a second at the declared rates; None where no stream declares one."""
    costs = cut["stream_ms_per_s"]
    if costs is None:
        return None
    whole, split = (significant(costs[name]) for name in ("whole", "split"))
    return f"{whole} ms of computing a second as a whole, {split} ms part by part"


def calls_text(cut: Mapping[str, Any]) -> str:
    """What one call with all inputs takes, each way."""
    ways = [("as a whole", cut["whole_p50_ms"]), ("part by part", cut["split_p50_ms"])]
    if cut["parallel_p50_ms"] is not None:
        ways.append(("with branches at the same time", cut["parallel_p50_ms"]))
    return ", ".join(f"{significant(value)} ms {name}" for name, value in ways)


def operations_text(part: Part) -> str:
    return f"{part.operations} operation{'' if part.operations == 1 else 's'} ({percent(part.operations_share)})"
