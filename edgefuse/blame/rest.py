"""What lies behind given tensors of a graph: from them to the outputs, run by onnxruntime as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx
from onnx import helper

from edgefuse.backends.onnxruntime import open_session
from edgefuse.part_answers import Row
from edgefuse.partition.extract import Index, extract
from edgefuse.parts import Part
from edgefuse.spec import Array, Feed


def tensors_of(model: onnx.ModelProto, names: Iterable[str], feeds: Iterable[Feed]) -> list[Row]:
    """The values of the tensors *names*, and of the outputs, for each feed."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    outputs = [value.name for value in model.graph.output]
    wanted = list(dict.fromkeys([*outputs, *names]))
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in outputs)
    session = open_session(observed.SerializeToString(), optimize="basic", emulate=True)
    present = [node.name for node in session.get_inputs()]
    return [dict(zip(wanted, session.run(wanted, {name: feed[name] for name in present}))) for feed in feeds]


class Rest:
    """*model* from the tensors *given* to its outputs; *example* holds a value of each, and of every input."""

    def __init__(self, model: onnx.ModelProto, given: Sequence[str], example: Mapping[str, Array]) -> None:
        index = Index(model.graph)
        outputs = [value.name for value in model.graph.output]
        self._direct = [name for name in outputs if name in given]
        self._outputs = [name for name in outputs if name not in given]
        if not self._outputs:
            return
        _, ends = index.needed(self._outputs, set(given).__contains__)
        part = Part("rest", (), tuple(index.ordered(ends)), tuple(self._outputs))
        types = {value.name: value for value in model.graph.output} | {
            name: _type(name, example[name]) for name in ends
        }
        alone = extract(model, index, part, {}, types)
        self._session = open_session(alone.SerializeToString(), emulate=True)
        self._inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, values: Mapping[str, Array]) -> Row:
        """All outputs; *values* holds the inputs of the model and the given tensors."""
        direct = {name: values[name] for name in self._direct}
        if not self._outputs:
            return direct
        found = self._session.run(self._outputs, {name: values[name] for name in self._inputs})
        return {**direct, **dict(zip(self._outputs, found))}


def _type(name: str, array: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
