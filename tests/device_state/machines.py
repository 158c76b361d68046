"""Machines for these tests: recorded text, trees of sysfs and procfs, programs that print what real ones printed."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    """The text of a recording, without the line that names its source."""
    first, _, rest = (RECORDED / f"{name}.txt").read_text(encoding="utf-8").partition("\n")
    assert first.startswith("# ") and "Source: " in first
    return rest


def tree(root: Path, files: Mapping[str, Any]) -> Path:
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")
    return root


def policies(root: Path, count: int = 2, governor: str = "schedutil", **files: Any) -> Path:
    """Cores with a clock each; *files* replace those of cpufreq."""
    for number in range(count):
        folder = f"sys/devices/system/cpu/cpufreq/policy{number}"
        known = {
            "affected_cpus": number,
            "scaling_driver": "tegra194",
            "scaling_governor": governor,
            "scaling_available_governors": "conservative ondemand userspace powersave performance schedutil",
            "scaling_cur_freq": 2188800,
            "scaling_min_freq": 729600,
            "scaling_max_freq": 2188800,
            "cpuinfo_min_freq": 115200,
            "cpuinfo_max_freq": 2201600,
            **files,
        }
        tree(root, {f"{folder}/{name}": value for name, value in known.items()})
    return root


def program(folder: Path, name: str, script: str) -> None:
    """A program of that name, for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def printer(folder: Path, name: str, text: str) -> None:
    """A program that prints *text*."""
    (folder / f"{name}.said").parent.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.said").write_text(text, encoding="utf-8")
    program(folder, name, 'exec cat "$0.said"')


def nvpmodel(folder: Path, mode: int, *, reboots: int = -1, refuses: bool = False) -> Path:
    """An ``nvpmodel`` that keeps its mode in the file that is returned, as the real one does across boots. The mode
    *reboots* asks on stdin for a reboot, as a real one did (``nvpmodel-reboot.txt``)."""
    names = {0: "15W", 1: "25W", 2: "MAXN_SUPER", 3: "7W"}
    kept = folder / "nvpmodel.mode"
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(f"{mode}\n", encoding="utf-8")
    cases = " ".join(f'{number}) echo "NV Power Mode: {name}";;' for number, name in names.items())
    set_it = "echo 'NVPM ERROR: Error opening /sys/devices/system/cpu/cpu4/online: 13'; exit 1" if refuses else (
        f'if [ "$2" = {reboots} ]; then echo "NVPM WARN: Reboot required for changing to this power mode: $2";'
        ' echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"; read answer;'
        ' case "$answer" in [Yy][Ee][Ss]) touch "$0.rebooted";; esac;'
        ' echo "NVPM ERROR: optMask is 1, no request for power mode"; exit 1; fi; echo "$2" > "$0.mode"'
    )  # fmt: skip
    program(
        folder,
        "nvpmodel",
        f'case "$1" in -q) case $(cat "$0.mode") in {cases} esac; cat "$0.mode";; -m) {set_it};; esac',
    )
    return kept
