"""One line of ``tegrastats``: memory, load, temperatures and power rails.

The line differs with the board and the release: ``CPU@45C`` or ``cpu@45.5C``, ``VDD_GPU_SOC 2433mW/2433mW`` (now/mean
since it started) or ``POM_5V_IN 4000/4000``, ``GR3D_FREQ 0%@[305,305]`` or ``GR3D 3%@76``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from typing import Any

from edgefuse.device_state.reading import Unreadable

RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
SWAP = re.compile(r"\bSWAP (\d+)/(\d+)MB")
CORES = re.compile(r"\bCPU \[([^\]]*)\]", re.IGNORECASE)
GPU = re.compile(r"\bGR3D(?:_FREQ)? (\d+)%(?:@\[?(\d+))?")
MEMORY_CLOCK = re.compile(r"\bEMC(?:_FREQ)? (\d+)%(?:@(\d+))?")
TEMPERATURE = re.compile(r"\b(\w+)@(-?\d+(?:\.\d+)?)C\b")
RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW(?:/\d+mW)*|/\d+)(?=\s|$)")
OFF_C = -100.0
"""A sensor that is powered down shows -256."""
WHOLE_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
"""Rails that everything else is fed from: ``VDD_IN`` "is the total power of module" (NVIDIA at forums.developer.nvidia
.com/t/200883, of Xavier NX; the Orin NX and Nano have it, too, and TX1 and TX2: rbonghi/jetson_stats, issue 51),
``POM_5V_IN`` of the Nano "represents the total power consumption" (NVIDIA, t/73608), ``VIN`` of Thor's carrier board
(rbonghi/jetson_stats, pull request 900)."""
SUMS = (
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)
"""Boards without such a rail, whose module is fed twice, high and 5 V: AGX Orin (rbonghi/jetson_stats, issue 344) and
AGX Xavier (NVIDIA, t/81016 and t/75574: SYS5V has "all parts power except DDR, CPU, GPU and CV"). A rail beside them
(AGX Orin's ``VDDQ_VDD2_1V8AO``) is not added: where it is fed from has not been found out, it may count twice."""


def read_tegrastats(interval_ms: int = 100, timeout_s: float = 5.0) -> dict[str, Any]:
    """Its first line; it never ends by itself."""
    program = shutil.which("tegrastats")
    if program is None:
        raise Unreadable("tegrastats is not installed")
    with subprocess.Popen(
        [program, "--interval", str(interval_ms)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        watchdog = threading.Timer(timeout_s, child.kill)
        watchdog.start()
        try:
            line = child.stdout.readline()
        finally:
            watchdog.cancel()
            child.kill()
    if not line:
        raise Unreadable("tegrastats printed nothing")
    return parse_line(line)


def parse_line(line: str) -> dict[str, Any]:
    """``rails_mw`` is the power at this moment; what the line leaves out is None."""
    ram, swap, gpu, emc = RAM.search(line), SWAP.search(line), GPU.search(line), MEMORY_CLOCK.search(line)
    if ram is None:
        raise Unreadable(f"tegrastats said: {line.strip()[:120]}")
    rails = {name: float(now) for name, now in RAIL.findall(line)}
    return {
        "ram_used_mib": int(ram[1]),
        "ram_total_mib": int(ram[2]),
        "swap_used_mib": int(swap[1]) if swap else None,
        "cores_percent": _cores(line),
        "gpu_percent": int(gpu[1]) if gpu else None,
        "gpu_mhz": _whole(gpu),
        "memory_percent": int(emc[1]) if emc else None,
        "memory_mhz": _whole(emc),
        "celsius": {name: float(value) for name, value in TEMPERATURE.findall(line) if float(value) > OFF_C},
        "rails_mw": rails,
        **total_power(rails),
    }


def _cores(line: str) -> list[int | None]:
    """Load of each processor; None for one that the power mode has switched off."""
    match = CORES.search(line)
    words = match[1].split(",") if match else []
    loads = [re.match(r"\s*(\d+)%", word) for word in words]
    return [int(load[1]) if load else None for load in loads]


def _whole(match: re.Match[str] | None) -> int | None:
    return int(match[2]) if match and match[2] else None


def total_power(rails: dict[str, float]) -> dict[str, Any]:
    """``total_mw`` and the rails that it is, ``total_of``; None, with a reason, where no rail is known to be it."""
    for names in (*((name,) for name in WHOLE_RAILS), *SUMS):
        if set(names) <= rails.keys():
            return {"total_mw": sum(rails[name] for name in names), "total_of": list(names)}
    shown = ", ".join(rails) or "none"
    return {"total_mw": None, "total_mw_reason": f"which power rail is the whole is not known of: {shown}"}
