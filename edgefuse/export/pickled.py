"""A pickled nn.Module (``torch.save(model, path)``): unpickling runs code, so only with the user's trust."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgefuse.errors import ModelError, UntrustedError
from edgefuse.export import Source
from edgefuse.export.blame import one_sentence, user_line
from edgefuse.export.capture.torch_model import put_in_eval_mode
from edgefuse.export.capture.torch_source import module_source
from edgefuse.export.detect.pickles import foreign_names
from edgefuse.export.factory import importable
from edgefuse.export.quiet import quiet
from edgefuse.export.state_dict import pick_state_dict, with_factory
from edgefuse.recipe import Recipe

SAFE_WAYS = """Or save it without code, where the model is made:
  torch.export.save(torch.export.export(model.eval(), example_inputs), "model.pt2")
or its weights alone, torch.save(model.state_dict(), "weights.pt"), with [model] factory = "FILE.py:FUNCTION"
in the recipe."""


def load(path: Path, recipe: Recipe, trust: bool) -> Source:
    """The unpickled module; raises ``UntrustedError`` without *trust*."""
    if not trust:
        imports = ", ".join(foreign_names(path)[:3])
        raise UntrustedError(
            f"is a pickled object: loading it runs its author's code (it imports {imports})",
            where=str(path),
            hint=f"Add --trust if you trust its author. {SAFE_WAYS}",
        )
    loaded = _unpickle(path, recipe.folder)
    if isinstance(loaded, nn.Module):
        return module_source("module", loaded, recipe, str(path), put_in_eval_mode(loaded))
    if isinstance(loaded, Mapping) and recipe.model.factory:
        weights, notes = pick_state_dict(loaded, path)
        return with_factory(path, recipe, weights, notes)
    raise ModelError(f"holds a {type(loaded).__name__}; expected a torch.nn.Module", where=str(path), hint=SAFE_WAYS)


def _unpickle(path: Path, folder: Path) -> Any:
    try:
        with importable(path.parent, folder), quiet():
            return torch.load(path, map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        raise _no_code(f"the module {error.name!r}", path) from error
    except AttributeError as error:  # "Can't get attribute 'Net' on <module '__main__' …>"
        raise _no_code(one_sentence(error).partition(": ")[2], path) from error
    except Exception as error:  # unpickling runs any code
        raise ModelError(
            f"unpickling failed: {one_sentence(error)}", where=user_line(error) or str(path), hint=SAFE_WAYS
        ) from error


def _no_code(what: str, path: Path) -> ModelError:
    return ModelError(
        f"the model's code is missing: {what}",
        where=str(path),
        hint=f"A pickle holds no code. Put the file that defines the class beside {path.name} or the "
        f"recipe. A class from __main__ or a notebook can be loaded nowhere else. {SAFE_WAYS}",
    )
