"""Energy that the processor's package has used: RAPL counters of Intel and AMD.

https://docs.kernel.org/power/powercap/powercap.html: ``energy_uj`` counts microjoules and begins again at 0 after
``max_energy_range_uj``. Readable for root only since Linux 5.10 (CVE-2020-8694).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefuse.device_state.reading import Unreadable, folders, known, read_number, read_text


def read_rapl(root: Path = Path("/")) -> dict[str, Any]:
    return known("rapl", lambda: read_zones(root / "sys/class/powercap"))


def read_zones(powercap: Path) -> list[dict[str, Any]]:
    """One row for each package (``package-0`` …) and, where there is one, the whole machine (``psys``); their parts
    (cores, DRAM) are not counted again."""
    rows = [
        {
            "zone": folder.name,
            "name": read_text(folder / "name"),
            "energy_uj": read_number(folder / "energy_uj"),
            "range_uj": read_number(folder / "max_energy_range_uj"),
        }
        for folder in folders(powercap, "intel-rapl:[0-9]*", "RAPL")
        if folder.name.count(":") == 1
    ]
    if not rows:
        raise Unreadable("RAPL shows no package here")
    return rows


def used_uj(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Microjoules between two readings of one zone that are less than one turn of its counter apart."""
    used = int(after["energy_uj"]) - int(before["energy_uj"])
    return used if used >= 0 else used + int(before["range_uj"])
