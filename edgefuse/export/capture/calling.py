"""How a feed becomes the arguments of ``forward``: by name, by order, or as one dict or list."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from edgefuse.errors import ModelError, nearest

Parameters = Sequence[inspect.Parameter]
_PACK: dict[str, Callable[[Sequence[str], Sequence[Any]], Any]] = {
    "dict": lambda names, tensors: dict(zip(names, tensors)),
    "list": lambda names, tensors: list(tensors),
    "tuple": lambda names, tensors: tuple(tensors),
}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Call:
    """``slots`` says per input where it goes: a position, or a keyword. ``packed`` puts all into one
    argument."""

    names: tuple[str, ...]
    slots: tuple[int | str, ...]
    packed: str = ""  # "dict", "list" or "tuple"
    note: str = ""

    def arguments(self, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, kwargs)`` for tensors that come in the order of ``names``."""
        if self.packed:
            return (_PACK[self.packed](self.names, tensors),), {}
        placed = list(zip(self.slots, tensors))
        positional = {slot: tensor for slot, tensor in placed if isinstance(slot, int)}
        return (
            tuple(positional[slot] for slot in sorted(positional)),
            {slot: tensor for slot, tensor in placed if isinstance(slot, str)},
        )


def forward_parameters(module: torch.nn.Module) -> list[inspect.Parameter]:
    """The parameters of ``module.forward``, whether Python or TorchScript."""
    if isinstance(module, torch.jit.ScriptModule):
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        script: Any = module  # torch declares forward as a plain callable, without its schema
        arguments = script.forward.schema.arguments[1:]
        return [
            inspect.Parameter(
                a.name,
                kind,
                default=a.default_value if a.has_default_value() else inspect._empty,
                annotation=str(a.type),
            )
            for a in arguments
        ]
    return list(inspect.signature(module.forward).parameters.values())


def match_call(parameters: Parameters, names: tuple[str, ...], where: str) -> Call:
    """The way in which *names* fit *parameters*; raises :class:`ModelError` where they do not."""
    named = [p for p in parameters if p.kind not in _VARIADIC]
    required = [p for p in named if p.default is inspect.Parameter.empty]
    takes_any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    takes_any_count = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    matching = {p.name for p in named} & set(names)
    if {p.name for p in required} <= set(names) and (matching == set(names) or takes_any_name):
        return _by_name(named, names)
    if len(required) == 1 and len(names) > 1 and not matching and not takes_any_count:
        return _packed(required[0], names)
    fits = len(required) <= len(names) and (len(names) <= len(named) or takes_any_count)
    if matching or not fits:
        raise _mismatch(named, required, names, where)
    return _by_order(named, names)


def _by_name(named: Parameters, names: tuple[str, ...]) -> Call:
    """Positional as far as the parameters go without a gap, so that positional-only ones work as well."""
    slots: dict[str, int | str] = {name: name for name in names}
    for position, parameter in enumerate(named):
        if parameter.name not in slots or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            break
        slots[parameter.name] = position
    return Call(names, tuple(slots[name] for name in names))


def _by_order(named: Parameters, names: tuple[str, ...]) -> Call:
    keywords = [p for p in named if p.kind is inspect.Parameter.KEYWORD_ONLY]
    slots: list[int | str] = list(range(len(names) - len(keywords)))
    pairs = ", ".join(f"{name} -> {p.name}" for name, p in zip(names, named))
    note = f"forward's parameters have other names than the inputs, so they were matched by order: {pairs}"
    return Call(names, (*slots, *(p.name for p in keywords)), note=note if pairs else "")


def _packed(parameter: inspect.Parameter, names: tuple[str, ...]) -> Call:
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    text = text.lower().removeprefix("typing.")
    kind = "tuple" if text.startswith("tuple") else "list" if text.startswith(("list", "sequence")) else "dict"
    note = f"forward takes one parameter ({parameter.name}), so it is given a {kind} of all inputs"
    return Call(names, (), packed=kind, note=note)


def _mismatch(named: Parameters, required: Parameters, names: tuple[str, ...], where: str) -> ModelError:
    takes = ", ".join(p.name + ("" if p in required else " (optional)") for p in named) or "nothing"
    unknown = [name for name in names if name not in {p.name for p in named}]
    hint = nearest(unknown[0], (p.name for p in named)) if unknown else ""
    what = f"forward takes {takes}; the inputs are {', '.join(names)}"
    return ModelError(what, where=where, hint=f"Call the recipe's [inputs.*] as forward's parameters. {hint}".strip())


def describe_parameters(parameters: Parameters) -> str:
    """The lines of a recipe, or flags, that would declare *parameters*; shapes are the user's to fill in."""
    names = [p.name for p in parameters if p.kind not in _VARIADIC and p.default is inspect.Parameter.empty]
    flags = " ".join(f"--input {name}:1x3x224x224" for name in names) or "--input image:1x3x224x224"
    tables = "\n".join(f"  [inputs.{name}]\n  shape = [1, 3, 224, 224]" for name in names)
    return f"Write them into the recipe (with the true shapes):\n{tables}\nor give: {flags}"
