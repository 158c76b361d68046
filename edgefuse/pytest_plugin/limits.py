"""The limits that ``@pytest.mark.edgefuse(max_drop="1%", p90_ms=20)`` puts in place of the bundle's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from edgefuse.errors import UsageError, nearest
from edgefuse.recipe import Limit, parse_limit

FIXTURE = "edgefuse_check"


@dataclass(frozen=True)
class Limits:
    """None: the bundle's own. ``max_growth_bytes`` is a call's."""

    max_drop: Limit | None = None
    min_sqnr_db: float | None = None
    p90_ms: float | None = None
    max_growth_bytes: float | None = None

    def to_json(self) -> dict[str, Any]:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {**given, "max_drop": str(self.max_drop)} if self.max_drop else given


def limits_of(item: pytest.Item) -> Limits:
    """Of all markers of *item*; of each limit the closest one."""
    given: dict[str, Any] = {}
    for mark in item.iter_markers("edgefuse"):
        for name, value in _read(mark, item).items():
            given.setdefault(name, value)
    return Limits(**given)


def check_markers(items: Iterable[pytest.Item]) -> None:
    """Raise ``pytest.UsageError`` for the first marker that says nothing, or something wrong."""
    for item in items:
        limits_of(item)
        own = any(mark.name == "edgefuse" and mark.kwargs for mark in item.own_markers)
        if own and isinstance(item, pytest.Function) and FIXTURE not in item.fixturenames:
            raise pytest.UsageError(
                f"{item.nodeid}: its marker edgefuse limits nothing: the test does not use the fixture edgefuse_check"
            )


def _read(mark: pytest.Mark, item: pytest.Item) -> dict[str, Any]:
    if mark.args:
        raise pytest.UsageError(
            f"{item.nodeid}: the marker edgefuse takes keywords, not {mark.args[0]!r}. "
            'Example: @pytest.mark.edgefuse(max_drop="1%", p90_ms=20)'
        )
    found = {}
    for name, value in mark.kwargs.items():
        if name not in KEYWORDS:
            raise pytest.UsageError(
                f"{item.nodeid}: the marker edgefuse has no limit {name!r}. {nearest(name, KEYWORDS)}"
            )
        try:
            found[name] = KEYWORDS[name](value)
        except ValueError as error:
            raise pytest.UsageError(f"{item.nodeid}: the marker's {name} is {value!r}. {error}") from None
    return found


def _drop(value: object) -> Limit:
    try:
        if isinstance(value, str):
            return parse_limit(value)
    except UsageError as error:
        raise ValueError(error.hint) from None
    raise ValueError('Write "1%" (relative) or "0.5pt" (absolute points).')


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("It must be a number.")
    return float(value)


def _positive(value: object) -> float:
    found = _number(value)
    if found <= 0:
        raise ValueError("It must be a positive number.")
    return found


KEYWORDS: dict[str, Callable[[object], Any]] = {
    "max_drop": _drop,
    "min_sqnr_db": _number,
    "p90_ms": _positive,
    "max_growth_bytes": _positive,
}
