"""The clocks of a Jetson, by ``jetson_clocks --show`` (root only): what they are and whether they are held."""

from __future__ import annotations

import re
from typing import Any

from edgefuse.device_state.reading import Unreadable, run_tool

RANGE = r"MinFreq=(\d+) MaxFreq=(\d+) CurrentFreq=(\d+)"
CPU = re.compile(rf"^cpu(\d+):\s+(?:Online=(\d) )?Go(?:n?)vernor=(\S+) {RANGE}", re.MULTILINE)
"""L4T 28 writes ``Gonvernor``; L4T 38 leaves ``Online`` out."""
GPU = re.compile(rf"^(?:GPU|gpu-gpc-0) {RANGE}", re.MULTILINE)
EMC = re.compile(rf"^EMC {RANGE}(?: FreqOverride=(\d))?", re.MULTILINE)


def read_clocks() -> dict[str, Any]:
    return parse_clocks(run_tool("jetson_clocks", "--show"))


def parse_clocks(text: str) -> dict[str, Any]:
    """``held``: minimum and maximum of every online processor and of the GPU are the same, as ``jetson_clocks``
    leaves them. Processors are told in kHz, GPU and memory in Hz."""
    cpus = [_cpu(match) for match in CPU.finditer(text)]
    if not cpus:
        raise Unreadable(f"jetson_clocks --show said: {text.strip()[:120]}")
    gpu, emc = GPU.search(text), EMC.search(text)
    online = [cpu for cpu in cpus if cpu["online"]]
    ranges = [*online, *([_range(gpu, 0, 1e6)] if gpu else [])]
    return {
        "cpus": cpus,
        "gpu": _range(gpu, 0, 1e6) if gpu else None,
        "memory": _range(emc, 0, 1e6) if emc else None,
        "held": all(found["min_mhz"] == found["max_mhz"] for found in ranges),
    }


def _cpu(match: re.Match[str]) -> dict[str, Any]:
    number, online, governor = match[1], match[2], match[3]
    return {"cpu": int(number), "online": online != "0", "governor": governor, **_range(match, 3, 1e3)}


def _range(match: re.Match[str], before: int, per_mhz: float) -> dict[str, float]:
    low, high, current = (int(text) / per_mhz for text in match.groups()[before : before + 3])
    return {"min_mhz": low, "max_mhz": high, "current_mhz": current}
