"""What the parts have made and who has to run again: inputs in use, held features, outputs, and the model's state.
Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefuse.assembled import Assembled
from edgefuse.errors import StreamError
from edgefuse.parts import Part, Partition
from edgefuse.spec import Array, ModelSpec

REMEMBERED = 256
"""Sets of streams that delivered together, with what they make run: with twenty sensors there could be a million."""


@dataclass(frozen=True)
class Engine:
    """What a session runs: the parts, the lock that they share with other callers, and their p90 as the bundle has it
    (None where it was not measured). ``check`` raises where the model cannot be used, ``note`` is told how a run ended
    (None: well)."""

    spec: ModelSpec
    parts: Assembled
    lock: AbstractContextManager[Any]
    p90_ms: Mapping[str, float | None]
    check: Callable[[], None]
    note: Callable[[BaseException | None], None]


class Features:
    """``values`` are the model's inputs in use and every tensor that a part has made, by name. ``complete``: all parts
    have run, so that there are outputs and only what is affected has to run again."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._partition = engine, engine.parts.partition
        self._shaped = any(part.shape_inputs for part in self._partition.parts)
        self._affected: dict[tuple[frozenset[str], frozenset[str]], tuple[Part, ...]] = {}
        self.preparable = {} if self._shaped else _preparable(self._partition)
        self.initial = _initial_state(engine.spec, [name for name, _ in self._partition.state])
        self.values: dict[str, Array] = {}
        self._outputs: dict[str, Array] = {}
        self.complete = False
        self.forget([])

    def forget(self, kept: Iterable[str]) -> None:
        """Start anew, with the initial state; the inputs *kept* stay in use."""
        self.values = {**self.initial, **{name: self.values[name] for name in kept}}
        self.complete = False

    def parts_for(self, streams: frozenset[str], prepared: frozenset[str] = frozenset()) -> tuple[Part, ...]:
        """What has to run when *streams* have new data, the branches of those *prepared* having run before."""
        if not self.complete:
            return self._partition.parts
        found = self._affected.get((streams, prepared))
        if found is None:
            if len(self._affected) >= REMEMBERED:
                self._affected.clear()
            affected, ready = self._partition.affected(streams), streams & prepared
            found = tuple(part for part in affected if part.name not in ready or part is self._partition.trunk)
            self._affected[streams, prepared] = found
        return found

    def prepare(self, branch: Part, arrays: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
        """What *branch* makes of new data, which no other part sees yet; and the nanoseconds that it took."""
        values, took_ns = dict(arrays), dict[str, int]()
        self._compute((branch,), values, took_ns)
        return {name: values[name] for name in branch.outputs}, took_ns[branch.name]

    def run(self, parts: Sequence[Part]) -> dict[str, int]:
        """Run *parts* and carry the state on; nanoseconds that each took. If one fails, all run at the next step."""
        self.complete, took_ns = False, dict[str, int]()
        self._compute(parts, self.values, took_ns)
        # Before the state is carried on, and that all at once: an output may be an input of the state, unchanged.
        self._outputs = {name: self.values[name] for name in self._engine.spec.outputs}
        self.values.update({name: self.values[output] for name, output in self._partition.state})
        self.complete = True
        return took_ns

    def _compute(self, parts: Sequence[Part], values: dict[str, Array], took_ns: dict[str, int]) -> None:
        with self._engine.lock:
            self._engine.check()
            try:
                if self._shaped:
                    self._run_shaped(parts, values, took_ns)
                else:
                    self._engine.parts.run(parts, values, took_ns)
            except BaseException as error:
                self._engine.note(error)
                raise
        self._engine.note(None)

    def _run_shaped(self, parts: Sequence[Part], values: dict[str, Array], took_ns: dict[str, int]) -> None:
        """One after another, and with them branches that read another sensor's shape where that has changed, and
        whoever reads what these make."""
        wanted, before, made = {part.name for part in parts}, dict(values), set[str]()
        for part in self._partition.parts:
            reshaped = any(
                name not in before or not np.array_equal(before[name], values[name]) for name in part.shape_inputs
            )
            if part.name in wanted or reshaped or not made.isdisjoint(set(part.inputs) - set(part.shape_inputs)):
                self._engine.parts.run((part,), values, took_ns)
                made.update(part.outputs)

    def outputs(self) -> dict[str, Array]:
        """Copies: the next step may go on using these very arrays."""
        return {name: array.copy() for name, array in self._outputs.items()}


def _preparable(partition: Partition) -> dict[str, Part]:
    """Streams with a branch that reads nothing but what they deliver, and whose features the trunk reads."""
    trunk = set() if partition.trunk is None else set(partition.trunk.inputs)
    alone = [part for part in partition.branches if not partition.runs_always(part)]
    return {part.name: part for part in alone if not trunk.isdisjoint(part.outputs)}


def _initial_state(spec: ModelSpec, names: Iterable[str]) -> dict[str, Array]:
    """Zeros, which is what PyTorch's recurrent layers start from."""
    known = {item.name: item for item in spec.inputs}
    for name in names:
        if known[name].dynamic:
            raise StreamError(f"the state {name!r} has a dynamic shape, so that its first value is not known")
    return {name: np.zeros(known[name].smallest(), known[name].dtype) for name in names}
