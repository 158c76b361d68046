"""Runs the recipe's factory: Python code of the user, named by the user as ``FILE.py:FUNCTION``."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from edgefuse.errors import ModelError, nearest
from edgefuse.export.blame import one_sentence, user_line


def build(factory: str, folder: Path) -> nn.Module:
    """The module that *factory* (its file relative to *folder*) returns."""
    file, _, name = factory.rpartition(":")
    path = (folder / file).resolve()
    if not path.is_file():
        raise ModelError(
            "the recipe's factory is in a file that does not exist",
            where=str(path),
            hint="[model] factory is FILE.py:FUNCTION, with FILE relative to the recipe's folder.",
        )
    with importable(path.parent, folder):
        module = _call(_function(_import(path), name, path), path)
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"the factory {name}() returned a {type(module).__name__}; expected a torch.nn.Module",
            where=str(path),
        )
    return module


@contextlib.contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """*folders* first on ``sys.path``, so that the user's code finds its neighbours."""
    added = [str(folder.resolve()) for folder in folders]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):  # the user's code may have taken it away itself
                sys.path.remove(folder)


def _import(path: Path) -> ModuleType:
    name = f"edgefuse_factory_{path.stem}"  # not the bare stem: a user's "torch.py" must not hide torch
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError("is not a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ModelError(
            f"the factory's file is not valid Python: {error.msg}", where=f"{error.filename}:{error.lineno}"
        ) from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything, or try to exit
        raise _failed("importing the factory's file failed", error, path) from error
    return module


def _function(module: ModuleType, name: str, path: Path) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"there is no function {name!r}", where=str(path), hint=nearest(name, known))
    return function  # type: ignore[no-any-return]


def _call(function: Callable[[], Any], path: Path) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:  # as above
        raise _failed("the factory failed", error, path) from error


def _failed(what: str, error: BaseException, path: Path) -> ModelError:
    hint = "The factory is called without arguments." if isinstance(error, TypeError) else ""
    if isinstance(error, ModuleNotFoundError):
        hint = f"Install {error.name!r}, or put its folder beside {path.name}."
    return ModelError(f"{what}: {one_sentence(error)}", where=user_line(error) or str(path), hint=hint)
