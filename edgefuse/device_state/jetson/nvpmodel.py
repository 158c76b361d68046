"""A Jetson's power mode, by ``nvpmodel``: which one it is in, which there are."""

from __future__ import annotations

import re
from typing import Any

from edgefuse.device_state.reading import Unreadable, run_tool

CONFIGURATION = "etc/nvpmodel.conf"
"""A link to the board's own; its modes have other numbers on each board (0 is MAXN on an AGX Orin, 15W on an Orin
Nano)."""


def read_mode() -> dict[str, Any]:
    return parse_mode(run_tool("nvpmodel", "-q"))


def parse_mode(text: str) -> dict[str, Any]:
    """``{"name": "MAXN", "id": 0}`` from what ``nvpmodel -q`` prints: among lines on fans, and for a user who is not
    root among ``NVPM ERROR`` lines, the name after ``NV Power Mode:`` and its number on the next line."""
    match = re.search(r"NV Power Mode:[ \t]*(\S[^\n]*?)[ \t]*(?:\n\s*(\d+)[ \t]*)?(?:\n|$)", text)
    if match is None:
        raise Unreadable(f"nvpmodel -q said: {text.strip()[:120]}")
    return {"name": match[1], "id": int(match[2]) if match[2] else None}


def parse_modes(text: str) -> list[dict[str, Any]]:
    """Every mode of ``/etc/nvpmodel.conf``, in its order."""
    found = re.findall(r"<\s*POWER_MODEL\s+ID\s*=\s*(\d+)\s+NAME\s*=\s*([^\s>]+)\s*>", text)
    if not found:
        raise Unreadable(f"/{CONFIGURATION} lists no power mode")
    return [{"name": name, "id": int(number)} for number, name in found]


def fastest_mode(modes: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The mode without a limit (MAXN, MAXN_SUPER), else the one of the most watts; None where several are alike (a
    Xavier NX has three of 15 W, for other numbers of cores)."""
    free = [mode for mode in modes if mode["name"].upper().startswith("MAXN")]
    if free:
        return max(free, key=lambda mode: len(mode["name"]))
    watts = {mode["id"]: watts_of(mode["name"]) for mode in modes}
    best = [mode for mode in modes if watts[mode["id"]] == max(watts.values())]
    return best[0] if len(best) == 1 else None


def watts_of(name: str) -> float:
    """15 for "15W", "MODE_15W_6CORE"; 0 for a name without any."""
    match = re.search(r"(\d+)W", name.upper())
    return float(match[1]) if match else 0.0
