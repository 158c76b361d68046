"""Where the accuracy goes: what each part, and each block of a part, loses when it alone is INT8. Standard
library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unit:
    """``error_share`` of the summed noise (10^(-dB/10)) of all units beside it; ``macs_share`` of their
    multiply-accumulates, None where they are not known; ``place`` within its part, for a block; ``nodes``: its
    operations."""

    name: str
    place: str
    error_share: float
    sqnr_db: float
    drop: float | None
    macs: int
    macs_share: float | None
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Losses:
    """Whole parts, the worst first; and blocks by their part, in the model's order."""

    parts: tuple[Unit, ...]
    blocks: tuple[tuple[str, tuple[Unit, ...]], ...]
    drops: bool


def read_losses(plan: Mapping[str, Any]) -> Losses | None:
    """None where the sensitivity was not measured."""
    rows = plan.get("sensitivity") or []
    parts = _units([row for row in rows if row["name"] == row["part"]])
    blocks = _units([row for row in rows if row["name"] != row["part"]])
    owners = {row["name"]: row["part"] for row in rows}
    names = dict.fromkeys(owners[unit.name] for unit in blocks)
    if not parts and not blocks:
        return None
    grouped = tuple((name, tuple(unit for unit in blocks if owners[unit.name] == name)) for name in names)
    ordered = tuple(sorted(parts, key=lambda unit: -unit.error_share))
    return Losses(ordered, grouped, any(row["drop"] is not None for row in rows))


def _units(rows: Sequence[Mapping[str, Any]]) -> list[Unit]:
    worst = min((float(row["sqnr_db"]) for row in rows), default=0.0)  # as the unit of noise: ±300 dB are meant too
    noises = [10 ** ((worst - row["sqnr_db"]) / 10) for row in rows]
    noise, macs = sum(noises), sum(row["macs"] for row in rows)
    return [
        Unit(
            name=row["name"],
            place=row["name"].removeprefix(f"{row['part']}/"),
            error_share=one / noise,
            sqnr_db=row["sqnr_db"],
            drop=row["drop"],
            macs=row["macs"],
            macs_share=row["macs"] / macs if macs else None,
            nodes=tuple(row["nodes"]),
        )
        for row, one in zip(rows, noises)
    ]
