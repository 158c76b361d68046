"""Memory and swap: what is there, and the pages that were swapped since boot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgefuse.device_state.reading import Unreadable, known, read_text

MEMORY = {"total_mib": "MemTotal", "available_mib": "MemAvailable", "swap_total_mib": "SwapTotal"}
COUNTERS = {"swapped_in_pages": "pswpin", "swapped_out_pages": "pswpout", "killed": "oom_kill"}


def read_memory(root: Path = Path("/")) -> dict[str, Any]:
    """``killed``: processes that the kernel ended for want of memory, since boot."""
    return {
        **known("memory", lambda: parse_meminfo(read_text(root / "proc/meminfo"))),
        **known("swapping", lambda: parse_vmstat(read_text(root / "proc/vmstat"))),
    }


def parse_meminfo(text: str) -> dict[str, float]:
    """MiB; the file says kB and means KiB (proc(5))."""
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    if "MemTotal" not in kib:
        raise Unreadable("/proc/meminfo does not say MemTotal")
    found = {name: round(kib[key] / 1024, 1) for name, key in MEMORY.items() if key in kib}
    if "SwapFree" in kib and "swap_total_mib" in found:
        found["swap_used_mib"] = round((kib["SwapTotal"] - kib["SwapFree"]) / 1024, 1)
    return found


def parse_vmstat(text: str) -> dict[str, int]:
    counts = {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE)}
    found = {name: counts[key] for name, key in COUNTERS.items() if key in counts}
    if not found:
        raise Unreadable("/proc/vmstat counts no swapped pages")
    return found
