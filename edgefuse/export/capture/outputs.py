"""Names for what a model returns: any nesting of dicts, tuples, lists and dataclasses becomes a flat list of
tensors.

A single tensor is ``output``, a tuple ``output_0, output_1, …``, a dict or dataclass has its keys or fields;
nested parts are joined with a dot (``boxes.0``). A part that is ``None`` is left out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from edgefuse.errors import ModelError
from edgefuse.spec import DTYPES

USABLE_NAME = re.compile(r"[^\s\x00-\x1f\\]+")
"""What may be a key of an .npz file, a JSON key, an argument of the command line and an ONNX value at
once."""


def flatten_outputs(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, leaf) in the order in which the model returns them; a leaf may be something else than a
    tensor."""
    parts = _parts(value, bool(name))
    if parts is None:
        yield name or "output", value
        return
    for key, part in parts:
        yield from flatten_outputs(part, f"{name}.{key}" if name else key)


def _parts(value: Any, nested: bool) -> list[tuple[str, Any]] | None:
    """The named parts of a container, or ``None`` for a leaf."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    fields = getattr(value, "__match_args__", ()) if isinstance(value, tuple) else ()
    if fields:  # a named tuple, or one of torch.return_types
        return list(zip(fields, value))
    if isinstance(value, (tuple, list)):
        return [(str(i) if nested else f"output_{i}", part) for i, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def tensors_of(value: Any) -> tuple[torch.Tensor, ...]:
    """The tensors of a returned value, flat."""
    return tuple(leaf for _, leaf in flatten_outputs(value) if isinstance(leaf, torch.Tensor))


def none_names(value: Any) -> list[str]:
    return [name for name, leaf in flatten_outputs(value) if leaf is None]


def name_outputs(value: Any, inputs: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Checked names of the tensors in *value*; raises :class:`ModelError` for what cannot be an output."""
    named = [(name, leaf) for name, leaf in flatten_outputs(value) if leaf is not None]
    if not named:
        raise ModelError("the model returns nothing", where=where, hint="forward must return its tensors.")
    for name, leaf in named:
        _check_leaf(name, leaf, where)
    return check_output_names([name for name, _ in named], inputs, where)


def _check_leaf(name: str, leaf: Any, where: str) -> None:
    if not isinstance(leaf, torch.Tensor):
        raise ModelError(
            f"output {name!r} is a {type(leaf).__name__}; expected a tensor",
            where=where,
            hint="Return tensors only, in a dict, tuple, list or dataclass.",
        )
    dtype = str(leaf.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise ModelError(
            f"output {name!r} has dtype {dtype}",
            where=where,
            hint=f"Convert it in forward. Known: {', '.join(DTYPES)}.",
        )


def check_output_names(names: list[str], inputs: tuple[str, ...], where: str) -> tuple[str, ...]:
    """*names*, each usable and unique; one that an input has too gets ``_output`` (in ONNX a name is one
    value)."""
    for name in names:
        if not USABLE_NAME.fullmatch(name):
            raise ModelError(
                f"an output is called {name!r}",
                where=where,
                hint="Give it a name without blanks and backslashes.",
            )
    unique = tuple(f"{name}_output" if name in inputs else name for name in names)
    for name in unique:
        if unique.count(name) > 1:
            raise ModelError(f"two outputs are called {name!r}", where=where, hint="Rename one of them in forward.")
    return unique
