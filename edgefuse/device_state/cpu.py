"""The processors' frequencies: governor and limits of each cpufreq policy (cores that share a clock).

https://docs.kernel.org/admin-guide/pm/cpufreq.html; sysfs counts in kHz.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefuse.device_state.reading import folders, known, number_or_none, read_or_none, read_text

CPUFREQ = "sys/devices/system/cpu/cpufreq"
LIMITS = {
    "current_mhz": "scaling_cur_freq",
    "limit_min_mhz": "scaling_min_freq",
    "limit_max_mhz": "scaling_max_freq",
    "min_mhz": "cpuinfo_min_freq",
    "max_mhz": "cpuinfo_max_freq",
}


def read_cpu(root: Path = Path("/")) -> dict[str, Any]:
    """``limit_…`` is what is allowed now (power modes set it), ``min_mhz`` and ``max_mhz`` what the silicon can do."""
    cpu = root / "sys/devices/system/cpu"
    return {
        **known("online", lambda: read_text(cpu / "online")),
        **known("present", lambda: read_text(cpu / "present")),
        **known("policies", lambda: [_policy(folder) for folder in policy_folders(root)]),
    }


def policy_folders(root: Path = Path("/")) -> list[Path]:
    """Raises ``Unreadable`` where the kernel scales no frequency (a virtual machine)."""
    return folders(root / CPUFREQ, "policy*", "frequency scaling")


def _policy(folder: Path) -> dict[str, Any]:
    return {
        "policy": folder.name,
        "cpus": read_or_none(folder / "affected_cpus"),
        "driver": read_or_none(folder / "scaling_driver"),
        **known("governor", lambda: read_text(folder / "scaling_governor")),
        "preference": read_or_none(folder / "energy_performance_preference"),
        **{name: _mhz(folder / file) for name, file in LIMITS.items()},
    }


def _mhz(path: Path) -> float | None:
    khz = number_or_none(path)
    return None if khz is None else khz / 1000
