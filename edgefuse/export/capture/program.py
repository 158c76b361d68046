"""From a flat torch module to a checked ExportedProgram, and what its graph tells about the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from edgefuse.export.blame import line_in_text
from edgefuse.export.capture.attention import FUSED
from edgefuse.export.capture.torch_model import changed_input, example_tensors, keeps_state, unsteady
from edgefuse.export.quiet import quiet
from edgefuse.spec import DimRange, TensorSpec


class FixedDimError(Exception):
    """The recipe says that a dimension is dynamic, but the captured program holds for one size only."""


@dataclass(frozen=True)
class Capture:
    """The program, or why there is none; ``log`` is what torch printed meanwhile."""

    program: ExportedProgram | None
    failure: Exception | None = None
    log: str = ""


def capture(module: nn.Module, inputs: Sequence[TensorSpec]) -> Capture:
    """torch.export of *module*, whose forward takes the inputs in order. Never raises: there may be another
    way."""
    with quiet() as chatter:
        try:
            program = torch.export.export(
                module, example_tensors(inputs), dynamic_shapes=_dynamic_shapes(inputs), strict=False
            )
            program = without_side_effects(program)
            check_dynamic(program, inputs)
        except Exception as error:  # torch.export raises dozens of types, and the user's code any
            return Capture(None, error, chatter.text)
    return Capture(program, log=chatter.text)


def _dynamic_shapes(inputs: Sequence[TensorSpec]) -> Any:
    """AUTO and not a named Dim: it finds out by itself that two sensors share their batch dimension."""
    shapes = tuple(
        {i: Dim.AUTO(min=d.min, max=d.max) for i, d in enumerate(spec.shape) if isinstance(d, DimRange)} or None
        for spec in inputs
    )
    return (shapes,) if any(shapes) else None


def without_side_effects(program: ExportedProgram) -> ExportedProgram:
    """The same program with in-place writes made visible in its signature, and fused attention spelled
    out."""
    plain: ExportedProgram = program.run_decompositions(dict(FUSED))
    return plain


def check_dynamic(program: ExportedProgram, inputs: Sequence[TensorSpec]) -> None:
    """AUTO fixes a dimension without a word where the model demands it; raises :class:`FixedDimError`."""
    for spec, node in zip(inputs, user_inputs(program)):
        for axis, (wanted, size) in enumerate(zip(spec.shape, node.meta["val"].shape)):
            if isinstance(wanted, DimRange) and fixed_size(size) is not None:
                raise FixedDimError(f"input {spec.name!r} has dimension {axis} fixed at {size}; expected {wanted}")


def fixed_size(size: int | torch.SymInt) -> int | None:
    """The number that *size* always is; torch 2.13 may keep one that it fixed as a SymInt without symbols."""
    if isinstance(size, torch.SymInt):
        return None if size.node.expr.free_symbols else int(size.node.expr)
    return size


def user_inputs(program: ExportedProgram) -> list[Node]:
    """The placeholders of the tensors that the caller passes, in order; arguments that were baked in are left
    out."""
    names = {name for name in program.graph_signature.user_inputs if isinstance(name, str)}
    found = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [node for node in found if isinstance(node.meta.get("val"), torch.Tensor)]


def check_program(program: ExportedProgram, inputs: tuple[str, ...], where: str) -> None:
    """Raise :class:`ModelError` for random operators, kept state and changed inputs, each named."""
    signature = program.graph_signature
    for node in program.graph.nodes:
        if is_random(node):
            raise unsteady(line_in_text(node.meta.get("stack_trace") or "") or where, operator_name(node))
    for buffer in signature.buffers_to_mutate.values():
        raise keeps_state(buffer.removeprefix("module."), where)
    placeholders = [node.name for node in user_inputs(program)]
    for name in signature.user_inputs_to_mutate.values():
        raise changed_input(inputs[placeholders.index(name)], where)


def operator_name(node: Node) -> str:
    """``dropout`` of ``aten.native_dropout.default``."""
    return str(node.target).removeprefix("aten.").removeprefix("native_").partition(".")[0]


def is_random(node: Node) -> bool:
    """Tagged random by torch, and neither switched off (``train=False``) nor with a probability of 0."""
    if node.op != "call_function" or torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    values = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    values |= dict(zip((argument.name for argument in schema), node.args)) | dict(node.kwargs)
    off = any(values.get(name, True) is False for name in ("train", "training"))
    return not off and values.get("p", 1) != 0 and values.get("dropout_p", 1) != 0


def graph_notes(program: ExportedProgram, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> tuple[str, ...]:
    """Notes on inputs that nothing reads and outputs that read no input."""
    nodes = user_inputs(program)
    unused = [f"Input {name!r} is not used by the model." for name, node in zip(inputs, nodes) if not node.users]
    reached = _reached_from(nodes)
    results = [name for name in program.graph_signature.user_outputs if isinstance(name, str)]
    constant = [
        f"Output {name!r} does not depend on any input." for name, node in zip(outputs, results) if node not in reached
    ]
    return (*unused, *constant)


def _reached_from(nodes: Iterable[Node]) -> set[str]:
    pending, reached = list(nodes), set()
    while pending:
        node = pending.pop()
        if node.name not in reached:
            reached.add(node.name)
            pending.extend(node.users)
    return reached
