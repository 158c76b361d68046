"""What this machine has, what it lacks, and the command that cures it. Standard library only."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgefuse import child
from edgefuse.device import cpu_name, installed_version, usable_cores
from edgefuse.errors import EdgeFuseError

COMPILE_PACKAGES = ("torch", "onnx", "onnxruntime", "onnxscript", "jinja2", "matplotlib")
PROBE_TIMEOUT_S = 120


@dataclass(frozen=True)
class Finding:
    """``ok`` None: worth knowing, neither good nor bad."""

    name: str
    ok: bool | None
    text: str
    cure: str = ""


def examine() -> list[Finding]:
    """Everything that a compile or a run depends on; vendor libraries are tried in a child process, since some die
    when they are imported on the wrong CPU."""
    checks: Iterable[Callable[[], Finding]] = (
        _python,
        _cpu,
        _memory,
        _openvino,
        _onnxruntime,
        _compile_extra,
        _governor,
        _disk,
    )
    return [check() for check in checks]


def can_run(findings: list[Finding]) -> bool:
    """Whether a bundle can run here: Python and at least one vendor library."""
    return all(item.ok for item in findings if item.name in ("python", "openvino"))


def _python() -> Finding:
    return Finding(
        "python",
        sys.version_info >= (3, 10),
        f"{platform.python_version()} on {platform.platform()}",
        "EdgeFuse needs Python 3.10 or newer.",
    )


def _cpu() -> Finding:
    return Finding("cpu", None, f"{cpu_name()}, {platform.machine()}, {usable_cores()} usable cores")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):
        return Finding("memory", None, "unknown on this system")
    return Finding("memory", None, f"{total:.1f} GiB")


def _openvino() -> Finding:
    return _vendor("openvino", "pip install 'edgefuse[openvino]'")


def _onnxruntime() -> Finding:
    return _vendor("onnxruntime", "pip install onnxruntime")


def _vendor(name: str, install: str) -> Finding:
    if installed_version(name) is None:
        return Finding(name, False, "not installed", install)
    try:
        found = child.call(
            "edgefuse.probe:capabilities", {"backend": name}, what=f"Importing {name}", timeout_s=PROBE_TIMEOUT_S
        )
    except EdgeFuseError as error:
        return Finding(name, False, error.what, f"{install} --force-reinstall")
    return Finding(name, True, f"{found['version']}: {found['name']}, {', '.join(found['precisions'])}")


def _compile_extra() -> Finding:
    missing = [name for name in COMPILE_PACKAGES if installed_version(name) is None]
    if missing:
        return Finding(
            "compile",
            False,
            f"missing {', '.join(missing)} (a robot does not need them)",
            "pip install 'edgefuse[compile]'",
        )
    return Finding("compile", True, ", ".join(f"{name} {installed_version(name)}" for name in COMPILE_PACKAGES))


def _governor() -> Finding:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        governor = path.read_text(encoding="ascii").strip()
    except OSError:
        return Finding("governor", None, "not readable here (a virtual machine, or no frequency scaling)")
    return Finding(
        "governor",
        governor == "performance" or None,
        governor,
        "" if governor == "performance" else "Latency is steadier with the performance governor.",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Finding("disk", free > 1 or None, f"{free:.1f} GiB free here")
