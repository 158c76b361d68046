"""What the report says of answers without some of the sensors. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgefuse.report.units import decibels_text, listed, score_text


def absences_text(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """What the compiled model is worth without each of the streams, and with which it may be without several at once;
    None where nothing was measured."""
    if not rows:
        return None
    worth = [f"{listed(row['absent'])} {_worth(row, 'value')}" for row in rows]
    return f"without {', '.join(worth)}; with all {_worth(rows[0], 'clean')}; {rows[0]['samples']} samples"


def _worth(row: Mapping[str, Any], key: str) -> str:
    value = row["runners"]["compiled"][key]
    if value is None:
        return "no answer"
    return decibels_text(value) if row["metric"] == "sqnr" else score_text(value, row["metric"])
