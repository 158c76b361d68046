"""Reading TOML files whose keys are checked: an unknown key is an error that names the nearest one.

Standard library only, apart from tomli on Python 3.10, which has no tomllib.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgefuse.errors import RecipeError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """The file's top-level table; raises :class:`RecipeError` with the line of a syntax error."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the file: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise RecipeError("is not UTF-8 text, so it is not a TOML file", where=str(path)) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"is not valid TOML: {error}", where=str(path)) from None


def check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise RecipeError(f"unknown key {key!r}", where=where, hint=nearest(key, known))


def subtable(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise RecipeError(f"{key!r} is {value!r}; expected a table", where=where, hint=f"Write it as [{key}].")
    return value


KINDS = {str: "a string", int: "a whole number", float: "a number", list: "a list", bool: "true or false"}


def typed(table: Mapping[str, Any], key: str, kind: type, default: Any, where: str) -> Any:
    """``table[key]`` if it is a *kind* (an int passes for a float, a bool for neither; TOML's nan and inf for none)."""
    if key not in table:
        return default
    value = table[key]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if fits and kind is float:
        fits = math.isfinite(value)
    if fits and kind is str:
        fits = "\0" not in value
    if not fits:
        raise RecipeError(f"{key} is {value!r}; expected {KINDS[kind]}", where=where)
    return value
