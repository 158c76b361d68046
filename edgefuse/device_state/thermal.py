"""Temperatures, what the kernel does against them, and how often the hardware slowed itself down.

https://docs.kernel.org/driver-api/thermal/sysfs-api.html, https://docs.kernel.org/admin-guide/thermal/
intel_thermal_throttle.html; sysfs counts in thousandths of a degree.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgefuse.device_state.reading import (
    Unreadable,
    folders,
    known,
    number_or_none,
    read_number,
    read_or_none,
    read_text,
)

TRIPS = ("passive", "hot", "critical")
"""Kinds of trip points from which something is slowed down or switched off; the others start fans."""
PLAUSIBLE_C = 60.0
"""Lower ones are not limits: x86_pkg_temp shows 0 for a trip point that nobody has set, some boards' acpitz 20."""
CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
SLOWING = re.compile(r"throttle|cpufreq|devfreq|powerclamp|^Processor$")
"""Cooling devices that slow something down, by type; the others are fans. ``Processor`` is ACPI's, the Jetsons have
``cpu-throttle-alert`` and ``devfreq-gpu-…``."""
OVER_CURRENT = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "instantaneous over-current"}
"""NVIDIA's names (Jetson Linux Developer Guide, Platform Power and Performance, for Orin and Thor)."""


def read_thermal(root: Path = Path("/")) -> dict[str, Any]:
    thermal, hwmon = root / "sys/class/thermal", root / "sys/class/hwmon"
    return {
        **known("zones", lambda: read_zones(thermal, hwmon)),
        **known("slowed_by", lambda: [_cooling(folder) for folder in _slowing(thermal)]),
        **known("throttled", lambda: read_throttled(root / "sys/devices/system/cpu")),
        **known("over_current", lambda: read_over_current(hwmon)),
    }


def read_zones(thermal: Path, hwmon: Path) -> list[dict[str, Any]]:
    """Name, °C, and from how many °C on something is slowed down or switched off (None unknown). A sensor that is
    powered down (the Jetsons' ``cv0``) is left out."""
    found = [_zone(folder) for folder in sorted(thermal.glob("thermal_zone*"), key=lambda path: len(path.name))]
    found += [zone for folder in sorted(hwmon.glob("hwmon*")) for zone in _sensors(folder)]
    zones = [zone for zone in found if zone["celsius"] is not None and zone["celsius"] > -100]
    if not zones:
        raise Unreadable("no temperature sensor here")
    return zones


def _zone(folder: Path) -> dict[str, Any]:
    trips = [
        number / 1000
        for path in folder.glob("trip_point_*_temp")
        if read_or_none(path.with_name(path.name.replace("_temp", "_type"))) in TRIPS
        and (number := number_or_none(path)) is not None
        and number / 1000 >= PLAUSIBLE_C
    ]
    temperature = number_or_none(folder / "temp")
    return {
        "name": read_or_none(folder / "type") or folder.name,
        "celsius": None if temperature is None else temperature / 1000,
        "limit_celsius": min(trips, default=None),
    }


def _sensors(folder: Path) -> list[dict[str, Any]]:
    """The processor's own sensors, which no thermal zone may show."""
    name = read_or_none(folder / "name")
    if name not in CPU_SENSORS:
        return []
    found = []
    for path in sorted(folder.glob("temp*_input")):
        stem = path.name.removesuffix("_input")
        temperature, limit = number_or_none(path), number_or_none(folder / f"{stem}_crit")
        found.append(
            {
                "name": f"{name} {read_or_none(folder / f'{stem}_label') or stem}",
                "celsius": None if temperature is None else temperature / 1000,
                "limit_celsius": limit / 1000 if limit is not None and limit / 1000 >= PLAUSIBLE_C else None,
            }
        )
    return found


def _slowing(thermal: Path) -> list[Path]:
    every = folders(thermal, "cooling_device*", "cooling device")
    return [folder for folder in every if SLOWING.search(read_or_none(folder / "type") or "")]


def _cooling(folder: Path) -> dict[str, Any]:
    """``state`` 0: not slowed down at all."""
    return {
        "name": read_or_none(folder / "type"),
        "state": number_or_none(folder / "cur_state"),
        "max_state": number_or_none(folder / "max_state"),
    }


def read_throttled(cpu: Path) -> dict[str, int]:
    """How often Intel's processors slowed themselves down since boot: events of all cores, and of all packages.

    Every logical processor shows its core's and its package's counter, so each is counted once.
    """
    cores: dict[tuple[str | None, str | None], int] = {}
    packages: dict[str | None, int] = {}
    for folder in folders(cpu, "cpu[0-9]*/thermal_throttle", "throttling counter"):
        package = read_or_none(folder.parent / "topology/physical_package_id")
        core = package, read_or_none(folder.parent / "topology/core_id")
        cores[core] = max(cores.get(core, 0), read_number(folder / "core_throttle_count"))
        packages[package] = max(packages.get(package, 0), number_or_none(folder / "package_throttle_count") or 0)
    return {"cores": sum(cores.values()), "packages": sum(packages.values())}


def read_over_current(hwmon: Path) -> dict[str, int]:
    """How often a Jetson's supply was too weak or too much was drawn, since boot; each event slows CPU and GPU."""
    for folder in sorted(hwmon.glob("hwmon*")):
        if (read_or_none(folder / "name") or "").replace("-", "_") == "soctherm_oc":
            return {what: int(read_text(folder / f"{name}_event_cnt")) for name, what in OVER_CURRENT.items()}
    raise Unreadable("no over-current counter here (the Jetsons Orin and Thor have one)")
