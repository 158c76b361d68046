"""A torch module in memory, with the recipe's inputs, as a :class:`Source`. Used by every frontend with a
module."""

from __future__ import annotations

from torch import nn

from edgefuse.errors import ModelError
from edgefuse.export import Source
from edgefuse.export.capture.calling import describe_parameters, forward_parameters, match_call
from edgefuse.export.capture.program import Capture, capture, check_program, graph_notes
from edgefuse.export.capture.torch_model import FlatModule, TorchRunner, Trial, try_model, unsteady
from edgefuse.export.to_onnx import TorchExport
from edgefuse.recipe import Recipe, check_output_names
from edgefuse.spec import ModelSpec


def module_source(kind: str, module: nn.Module, recipe: Recipe, where: str, notes: tuple[str, ...]) -> Source:
    """Checks *module*, which is in evaluation mode, and captures its graph."""
    flat = flat_module(module, recipe, where)
    flat.eval()
    trial = try_model(flat.structured, dict(module.named_buffers()), recipe.inputs, where)
    captured = capture(flat, recipe.inputs)
    return torch_source(kind, flat, trial, captured, recipe, where, notes)


def flat_module(module: nn.Module, recipe: Recipe, where: str) -> FlatModule:
    """*module* called with the recipe's inputs; raises :class:`ModelError` where the two do not fit."""
    parameters = forward_parameters(module)
    if not recipe.inputs:
        raise ModelError(
            "the file does not say what the model's inputs look like",
            where=where,
            hint=describe_parameters(parameters),
        )
    return FlatModule(module, match_call(parameters, tuple(spec.name for spec in recipe.inputs), where))


def torch_source(
    kind: str,
    flat: FlatModule,
    trial: Trial,
    captured: Capture,
    recipe: Recipe,
    where: str,
    notes: tuple[str, ...],
) -> Source:
    """The source of a module that was tried and captured; the graph names what the trial could only
    notice."""
    names = tuple(spec.name for spec in recipe.inputs)
    if captured.program is not None:
        check_program(captured.program, names, where)
        notes += graph_notes(captured.program, names, trial.outputs)
    if not trial.same_answers:
        raise unsteady(where)
    check_output_names(recipe, trial.outputs)
    spec = ModelSpec(recipe.inputs, trial.outputs)
    notes += trial.notes + ((flat.call.note,) if flat.call.note else ())
    return Source(kind, spec, TorchRunner(flat, spec), TorchExport(spec, where, captured, flat, flat), notes)
