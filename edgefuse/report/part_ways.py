"""The table of the parts against the ways to run them. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgefuse.precision import PRECISIONS, base_of


@dataclass(frozen=True)
class Cell:
    """The best time of one part in one way, in ``threads``, which are named where they are not the plan's."""

    p50_ms: float
    threads: int
    other_threads: bool
    fastest: bool


@dataclass(frozen=True)
class Ways:
    """``names`` of the ways (as candidates are called), which of them the plan takes, and a row of cells (None: not
    measured) for each part. ``sums`` hold for parts that run one after the other."""

    names: tuple[str, ...]
    planned: str
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    sums: tuple[float | None, ...]


def read_ways(plan: Mapping[str, Any]) -> Ways | None:
    """None where the parts were not measured."""
    times = plan.get("part_times") or []
    best: dict[tuple[str, str], Mapping[str, Any]] = {}
    for item in times:
        key = item["part"], way_name(item["graph"], item["inference"])
        if key not in best or item["p50_ms"] < best[key]["p50_ms"]:
            best[key] = item
    if not best:
        return None
    parts, names = (tuple(dict.fromkeys(key[place] for key in best)) for place in (0, 1))
    rows = tuple((part, _cells(part, names, best, plan)) for part in parts)
    columns = [[cells[place] for _, cells in rows] for place in range(len(names))]
    return Ways(names, _planned(plan), rows, tuple(_sum(column) for column in columns))


def way_name(graph: str, inference: str) -> str:
    """ "int8+bf16 residuals" for the graph "int8-residuals" whose other operations run in bf16."""
    base = base_of(graph)
    precision = next((name for name, how in PRECISIONS.items() if how == (base, inference)), f"{base} {inference}")
    return f"{precision}{graph.removeprefix(base).replace('-', ' ')}"


def _planned(plan: Mapping[str, Any]) -> str:
    """The plan's column: its name without the number of threads."""
    return str(plan.get("name", "")).partition(", ")[0]


def _cells(
    part: str, names: tuple[str, ...], best: Mapping[tuple[str, str], Mapping[str, Any]], plan: Mapping[str, Any]
) -> tuple[Cell | None, ...]:
    own = [best.get((part, name)) for name in names]
    fastest = min((item["p50_ms"] for item in own if item is not None), default=0.0)
    return tuple(None if item is None else _cell(item, plan["threads"], fastest) for item in own)


def _cell(item: Mapping[str, Any], threads: int, fastest: float) -> Cell:
    return Cell(item["p50_ms"], item["threads"], item["threads"] != threads, item["p50_ms"] == fastest)


def _sum(column: list[Cell | None]) -> float | None:
    times = [cell.p50_ms for cell in column if cell is not None]
    return sum(times) if len(times) == len(column) else None
