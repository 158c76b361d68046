"""The parts that a fusion model is cut into, as the manifest and the runtime know them: one branch a sensor, and the
trunk where sensors meet (``docs/partition.md``). Standard library only; :mod:`edgefuse.partition` makes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from edgefuse.json_shape import check_form
from edgefuse.spec import DTYPES, ModelSpec, TensorSpec

PART_FORM = {
    "name": str,
    "streams": [str],
    "inputs": [str],
    "outputs": [str],
    "shape_inputs": [str],
    "operations": int,
    "weight_bytes": int,
    "macs": (int, None),
}
TENSOR_FORM = {
    "name": str,
    "shape": list,
    "dtype": str,
    "stream": str,
    "modality": (str, None),
    "rate_hz": (float, None),
}
FORM = {"parts": [PART_FORM], "tensors": [TENSOR_FORM], "state": [[str]]}


@dataclass(frozen=True)
class Part:
    """One piece of the model, which runs as a whole.

    ``streams``       whose data it depends on: one for a branch, any number for the trunk
    ``inputs``        what it reads: inputs of the model in their order, then tensors of parts that run earlier
    ``outputs``       what it makes: tensors that later parts read, then outputs of the model
    ``shape_inputs``  those of ``inputs`` that carry only the shape of another sensor's data: a branch that reads one
                      has to run again when its *value* changes, not whenever that sensor delivers
    ``operations``    nodes but Constant, Identity, QuantizeLinear and DequantizeLinear, so that float and INT8 compare
    ``weight_bytes``  bytes of the initializers that it reads; what two parts read counts in both
    ``macs``          multiply-accumulates of one run (Conv, ConvTranspose, MatMul, Gemm, LSTM, GRU, RNN); None where a
                      shape is open or the body of an If, Loop or Scan has some
    """

    name: str
    streams: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape_inputs: tuple[str, ...] = ()
    operations: int = 0
    weight_bytes: int = 0
    macs: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Part:
        """Raises ``ValueError`` that names what is missing, unknown or of another type."""
        check_form(data, PART_FORM)
        _check_known(data, PART_FORM, f"part {data['name']!r}")
        if min(data["operations"], data["weight_bytes"], data["macs"] or 0) < 0:
            raise ValueError(f"part {data['name']!r} has a negative count")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)


@dataclass(frozen=True)
class Partition:
    """``parts`` in an order in which they can run; ``tensors`` on the boundaries, each with the name of the part that
    makes it as its ``stream``; ``state`` pairs an input of the model with the output that feeds it at the next step.
    """

    parts: tuple[Part, ...]
    tensors: tuple[TensorSpec, ...] = ()
    state: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> Part:
        """The part called *name*; ``KeyError`` where there is none."""
        return {part.name: part for part in self.parts}[name]

    @property
    def trunk(self) -> Part | None:
        """The part where streams meet; None where they never do. It is the last to run."""
        last = self.parts[-1:]
        return next((part for part in last if part.streams != (part.name,)), None)

    @property
    def branches(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part is not self.trunk)

    @property
    def boundary_bytes(self) -> int | None:
        """What the tensors between parts take; None where one of them has a dynamic shape."""
        sizes = [tensor_bytes(tensor) for tensor in self.tensors]
        return None if any(size is None for size in sizes) else sum(size or 0 for size in sizes)

    def runs_always(self, part: Part) -> bool:
        """Whether *part* reads the model's state, which is new at every step."""
        return not {name for name, _ in self.state}.isdisjoint(part.inputs)

    def affected(self, streams: Iterable[str]) -> tuple[Part, ...]:
        """The parts to run, in order, once *streams* have delivered: those that depend on one of them or on the
        model's state, and whoever reads what these make. Not the readers of a ``shape_inputs`` tensor alone: the
        caller adds them where its value has changed. At the very first step all parts have to run.
        """
        delivered, fresh, found = set(streams), set[str](), []
        for part in self.parts:
            read = set(part.inputs) - set(part.shape_inputs)
            if not delivered.isdisjoint(part.streams) or self.runs_always(part) or not fresh.isdisjoint(read):
                found.append(part)
                fresh.update(part.outputs)
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        return {
            "parts": [part.to_json() for part in self.parts],
            "tensors": [tensor.to_json() for tensor in self.tensors],
            "state": [list(pair) for pair in self.state],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Partition:
        """Raises ``ValueError`` that names what is wrong: the form, or parts and tensors that do not fit together."""
        check_form(data, FORM)
        _check_known(data, FORM, "the partition")
        if any(len(pair) != 2 for pair in data["state"]):
            raise ValueError("state is not a list of pairs: an input of the model and the output that feeds it")
        parts = tuple(Part.from_json(item) for item in data["parts"])
        tensors = tuple(_read_tensor(item) for item in data["tensors"])
        found = cls(parts, tensors, tuple((pair[0], pair[1]) for pair in data["state"]))
        _check_fits(found)
        return found


def check_partition(partition: Partition, spec: ModelSpec) -> None:
    """Raise ``ValueError`` unless *partition* is one of the model *spec*: its parts read the model's inputs and each
    other's tensors alone, make all of its outputs, and its state and streams are the model's."""
    boundary = {tensor.name for tensor in partition.tensors}
    streams = {item.stream or item.name for item in spec.inputs}
    for part in partition.parts:
        _check_subset(f"part {part.name!r} reads", part.inputs, {*spec.names, *boundary})
        _check_subset(f"part {part.name!r} makes", part.outputs, {*spec.outputs, *boundary})
        _check_subset(f"part {part.name!r} depends on", part.streams, streams)
    _check_subset("the model has", spec.outputs, {name for part in partition.parts for name in part.outputs})
    _check_subset("the state is", [name for name, _ in partition.state], spec.names)
    _check_subset("the state is fed by", [name for _, name in partition.state], spec.outputs)


def _check_subset(what: str, names: Iterable[str], known: Container[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{what} {unknown[0]!r}, which the rest of the manifest does not know")


def tensor_bytes(tensor: TensorSpec) -> int | None:
    """Bytes of one value of *tensor*; None where its shape is dynamic."""
    bits = re.search(r"\d+$", tensor.dtype)
    size = int(bits[0]) // 8 if bits else 1  # bool
    return None if tensor.dynamic else math.prod(tensor.smallest()) * size


def _read_tensor(data: Mapping[str, Any]) -> TensorSpec:
    _check_known(data, [field.name for field in fields(TensorSpec)], f"tensor {data['name']!r}")
    if data["dtype"] not in DTYPES:
        raise ValueError(f"tensor {data['name']!r} has the unknown dtype {data['dtype']!r}")
    return TensorSpec.from_json(data)


def _check_known(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}")


def _check_fits(partition: Partition) -> None:
    """Every tensor has one maker, and who reads it runs later."""
    if not partition.parts:
        raise ValueError("parts is empty")
    _check_unique("part", [part.name for part in partition.parts])
    _check_unique("output", [name for part in partition.parts for name in part.outputs])
    _check_unique("tensor", [tensor.name for tensor in partition.tensors])
    _check_unique("state input", [name for name, _ in partition.state])
    makers = {name: part.name for part in partition.parts for name in part.outputs}
    for tensor in partition.tensors:
        if makers.get(tensor.name) != tensor.stream:
            raise ValueError(f"tensor {tensor.name!r} is not made by {tensor.stream!r}")
    for _, output in partition.state:
        if output not in makers:
            raise ValueError(f"no part makes {output!r}, which feeds the state")
    _check_order(partition)


def _check_order(partition: Partition) -> None:
    boundary, made = {tensor.name for tensor in partition.tensors}, set[str]()
    for part in partition.parts:
        late = sorted(boundary.intersection(part.inputs) - made)
        if late:
            raise ValueError(f"part {part.name!r} runs before the part that makes its input {late[0]!r}")
        if not set(part.shape_inputs) <= set(part.inputs) & boundary:
            raise ValueError(f"part {part.name!r} has shape_inputs that it does not read from another part")
        made.update(part.outputs)


def _check_unique(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the {what} {twice[0]!r} is there twice")
