"""A state_dict (weights only) and the recipe's factory (``FILE.py:FUNCTION``) that builds the module around
it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgefuse.errors import ModelError, nearest
from edgefuse.export import Source
from edgefuse.export.blame import one_sentence
from edgefuse.export.capture.torch_source import module_source
from edgefuse.export.factory import build
from edgefuse.recipe import Recipe

NESTED_KEYS = ("state_dict", "model_state_dict", "model")


def load(path: Path, recipe: Recipe, trust: bool) -> Source:
    """The module that the recipe's factory builds, with the weights in *path*."""
    if recipe.model.factory is None:
        raise ModelError("holds weights without the model's code", where=str(path), hint=_FACTORY_LINES)
    weights, notes = pick_state_dict(_read(path), path)
    return with_factory(path, recipe, weights, notes)


_FACTORY_LINES = """Name the function that builds the module in the recipe:
  [model]
  factory = "model.py:build"    # FILE.py:FUNCTION, FILE relative to the recipe; it returns an nn.Module
  weights = "weights.pt\""""


def with_factory(path: Path, recipe: Recipe, weights: Mapping[str, Any], notes: tuple[str, ...]) -> Source:
    module = build(str(recipe.model.factory), recipe.folder)
    notes += load_weights(module, weights, path)
    module.eval()  # a freshly built module is always in training mode: no news for the user
    return module_source("state-dict", module, recipe, str(path), notes)


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError, EOFError, RuntimeError, …: the file is damaged or not weights only
        raise ModelError(
            f"torch cannot load the weights: {one_sentence(error)}",
            where=str(path),
            hint="Save them again: torch.save(model.state_dict(), 'weights.pt')",
        ) from error


def pick_state_dict(loaded: Any, path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The mapping of tensors in *loaded*, itself or below an obvious key, and a note on which."""
    if not isinstance(loaded, Mapping):
        raise ModelError(
            f"holds a {type(loaded).__name__}; expected a state_dict",
            where=str(path),
            hint="Save it with: torch.save(model.state_dict(), 'weights.pt')",
        )
    if _is_state_dict(loaded):
        return loaded, ()
    nested = [key for key, value in loaded.items() if _is_state_dict(value)]
    for key in NESTED_KEYS:
        if key in nested:
            return loaded[key], (f"The file is a checkpoint; its weights are those under {key!r}.",)
    where_else = f" Dicts of tensors are under: {', '.join(map(repr, nested))}." if nested else ""
    raise ModelError(
        f"is a checkpoint with the keys {', '.join(map(repr, list(loaded)[:8]))}; expected a state_dict",
        where=str(path),
        hint=f"Save the weights alone: torch.save(model.state_dict(), 'weights.pt').{where_else}",
    )


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, torch.Tensor) for v in value.values())


def load_weights(module: nn.Module, weights: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Fill *module*; raises one :class:`ModelError` for missing, unexpected and misshapen tensors
    together."""
    weights, notes = _without_prefix(weights, module.state_dict())
    expected = module.state_dict()
    problems = [*_missing(expected, weights), *_unexpected(expected, weights), *_misshapen(expected, weights)]
    if problems:
        raise ModelError("the weights do not fit the factory's module", where=str(path), hint="\n".join(problems))
    try:
        module.load_state_dict(dict(weights))
    except Exception as error:  # a module may have loading hooks of its own
        raise ModelError(
            f"the weights do not fit the factory's module: {one_sentence(error)}", where=str(path)
        ) from error
    return notes


def _without_prefix(
    weights: Mapping[str, Any], expected: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """DataParallel writes ``module.``, torch.compile ``_orig_mod.``: dropped if the names then fit
    exactly."""
    prefix = next(iter(weights), "").partition(".")[0] + "."
    if set(weights) == set(expected) or not all(key.startswith(prefix) for key in weights):
        return weights, ()
    stripped = {key.removeprefix(prefix): value for key, value in weights.items()}
    if set(stripped) != set(expected):
        return weights, ()
    return stripped, (f"All weights' names begin with {prefix!r}, which the module's do not; it was dropped.",)


def _missing(expected: Mapping[str, Any], weights: Mapping[str, Any]) -> Iterator[str]:
    names = [name for name in expected if name not in weights]
    if names:
        yield f"Missing from the file: {_first(names)}."


def _unexpected(expected: Mapping[str, Any], weights: Mapping[str, Any]) -> Iterator[str]:
    names = [name for name in weights if name not in expected]
    if names:
        absent = [name for name in expected if name not in weights]
        guess = nearest(names[0], absent) if absent else ""
        hint = f" {names[0]}: {guess}" if guess.startswith("Did") else ""
        yield f"In the file, but not in the module: {_first(names)}.{hint}"


def _misshapen(expected: Mapping[str, Any], weights: Mapping[str, Any]) -> Iterator[str]:
    names = [
        f"{name} is {_shape(weights[name])} in the file and {_shape(tensor)} in the module"
        for name, tensor in expected.items()
        if name in weights and isinstance(tensor, torch.Tensor) and weights[name].shape != tensor.shape
    ]
    if names:
        yield f"Other shapes: {_first(names)}."


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _first(names: list[str], count: int = 4) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
