"""From a torch program to the ONNX file, with torch's exporters kept quiet and their failures made short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn
from torch.export import ExportedProgram
from torch.jit._trace import TracerWarning

from edgefuse.errors import ModelError
from edgefuse.export.blame import is_users, line_in_text, one_sentence, root_cause, user_line
from edgefuse.export.capture.program import Capture
from edgefuse.export.capture.torch_model import FlatCall, FlatModule, example_tensors
from edgefuse.export.capture.trial_run import ExportFailure, check_runs
from edgefuse.export.finish import finish
from edgefuse.export.quiet import quiet, write_log
from edgefuse.spec import DimRange, ModelSpec, TensorSpec

OPSET = 18
DYNAMO, LEGACY = "torch-dynamo", "torchscript-legacy"


@dataclass(frozen=True)
class TorchExport:
    """``Source.export`` of a torch model: dynamo's exporter, and once the legacy one if there is a *module*
    for it."""

    spec: ModelSpec
    where: str
    captured: Capture
    reference: FlatCall
    module: FlatModule | None = None

    def __call__(self, path: Path) -> str:
        """Write the graph to *path*; returns the exporter's name. Raises :class:`ModelError` with dynamo's
        cause."""
        try:
            self._write(self._dynamo(), path)
            return DYNAMO
        except ExportFailure as failure:
            first = failure
        try:
            if self.module is None:
                raise first
            self._write(legacy(self.module, self.spec, path), path)
            return LEGACY
        except (ExportFailure, ModelError):
            path.unlink(missing_ok=True)
            raise explain(first, self.where) from first

    def _dynamo(self) -> ir.Model:
        if self.captured.program is None:
            raise ExportFailure(self.captured.log) from self.captured.failure
        return dynamo(self.captured.program, self.spec.names)

    def _write(self, model: ir.Model, path: Path) -> None:
        finish(_own_names(model), self.spec, path)
        check_runs(path, self.spec, self.reference)


def dynamo(program: ExportedProgram, inputs: Sequence[str]) -> ir.Model:
    """torch.onnx.export of a program. Raises :class:`ExportFailure`."""
    with quiet() as chatter:
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                optimize=True,
                verbose=False,
                input_names=list(inputs),
            )
        except Exception as error:  # the exporter's own types, and whatever its translations raise
            raise ExportFailure(chatter.text) from error
    if exported is None:
        raise ExportFailure(chatter.text)
    return exported.model


def legacy(flat: FlatModule, spec: ModelSpec, path: Path) -> ir.Model:
    """The TorchScript exporter. Raises :class:`ExportFailure`, also where tracing would fix a Python
    branch."""
    scratch = path.with_name(f".{path.name}.legacy")
    with quiet(native=True) as chatter:
        try:
            with torch.no_grad():
                _legacy_export(flat, spec, scratch)
            model = ir.load(scratch)
            ir.external_data.load_to_model(model)
        except Exception as error:  # as above
            raise ExportFailure(chatter.text) from error
        finally:
            scratch.unlink(missing_ok=True)
    # torch's own layers warn as well, for checks of their arguments that hold at any size
    traced = [w for w in chatter.warnings if issubclass(w.category, TracerWarning) and is_users(w.filename)]
    if traced:
        raise ExportFailure(chatter.text) from RuntimeError(str(traced[0].message))
    return model


def _legacy_export(flat: FlatModule, spec: ModelSpec, path: Path) -> None:
    """A script goes in as it is: the tracer would unroll its control flow, and refuses a loaded one inside a
    module."""
    module: nn.Module = flat
    arguments: tuple[Any, ...] = example_tensors(spec.inputs)
    names = list(spec.names)
    if isinstance(flat.module, torch.jit.ScriptModule):
        module, (arguments, keywords) = flat.module, flat.call.arguments(arguments)
        order, keyword_order = flat.call.arguments(names)
        if keywords or keyword_order or flat.call.packed:
            raise TypeError("the script takes its inputs by keyword, or as one dict or list")
        names = list(order)
    torch.onnx.export(
        module,
        arguments,
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=names,
        dynamic_axes=_axes(spec.inputs),
        verbose=False,
    )


def _own_names(model: ir.Model) -> ir.Model:
    """``module.encoder.weight`` is ``encoder.weight`` in the user's model: the prefix is FlatModule's."""
    initializers = model.graph.initializers
    for value in list(initializers.values()):
        name = str(value.name).removeprefix("module.")
        if name and name not in initializers:
            value.name = name
    return model


def _axes(inputs: Sequence[TensorSpec]) -> dict[str, dict[int, str]]:
    axes = {
        spec.name: {i: f"{spec.name}_{i}" for i, dim in enumerate(spec.shape) if isinstance(dim, DimRange)}
        for spec in inputs
    }
    return {name: dims for name, dims in axes.items() if dims}


def explain(failure: ExportFailure, where: str) -> ModelError:
    """One sentence with the cause, at the user's line if there is one; the rest is in a log file."""
    cause = failure.__cause__ or failure
    root = root_cause(cause)
    log = write_log(failure.log, failure)
    line = user_line(root) or user_line(cause) or line_in_text(failure.log)
    cure = next((cure for mark, cure in CURES if mark in f"{type(root).__name__} {root} {cause}"), "")
    return ModelError(
        f"torch cannot export the model: {one_sentence(root)}",
        where=line or where,
        hint=f"{cure}\nThe whole story is in {log}".strip(),
    )


CURES = (
    (
        "FixedDimError",
        "Write a number instead of the range into the recipe's shape, or export to ONNX yourself.",
    ),
    (
        "_nested_tensor",
        "The script uses torch's fast path for attention masks. Make it again after "
        "torch.backends.mha.set_fastpath_enabled(False).",
    ),
    (
        "data-dependent",
        "The model decides by the value of a tensor. Use torch.where or torch.cond instead of if.",
    ),
    (
        "DataDependent",
        "The model decides by the value of a tensor. Use torch.where or torch.cond instead of if.",
    ),
    ("get value out of", "The script decides by the value of a tensor. Use torch.where instead of if."),
)
"""A mark in the exception's type or text, and what to do."""
