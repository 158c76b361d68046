"""A file of torch.export.save (.pt2): it describes its own inputs, so it needs no recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx import Node
from torch.utils import _pytree as pytree
from torch.utils._sympy.value_ranges import bound_sympy

from edgefuse.errors import ModelError, UntrustedError
from edgefuse.export import Source
from edgefuse.export.blame import one_sentence
from edgefuse.export.capture.outputs import flatten_outputs, tensors_of
from edgefuse.export.capture.program import (
    Capture,
    capture,
    check_program,
    fixed_size,
    graph_notes,
    user_inputs,
    without_side_effects,
)
from edgefuse.export.capture.torch_model import TorchRunner, try_model, unsteady
from edgefuse.export.declared import Declared, OpenDim, resolve_inputs
from edgefuse.export.detect.archive import code_in_archive
from edgefuse.export.quiet import quiet
from edgefuse.export.to_onnx import TorchExport
from edgefuse.recipe import Recipe, check_output_names
from edgefuse.spec import DimRange, ModelSpec, TensorSpec

MOST = 1 << 16
"""An upper bound beyond this is none: torch.export writes "any size" as a very large number."""


def load(path: Path, recipe: Recipe, trust: bool) -> Source:
    """The program in *path*; the recipe may narrow its dynamic dimensions and name its sensors."""
    where = str(path)
    program = _read(path, trust)
    declared = declared_inputs(program, where)
    inputs, notes = resolve_inputs(declared, recipe.inputs, where)
    names = tuple(spec.name for spec in inputs)
    check_program(program, names, where)
    flat = FlatProgram(program)
    trial = try_model(flat.structured, dict(flat.module.named_buffers()), inputs, where)
    if not trial.same_answers:
        raise unsteady(where)
    check_output_names(recipe, trial.outputs)
    captured = _narrowed(program, flat, declared, inputs, where)
    spec = ModelSpec(inputs, trial.outputs)
    notes += trial.notes + graph_notes(program, names, trial.outputs)
    return Source("exported-program", spec, TorchRunner(flat, spec), TorchExport(spec, where, captured, flat), notes)


def _read(path: Path, trust: bool) -> ExportedProgram:
    found = None if trust else code_in_archive(path)
    if found:
        raise UntrustedError(
            f"loading the file would run code that it carries: {found}",
            where=str(path),
            hint="Add --trust if you trust its author.",
        )
    try:
        with quiet():
            program = torch.export.load(path)
            if any(node.meta["val"].device.type != "cpu" for node in user_inputs(program)):
                program = move_to_device_pass(program, "cpu")
            return without_side_effects(program)
    except Exception as error:  # another torch's format, an unknown operator or class: torch raises many types
        raise ModelError(
            f"torch {torch.__version__} cannot load the program: {one_sentence(error)}",
            where=str(path),
            hint="Export it again with this version of torch; return dicts or tuples instead of classes of your own.",
        ) from error


class FlatProgram(torch.nn.Module):
    """The program called with a flat row of tensors; arguments that were baked in are filled in again."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        # The guards in a file are Python source that torch would run; resolve_inputs checks the same sizes
        self.module = program.module(check_guards=False)
        self.in_spec = program.call_spec.in_spec
        self.baked = [None if isinstance(name, str) else (name,) for name in _leaf_inputs(program)]

    def structured(self, *tensors: torch.Tensor) -> Any:
        """What the exported ``forward`` returned, as it was."""
        given = iter(tensors)
        leaves = [next(given) if baked is None else baked[0] for baked in self.baked]
        args, kwargs = pytree.tree_unflatten(leaves, self.in_spec)
        return self.module(*args, **kwargs)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tensors_of(self.structured(*tensors))


def _leaf_inputs(program: ExportedProgram) -> list[Any]:
    """Per leaf of the call: the placeholder's name if it is a tensor, else the value that was baked in."""
    tensors = {node.name for node in user_inputs(program)}
    specs = [
        s for s in program.graph_signature.input_specs if s.kind is torch.export.graph_signature.InputKind.USER_INPUT
    ]
    return [s.arg.name if s.arg.name in tensors else getattr(s.arg, "value", None) for s in specs]


def declared_inputs(program: ExportedProgram, where: str) -> list[Declared]:
    """The tensors that the program takes, named after forward's arguments."""
    nodes = {node.name: node for node in user_inputs(program)}
    leaves = _leaf_inputs(program)
    names = _argument_names(program, leaves)
    found = [
        Declared(name, _dims(nodes[leaf], program), str(nodes[leaf].meta["val"].dtype).removeprefix("torch."))
        for name, leaf in zip(names, leaves)
        if isinstance(leaf, str) and leaf in nodes
    ]
    if not found:
        raise ModelError("the model has no inputs", where=where)
    return found


def _argument_names(program: ExportedProgram, leaves: Sequence[Any]) -> list[str]:
    """Per leaf: ``image``, or ``batch.image`` inside a dict; a lone dict argument gives its keys alone."""
    args, kwargs = pytree.tree_unflatten(list(range(len(leaves))), program.call_spec.in_spec)
    signature = program.module_call_graph[0].signature
    forward = list(getattr(signature, "forward_arg_names", None) or [])
    if len(forward) < len(args):
        return [str(leaf) for leaf in leaves]
    arguments = {**dict(zip(forward, args)), **kwargs}
    if len(arguments) == 1 and isinstance(next(iter(arguments.values())), dict):
        arguments = next(iter(arguments.values()))
    by_leaf = {leaf: name for name, leaf in flatten_outputs(arguments)}
    return [by_leaf[i] for i in range(len(leaves))]


def _dims(node: Node, program: ExportedProgram) -> tuple[OpenDim, ...]:
    return tuple(_dim(size, program) for size in node.meta["val"].shape)


def _dim(size: int | torch.SymInt, program: ExportedProgram) -> OpenDim:
    fixed = fixed_size(size)
    if fixed is not None:
        return fixed
    assert isinstance(size, torch.SymInt)
    expression = size.node.expr
    bounds = bound_sympy(expression, program.range_constraints)
    if bounds.upper > MOST:
        return str(expression)
    return DimRange(max(1, int(bounds.lower)), int(bounds.upper))


def _narrowed(
    program: ExportedProgram,
    flat: FlatProgram,
    declared: Sequence[Declared],
    inputs: tuple[TensorSpec, ...],
    where: str,
) -> Capture:
    """The program itself, or traced again where a dimension is narrower than in the file."""
    if all(item.dims == spec.shape for item, spec in zip(declared, inputs)):
        return Capture(program)
    return capture(flat, inputs)
