"""Makes any exporter's graph the one that EdgeFuse promises: the spec's names, no functions, weights
inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from edgefuse.backends.onnxruntime import open_session
from edgefuse.errors import ModelError
from edgefuse.export.batchnorm import fold_batchnorm
from edgefuse.export.blame import one_sentence
from edgefuse.export.fold import fold_constants
from edgefuse.spec import DimRange, ModelSpec, TensorSpec

MAX_BYTES = (1 << 31) - (1 << 20)
"""protobuf reads files below 2 GiB only; the graph itself needs some room beside the weights."""


def finish(model: ir.Model, spec: ModelSpec, path: Path) -> None:
    """Rename, tidy, check and write *model* to *path*. Raises :class:`ModelError` if it does not keep the
    promise."""
    passes.ClearMetadataAndDocStringPass()(model)  # stack traces: large, and they tell the author's folders
    passes.InlinePass()(model)
    passes.NameFixPass()(model)  # every node has a name of its own, for messages and toolchains' logs
    passes.OutputFixPass()(model)  # one value under two output names, or an input that is an output
    rename(model.graph, spec)
    fold_constants(model)
    fold_batchnorm(model)
    _check(model.graph, spec, str(path))
    write(model, path)


def write(model: ir.Model, path: Path) -> None:
    """One file with all weights; checked by onnx."""
    size = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
    if size > MAX_BYTES:
        raise ModelError(
            f"the weights take {size / 1e9:.1f} GB; an ONNX file holds at most 2.1 GB",
            where=str(path),
            hint="Use a smaller model, or float16 weights.",
        )
    ir.save(model, path)
    try:
        onnx.checker.check_model(str(path))
        open_in_onnxruntime(path)
    except Exception as error:  # ValidationError or onnxruntime's own, which share no public base but Exception
        path.unlink()
        raise ModelError(f"the exported graph is not valid ONNX: {one_sentence(error)}", where=str(path)) from error


def open_in_onnxruntime(path: Path) -> Any:
    """The graph as it is written. onnx's checker alone lets the legacy exporter's loops with a float counter
    pass (torch 2.13)."""
    return open_session(str(path), optimize="none")


def rename(graph: ir.Graph, spec: ModelSpec) -> None:
    """The spec's names for inputs and outputs; other values that have such a name give way."""
    _restore_inputs(graph, spec.inputs)
    if len(graph.outputs) != len(spec.outputs):
        raise ModelError(f"the exporter wrote {len(graph.outputs)} outputs; expected {', '.join(spec.outputs)}")
    named = [*zip(graph.inputs, spec.names), *zip(graph.outputs, spec.outputs)]
    _make_room({name for _, name in named}, {value for value, _ in named}, graph)
    for value, name in named:
        value.name = f"{name}\0"  # through a name that nothing has, so that two may be swapped
    for value, name in named:
        value.name = name


def _restore_inputs(graph: ir.Graph, inputs: tuple[TensorSpec, ...]) -> None:
    """In the spec's order, with those that the exporter dropped because nothing reads them."""
    found = {value.name: value for value in graph.inputs}
    names = {spec.name for spec in inputs}
    if not set(found) <= names and len(found) == len(inputs):
        return  # renamed by the exporter, but in order
    if not set(found) <= names:
        unknown = ", ".join(sorted(str(name) for name in set(found) - names))
        raise ModelError(f"the exporter wrote the unknown inputs {unknown}")
    graph.inputs[:] = [found.get(spec.name) or _input_value(spec) for spec in inputs]


def _input_value(spec: TensorSpec) -> ir.Value:
    dims = [f"{spec.name}_{i}" if isinstance(d, DimRange) else d for i, d in enumerate(spec.shape)]
    return ir.Value(name=spec.name, shape=ir.Shape(dims), type=ir.TensorType(ir_dtype(spec.dtype)))


def ir_dtype(name: str) -> ir.DataType:
    return ir.DataType[{"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper())]


def _make_room(taken: set[str], owners: set[ir.Value], graph: ir.Graph) -> None:
    values = [value for node in graph.all_nodes() for value in node.outputs] + list(graph.initializers.values())
    used = {value.name for value in values} | taken
    for value in values:
        if value.name in taken and value not in owners:
            value.name = _free_name(str(value.name), used)


def _free_name(name: str, used: set[str | None]) -> str:
    while name in used:
        name += "_"
    used.add(name)
    return name


def _check(graph: ir.Graph, spec: ModelSpec, where: str) -> None:
    for value, wanted in zip(graph.inputs, spec.inputs):
        if value.dtype != ir_dtype(wanted.dtype):
            raise ModelError(f"the exporter changed input {wanted.name!r} to {value.dtype}", where=where)
        _check_dims(value, wanted, where)


def _check_dims(value: ir.Value, wanted: TensorSpec, where: str) -> None:
    dims = tuple(value.shape) if value.shape is not None else ()
    fits = len(dims) == len(wanted.shape) and all(
        isinstance(dim, int) != isinstance(want, DimRange) and (dim == want or isinstance(want, DimRange))
        for dim, want in zip(dims, wanted.shape)
    )
    if not fits:
        raise ModelError(
            f"the exporter gave input {wanted.name!r} the shape {'x'.join(map(str, dims))}; "
            f"expected {wanted.shape_text}",
            where=where,
        )
