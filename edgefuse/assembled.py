"""A model that runs part by part: branches, then the trunk, each an artifact of its own. Numpy only.

Branches can run at the same time: each lane of branches in a thread of its own, the caller's thread among them (the
vendors' libraries let go of Python's lock while they compute).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from edgefuse.backends import Runner
from edgefuse.parts import Part, Partition
from edgefuse.spec import Array, Feed, ModelSpec


def part_spec(part: Part, partition: Partition, spec: ModelSpec) -> ModelSpec:
    """Inputs and outputs of *part* as a model of its own."""
    known = {tensor.name: tensor for tensor in [*partition.tensors, *spec.inputs]}
    return ModelSpec(tuple(known[name] for name in part.inputs), part.outputs)


def find_lanes(partition: Partition, costs_ms: Mapping[str, float], count: int) -> list[list[str]]:
    """Branches spread over at most *count* lanes, the costliest first, each into the lane that has least to do; one
    lane where branches wait for each other."""
    branches = [part.name for part in partition.branches]
    if any(part.shape_inputs for part in partition.branches) or len(branches) < 2 or count < 2:
        return [branches]
    lanes: list[list[str]] = [[] for _ in range(min(count, len(branches)))]
    for name in sorted(branches, key=lambda name: -costs_ms[name]):
        min(lanes, key=lambda lane: sum(costs_ms[other] for other in lane)).append(name)
    return lanes


class Assembled:
    """All parts of *partition*, one call after another, or with several *lanes* branches at the same time."""

    def __init__(
        self, partition: Partition, runners: Mapping[str, Runner], spec: ModelSpec, lanes: Sequence[Sequence[str]] = ()
    ) -> None:
        self._partition, self._runners, self._outputs = partition, dict(runners), spec.outputs
        together = {name for lane in lanes for name in lane} if len(lanes) > 1 else set[str]()
        self._lanes = [[partition[name] for name in lane] for lane in lanes] if together else []
        self._rest = [part for part in partition.parts if part.name not in together]
        self._pool = ThreadPoolExecutor(len(lanes) - 1, "edgefuse-lane") if self._lanes else None

    def __call__(self, feed: Feed) -> dict[str, Array]:
        made: dict[str, Array] = dict(feed)
        if self._pool is not None:
            waiting = [self._pool.submit(self._run, lane, made) for lane in self._lanes[1:]]
            found = [self._run(self._lanes[0], made), *(item.result() for item in waiting)]
            for outputs in found:
                made.update(outputs)
        made |= self._run(self._rest, made)
        return {name: made[name] for name in self._outputs}

    def _run(self, parts: Sequence[Part], given: Mapping[str, Array]) -> dict[str, Array]:
        """What *parts* make, one after another; *given* stays as it is, for others read it at the same time."""
        made: dict[str, Array] = {}
        for part in parts:
            feed = {name: made[name] if name in made else given[name] for name in part.inputs}
            made |= self._runners[part.name](feed)
        return made

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for runner in self._runners.values():
            runner.close()
