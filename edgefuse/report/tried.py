"""The candidates as the report lists and draws them. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 8
"""Rows of the table that are not folded away; two more are not worth a fold."""


def listed_rows(plan: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows to show and those to fold away, both in the report's order; what was chosen is always shown."""
    rows = list(plan["candidates"])
    if len(rows) <= SHOWN + 2:
        return rows, []
    shown = [row for place, row in enumerate(rows) if place < SHOWN or row["name"] == plan["name"]]
    return shown, [row for row in rows if row not in shown]


def front(rows: Sequence[Mapping[str, Any]], accuracy: Mapping[str, float]) -> list[str]:
    """Names of the passing rows that no other passing row beats in both latency and *accuracy* (by name, more is
    better), the fastest first: the Pareto front."""
    found: list[str] = []
    for row in sorted(rows, key=lambda row: (row["p50_ms"], -accuracy[row["name"]])):
        if row["passes"] and (not found or accuracy[row["name"]] > accuracy[found[-1]]):
            found.append(row["name"])
    return found


def is_glance(row: Mapping[str, Any]) -> bool:
    """Whether it was judged on some of the samples only, being too slow to be chosen."""
    return row.get("complete") is False
