"""What this machine is: processor, memory, operating system, installed libraries. Standard library only."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.arm_cpus import arm_cpu_name
from edgefuse.jetpack import Jetson, jetpack_of, this_jetson

PACKAGES = (
    *("edgefuse", "numpy", "onnx", "onnxruntime", "openvino", "torch"),
    *("tensorrt", "tensorrt-rtx-cu12-bindings", "tensorrt-rtx-cu12-libs", "cuda-bindings"),
)


def usable_cores() -> int:
    """Physical-or-virtual processors that this process may run on (a container's share, not the machine's)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def memory_gib() -> float:
    """This machine's memory, less what the firmware keeps; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):
        return 0.0


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds: of the clock, of all processors at work, and of this process at work."""

    clock: float
    all: float
    own: float

    def others_since(self, earlier: ProcessorTime) -> float:
        """Share of this machine's processors that others used since *earlier*, from 0 to 1."""
        others = (self.all - earlier.all) - (self.own - earlier.own)
        return min(max(others / max((self.clock - earlier.clock) * (os.cpu_count() or 1), 1e-9), 0.0), 1.0)


def processor_time() -> ProcessorTime | None:
    """None where the system does not say (only Linux does)."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    user, nice, system, _, _, irq, softirq, *_ = (int(field) for field in fields)  # proc(5)
    return ProcessorTime(time.monotonic(), (user + nice + system + irq + softirq) / ticks, time.process_time())


def cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    return name_in_cpuinfo(text) or platform.machine()


def name_in_cpuinfo(text: str) -> str:
    """Arm's part numbers first: NVIDIA's kernels call every core "ARMv8 Processor" beside them. "" where *text* has no
    name."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return arm_cpu_name(text) or (match[1].strip() if match else "")


@functools.cache
def processor() -> list[str]:
    """Name and instruction sets of this machine's CPU, as Linux tells them; else what the platform calls it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            # The first processor alone: the text of 128 takes 20 ms.
            lines = [line.partition(":") for line in itertools.takewhile(str.strip, stream)]
    except OSError:
        return [platform.machine(), platform.processor()]
    told = {"model name", "flags", "CPU implementer", "CPU part", "CPU variant", "Features", "isa"}
    return [platform.machine(), *(value.strip() for name, _, value in lines if name.strip() in told)]


def device_class() -> str:
    """Machines that may be expected to compute the same bits: by architecture, processor (or board) and instruction
    sets. The same wheel gave results 3e-3 apart on two Arm CPUs that differ in their extensions."""
    jetson = this_jetson()
    name = jetson.model if jetson else cpu_name()
    digest = hashlib.sha256(json.dumps(processor()).encode()).hexdigest()[:8]
    words = "".join(char if char.isalnum() else " " for char in name).split()
    return "-".join([platform.machine(), *words[:6], digest]).lower()


def environment() -> dict[str, Any]:
    """What a figure depends on: machine, operating system, Python and the versions of the libraries that matter."""
    return {
        "cpu": cpu_name(),
        "arch": platform.machine(),
        "cores": usable_cores(),
        "memory_gib": round(memory_gib(), 2),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed_version(name))},
        **_jetson_environment(this_jetson()),
    }


def _jetson_environment(jetson: Jetson | None) -> dict[str, str]:
    """Nothing but on a Jetson."""
    if jetson is None:
        return {}
    found = jetpack_of(jetson.l4t)
    return {"board": jetson.model, "l4t": jetson.l4t, "jetpack": found.jetpack if found else "unknown"}


def installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
