"""Mains or battery, where the machine knows (https://docs.kernel.org/power/power_supply_class.html)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefuse.device_state.reading import Unreadable, known, number_or_none, read_or_none


def read_supply(root: Path = Path("/")) -> dict[str, Any]:
    return known("supply", lambda: _supply(root / "sys/class/power_supply"))


def _supply(parent: Path) -> dict[str, Any]:
    """``mains`` None: no plug is known. A mouse's battery (``scope`` Device) is not the machine's."""
    mains: list[int] = []
    battery = None
    for folder in sorted(parent.glob("*")):
        kind, online = read_or_none(folder / "type"), number_or_none(folder / "online")
        if kind in ("Mains", "USB") and online is not None:
            mains.append(online)
        if kind == "Battery" and read_or_none(folder / "scope") != "Device":
            battery = {"status": read_or_none(folder / "status"), "percent": number_or_none(folder / "capacity")}
    if not mains and battery is None:
        raise Unreadable("neither a battery nor a plug is known here")
    return {"mains": bool(max(mains)) if mains else None, "battery": battery}
