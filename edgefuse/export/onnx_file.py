"""An ONNX file: checked, its open sizes settled, and written again as one file.

Opsets 13 to 21 stay as they are, since converting can only lose; 11 and 12 are raised to 13, older ones
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import ModelProto, ValueInfoProto, defs, external_data_helper, helper, version_converter
from onnx_ir.passes import common as passes

from edgefuse.errors import ModelError
from edgefuse.export import Source
from edgefuse.export.blame import one_sentence
from edgefuse.export.capture.outputs import check_output_names as check_names
from edgefuse.export.declared import Declared, OpenDim, resolve_inputs
from edgefuse.export.finish import finish
from edgefuse.export.onnx_rules import OLDEST_OPSET, WANTED_OPSET, check_operators, opset_of
from edgefuse.export.onnx_runner import OnnxRunner
from edgefuse.recipe import Recipe, check_output_names
from edgefuse.spec import DTYPES, Dim, DimRange, ModelSpec, TensorSpec


def load(path: Path, recipe: Recipe, trust: bool) -> Source:
    """The graph in *path*; the recipe sets the sizes that it leaves open."""
    where = str(path)
    model, notes = read_model(path)
    notes += check_operators(model, where)
    declared = _declared_inputs(model, where)
    inputs, size_notes = resolve_inputs(declared, recipe.inputs, where)
    _check_shared(declared, inputs, where)
    outputs = check_names(
        [_output_name(value, where) for value in model.graph.output],
        tuple(spec.name for spec in inputs),
        where,
    )
    check_output_names(recipe, outputs)
    spec = ModelSpec(inputs, outputs)
    settled = settle_sizes(model, inputs)
    runner = OnnxRunner(settled, spec, where)
    runner.try_out()
    return Source("onnx", spec, runner, OnnxExport(settled, spec), notes + size_notes)


def read_model(path: Path) -> tuple[ModelProto, tuple[str, ...]]:
    """The checked model with its external data, at opset 13 or later, and a note if that was raised."""
    where = str(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
        _check_external(model, path)
        onnx.checker.check_model(str(path))
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except ModelError:
        raise
    except Exception as error:  # DecodeError, ValidationError, OSError, …: all say that the file is not sound
        raise ModelError(
            f"is not a valid ONNX model: {one_sentence(error)}",
            where=where,
            hint="Export it again, and check it with onnx.checker.check_model.",
        ) from error
    return _raise_opset(model, where)


def _check_external(model: ModelProto, path: Path) -> None:
    for tensor in external_data_helper._get_all_tensors(model):
        if not external_data_helper.uses_external_data(tensor):
            continue
        location = external_data_helper.ExternalDataInfo(tensor).location
        if not (path.parent / location).is_file():
            raise ModelError(
                f"the weights are in another file, which is missing: {location!r}",
                where=str(path),
                hint=f"Put it beside {path.name}, under exactly this name.",
            )


def _raise_opset(model: ModelProto, where: str) -> tuple[ModelProto, tuple[str, ...]]:
    opset = opset_of(model)
    hint = f"Export it again with opset 18 (at least {WANTED_OPSET})."
    if opset > defs.onnx_opset_version():
        newest = f"onnx {onnx.__version__} knows opsets up to {defs.onnx_opset_version()}"
        raise ModelError(f"the model uses opset {opset}; {newest}", where=where, hint=hint)
    if opset >= WANTED_OPSET:
        return model, ()
    if opset < OLDEST_OPSET:
        raise ModelError(f"the model uses opset {opset}; expected at least {OLDEST_OPSET}", where=where, hint=hint)
    try:
        converted = version_converter.convert_version(model, WANTED_OPSET)
    except Exception as error:  # the converter knows not every operator
        raise ModelError(
            f"opset {opset} cannot be raised to {WANTED_OPSET}: {one_sentence(error)}", where=where, hint=hint
        ) from error
    return converted, (f"Opset {opset} was raised to {WANTED_OPSET}.",)


def _declared_inputs(model: ModelProto, where: str) -> list[Declared]:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if not inputs:
        raise ModelError("the model has no inputs", where=where)
    return [_declared(value, where) for value in inputs]


def _check_shared(declared: list[Declared], inputs: tuple[TensorSpec, ...], where: str) -> None:
    """A dimension that the file gives one name at several inputs has one size, or one range."""
    seen: dict[str, tuple[str, Dim]] = {}
    sizes = {spec.name: spec.shape for spec in inputs}
    for value in declared:
        for name, dim in zip(value.dims, sizes[value.name]):
            if not isinstance(name, str):
                continue
            other, known = seen.setdefault(name, (value.name, dim))
            if known != dim:
                raise ModelError(
                    f"the inputs {other!r} and {value.name!r} share the dimension {name!r}, which is {known} in one "
                    f"and {dim} in the other",
                    where=where,
                    hint="Give both the same size, or the same range, in the recipe.",
                )


def _declared(value: ValueInfoProto, where: str) -> Declared:
    dtype = _dtype(value, "input", where)
    if not value.type.tensor_type.HasField("shape"):
        raise ModelError(
            f"input {value.name!r} has no shape, not even its number of dimensions",
            where=where,
            hint="Export the model again with example inputs.",
        )
    dims: list[OpenDim] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        dims.append(dim.dim_value if dim.dim_value > 0 else dim.dim_param or f"{value.name}_{axis}")
    return Declared(value.name, tuple(dims), dtype)


def _dtype(value: ValueInfoProto, role: str, where: str) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(
            f"{role} {value.name!r} is a {str(kind).removesuffix('_type')}; expected a tensor", where=where
        )
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
    if dtype not in DTYPES:
        raise ModelError(
            f"{role} {value.name!r} has dtype {dtype}",
            where=where,
            hint=f"EdgeFuse handles: {', '.join(DTYPES)}.",
        )
    return str(dtype)


def _output_name(value: ValueInfoProto, where: str) -> str:
    _dtype(value, "output", where)
    return str(value.name)


def settle_sizes(model: ModelProto, inputs: tuple[TensorSpec, ...]) -> ModelProto:
    """A copy of *model* with the inputs' shapes set, and all other shapes inferred from them again."""
    settled = ir.from_proto(model)
    if all(_matches(value, spec) for value, spec in zip(_real_inputs(settled), inputs)):
        return model
    for node in settled.graph.all_nodes():
        for value in node.outputs:
            value.shape = None
    for value, spec in zip(_real_inputs(settled), inputs):
        value.shape = ir.Shape([_settled(value, i, dim) for i, dim in enumerate(spec.shape)])
    passes.ShapeInferencePass()(settled)
    return ir.to_proto(settled)


def _settled(value: ir.Value, axis: int, dim: Dim) -> int | str:
    """The size, or the file's own name for one that stays open: equal names mean equal sizes."""
    known = value.shape[axis] if value.shape is not None else None
    name = getattr(known, "value", None)
    return (name or f"{value.name}_{axis}") if isinstance(dim, DimRange) else dim


def _real_inputs(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def _matches(value: ir.Value, spec: TensorSpec) -> bool:
    return value.shape is not None and tuple(value.shape) == spec.shape


@dataclass(frozen=True)
class OnnxExport:
    """``Source.export`` of an ONNX file."""

    model: ModelProto
    spec: ModelSpec

    def __call__(self, path: Path) -> str:
        """Write the graph to *path* as one file; returns "onnx"."""
        model = ir.from_proto(self.model)
        passes.RemoveInitializersFromInputsPass()(model)
        finish(model, self.spec, path)
        return "onnx"
