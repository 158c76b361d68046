"""The value that a recipe gives a transform, checked key by key. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edgefuse.errors import RecipeError, nearest
from edgefuse.tables import check_keys

_NEEDED = object()


@dataclass(frozen=True)
class Given:
    """What stands behind a transform's name; ``where`` that is, and the ``folder`` that relative paths start from. Of a
    table ``keys`` are known; another value is that of ``short``, the key that is mostly given."""

    value: Any
    where: str
    folder: Path
    table: Mapping[str, Any] = field(default_factory=dict)

    def read(self, *keys: str, short: str = "") -> Given:
        """The same with its ``table`` filled; raises :class:`RecipeError` for an unknown key."""
        table = self.value if isinstance(self.value, Mapping) else {short: self.value} if short else None
        if table is None:
            raise self.refuse(f"is {self.value!r}; expected a table with {', '.join(keys)}")
        check_keys(table, keys, self.where)
        return Given(self.value, self.where, self.folder, table)

    def refuse(self, what: str, key: str = "", hint: str = "") -> RecipeError:
        """The error, which names *key* where the value is a table."""
        place = f".{key}" if key and isinstance(self.value, Mapping) else ""
        return RecipeError(what, where=f"{self.where}{place}", hint=hint)

    def has(self, key: str) -> bool:
        return key in self.table

    def number(self, key: str, default: Any = _NEEDED) -> float:
        value = self._value(key, default)
        if not _is_number(value):
            raise self.refuse(f"is {value!r}; expected a number", key)
        return float(value)

    def whole(self, key: str, default: Any = _NEEDED, least: int = 0) -> int:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(f"is {value!r}; expected a whole number, {least} or more", key)
        return value

    def wholes(self, key: str, count: int | None = None, least: int = 0) -> tuple[int, ...]:
        value = self._list(key, count, "whole numbers")
        if any(isinstance(item, bool) or not isinstance(item, int) or item < least for item in value):
            raise self.refuse(f"is {value!r}; expected whole numbers, {least} or more", key)
        return tuple(value)

    def numbers(self, key: str, count: int | None = None, default: Any = _NEEDED) -> tuple[float, ...]:
        """A single number stands for a list of one, unless *count* are expected."""
        value = self._value(key, default)
        if count is None and not isinstance(value, list):
            return (self.number(key, default),)
        value = self._list(key, count, "numbers", default)
        if any(
            isinstance(item, bool) or not isinstance(item, int | float) or not math.isfinite(item) for item in value
        ):
            raise self.refuse(f"is {value!r}; expected numbers", key)
        return tuple(map(float, value))

    def interval(self, key: str) -> tuple[float, float]:
        low, high = self.numbers(key, 2)
        if low >= high:
            raise self.refuse(f"is {[low, high]!r}; expected the lower number first", key)
        return low, high

    def choice(self, key: str, choices: Iterable[str], default: Any = _NEEDED) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self.refuse(f"is {value!r}", key, nearest(value, choices))
        return value

    def choices(self, key: str, choices: Iterable[str], default: Any = _NEEDED) -> tuple[str, ...]:
        value = self._list(key, None, "strings", default)
        for item in value:
            if item not in choices:
                raise self.refuse(f"has {item!r}", key, nearest(str(item), choices))
        return tuple(value)

    def text(self, key: str, default: Any = _NEEDED) -> str:
        value = self._value(key, default)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.refuse(f"is {value!r}; expected a string", key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._list(key, None, "strings")
        if not all(isinstance(item, str) for item in value):
            raise self.refuse("expected strings", key)
        return tuple(value)

    def flag(self, key: str, default: Any = _NEEDED) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.refuse(f"is {value!r}; expected true or false", key)
        return value

    def file(self, key: str) -> Path:
        """A file below the folder: one that can travel in a bundle."""
        name = self.text(key)
        check_inside(name, self)
        path = self.folder / name
        if not path.is_file():
            raise self.refuse(f"there is no file {path}", key)
        return path

    def _value(self, key: str, default: Any) -> Any:
        value = self.table.get(key, default)
        if value is _NEEDED:
            raise self.refuse(f"{key!r} is missing")
        return value

    def _list(self, key: str, count: int | None, kind: str, default: Any = _NEEDED) -> list[Any]:
        value = self._value(key, default)
        if not isinstance(value, list | tuple) or not value or (count is not None and len(value) != count):
            raise self.refuse(
                f"is {value!r}; expected a list of {count if count is not None else ''} {kind}".replace("  ", " "), key
            )
        return list(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_inside(name: str, given: Given) -> None:
    """Raise :class:`RecipeError` unless *name* is a relative path that stays below the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise given.refuse(
            f"file is {name!r}; expected a path below the recipe's folder", hint="The bundle carries it."
        )
