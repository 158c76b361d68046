"""The parts of a graph as artifacts on this machine: opening them, and what each takes in each way to run it.

Numpy and one vendor library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.latency import measure
from edgefuse.parts import Partition
from edgefuse.spec import Array, Feed, ModelSpec

RUNS, WARMUP = 16, 4


@dataclass(frozen=True)
class PartSet:
    """The artifacts of one graph's parts in *folder*; ``graph`` is its name, ``spec`` the whole model's, ``ways`` the
    settings that they were tried with."""

    backend: str
    graph: str
    spec: ModelSpec
    partition: Partition
    folder: Path
    ways: tuple[Settings, ...]

    def artifact(self, part: str) -> Path:
        """In the partition's order, since a stream's name need not be a file name."""
        return self.folder / str([item.name for item in self.partition.parts].index(part))


@dataclass(frozen=True)
class PartTime:
    """What one call of ``part``, cut from ``graph``, takes; ``settings`` say how it was run."""

    part: str
    graph: str
    settings: Settings
    p50_ms: float
    p90_ms: float

    def to_json(self) -> dict[str, Any]:
        how = {"inference": self.settings.inference_precision, "threads": self.settings.threads}
        return {"part": self.part, "graph": self.graph, **how, "p50_ms": self.p50_ms}


def open_part(parts: PartSet, name: str, settings: Settings) -> Runner:
    spec = part_spec(parts.partition[name], parts.partition, parts.spec)
    return load_backend(parts.backend).open(parts.artifact(name), spec, settings)


def open_assembled(parts: PartSet, settings: Mapping[str, Settings], lanes: Sequence[Sequence[str]] = ()) -> Assembled:
    """All parts, each with its *settings*; several *lanes* need threads that are not tied to one core."""
    free = len(lanes) > 1
    runners = {name: open_part(parts, name, replace(how, pinned=not free)) for name, how in settings.items()}
    return Assembled(parts.partition, runners, parts.spec, lanes)


def measure_parts(sets: Sequence[PartSet], feeds: Sequence[Feed]) -> list[PartTime]:
    """Every part of every set in each of its ways, all in turns."""
    arms: dict[tuple[int, str, Settings], Runner] = {}
    with contextlib.ExitStack() as stack:
        for number, parts in enumerate(sets):
            boundary = _boundary(parts, feeds)
            for name in [part.name for part in parts.partition.parts]:
                own = [{key: row[key] for key in parts.partition[name].inputs} for row in boundary]
                for how in parts.ways:
                    runner = open_part(parts, name, how)
                    stack.callback(runner.close)
                    arms[number, name, how] = _Fed(runner, own)
        keys = {str(index): key for index, key in enumerate(arms)}
        found = measure(
            {label: arms[key] for label, key in keys.items()}, [{}], 0.3, max_runs=400, min_runs=RUNS, warmup=WARMUP
        )
    return [
        PartTime(name, sets[number].graph, how, found[label].percentile(50), found[label].percentile(90))
        for label, (number, name, how) in keys.items()
    ]


def _boundary(parts: PartSet, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    """For each feed every tensor that some part reads."""
    names = {name for part in parts.partition.parts for name in part.inputs}
    rows: list[dict[str, Array]] = [dict(feed) for feed in feeds]
    for part in parts.partition.parts:
        runner = open_part(parts, part.name, parts.ways[0])
        for row in rows:
            made = runner({name: row[name] for name in part.inputs})
            row |= {name: array for name, array in made.items() if name in names}
        runner.close()
    return rows


class _Fed:
    """A part with its own feeds, whatever it is given: the boundary tensors are not the model's inputs."""

    def __init__(self, runner: Runner, feeds: Sequence[Feed]) -> None:
        self._runner, self._feeds, self._count = runner, feeds, 0

    def __call__(self, feed: Feed) -> dict[str, Array]:
        self._count += 1
        return self._runner(self._feeds[self._count % len(self._feeds)])

    def close(self) -> None:
        self._runner.close()
