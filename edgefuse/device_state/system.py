"""Kernel, boot, uptime, load, and the time that processors have worked."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from edgefuse.device_state.reading import known, read_text


def read_system(root: Path = Path("/")) -> dict[str, Any]:
    proc = root / "proc"
    return {
        **known("kernel", lambda: read_text(proc / "sys/kernel/osrelease")),
        **known("boot_id", lambda: boot_id(root)),
        **known("uptime_s", lambda: float(read_text(proc / "uptime").split()[0])),
        **known("load", lambda: [float(word) for word in read_text(proc / "loadavg").split()[:3]]),
    }


def boot_id(root: Path = Path("/")) -> str:
    """Another after each boot."""
    return read_text(root / "proc/sys/kernel/random/boot_id")


def read_time(root: Path = Path("/")) -> dict[str, Any]:
    """Seconds: of a clock that never jumps, of all processors at work, of this process; two of them tell what others
    used (:class:`edgefuse.machine.ProcessorTime` is the same within one process)."""
    return {
        "clock_s": time.monotonic(),
        **known("all_s", lambda: parse_stat(read_text(root / "proc/stat")) / os.sysconf("SC_CLK_TCK")),
        "own_s": time.process_time(),
        "processors": os.cpu_count() or 1,
    }


def parse_stat(text: str) -> int:
    """Ticks at work from the first line of ``/proc/stat``: idle, waiting for disks, and what a hypervisor gave to
    others (steal) do not count. Guests are part of user and nice already (proc(5))."""
    name, *fields = text.split("\n", 1)[0].split()
    if name != "cpu":
        raise ValueError(f"begins with {name!r}")
    user, nice, system, _, _, irq, softirq, *_ = map(int, fields)
    return user + nice + system + irq + softirq
