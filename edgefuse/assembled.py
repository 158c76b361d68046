"""A model that runs part by part: branches, then the trunk, each an artifact of its own. Numpy only.

Branches can run at the same time: each lane of branches in a thread of its own, the caller's thread among them (the
vendors' libraries let go of Python's lock while they compute).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from time import perf_counter_ns

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
    """The parts of *partition*, each in its runner: all of them in a call, or some of them in :meth:`run`. With several
    *lanes* branches run at the same time."""

    def __init__(
        self, partition: Partition, runners: Mapping[str, Runner], spec: ModelSpec, lanes: Sequence[Sequence[str]] = ()
    ) -> None:
        self.partition, self.lanes = partition, lanes if len(lanes) > 1 else ()
        self._runners, self._outputs = dict(runners), spec.outputs
        made = {tensor.name for tensor in partition.tensors}
        for runner in self._runners.values():
            if hasattr(runner, "keep"):  # tensors between parts are our own: nobody writes to them
                runner.keep(made)
        self._lane = {name: index for index, lane in enumerate(self.lanes) for name in lane}
        self._pool = ThreadPoolExecutor(len(lanes) - 1, "edgefuse-lane") if self.lanes else None

    @property
    def cached(self) -> dict[str, str]:
        """Part to where its compiled form came from: the runner's ``cached``."""
        return {name: getattr(runner, "cached", "off") for name, runner in self._runners.items()}

    def __call__(self, feed: Feed) -> dict[str, Array]:
        values: dict[str, Array] = dict(feed)
        self.run(self.partition.parts, values)
        return {name: values[name] for name in self._outputs}

    def run(self, parts: Sequence[Part], values: dict[str, Array], took_ns: dict[str, int] | None = None) -> None:
        """Run *parts*, which are in the partition's order: they read *values* and put what they make there. How long
        each took goes into *took_ns*."""
        took_ns = {} if took_ns is None else took_ns
        if self._pool is None:
            return self._run(parts, values, took_ns)
        lanes: list[list[Part]] = [[] for _ in self.lanes]
        rest = []
        for part in parts:
            lanes[self._lane[part.name]].append(part) if part.name in self._lane else rest.append(part)
        busy = [lane for lane in lanes if lane]
        if len(busy) < 2:  # a step of one sensor, mostly: the pool would cost 2 µs
            return self._run(parts, values, took_ns)
        # Each part has its own keys, so that lanes can write to one dict.
        waiting = [self._pool.submit(self._run, lane, values, took_ns) for lane in busy[1:]]
        try:
            self._run(busy[0], values, took_ns)
        finally:
            _finish(waiting)
        for item in waiting:
            item.result()
        self._run(rest, values, took_ns)

    def _run(self, parts: Sequence[Part], values: dict[str, Array], took_ns: dict[str, int]) -> None:
        for part in parts:
            started = perf_counter_ns()
            values.update(self._runners[part.name]({name: values[name] for name in part.inputs}))
            took_ns[part.name] = perf_counter_ns() - started

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        for runner in self._runners.values():
            runner.close()


def _finish(waiting: Sequence[Future[None]]) -> None:
    """Also where Ctrl-C comes meanwhile: the next step would write to what these lanes still do."""
    try:
        wait(waiting)
    except BaseException:
        wait(waiting)
        raise
