"""Device profiles (``devices/*.toml``, the user's ``--target``) and what this machine is. Standard library only."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefuse.errors import UsageError, nearest
from edgefuse.resources import shipped_names
from edgefuse.tables import check_keys, read_toml, typed

KEYS = ("name", "description", "backend", "arch", "precisions", "threads", "sources")
PRECISIONS = ("float", "bf16", "int8")


@dataclass(frozen=True)
class Device:
    """Where a model will run. ``threads`` 0: as many as the process may use where it is compiled."""

    name: str
    backend: str
    description: str = ""
    arch: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    threads: int = 0
    sources: tuple[str, ...] = field(default=())

    def resolve_threads(self) -> int:
        return self.threads or usable_cores()


def usable_cores() -> int:
    """Physical-or-virtual processors that this process may run on (a container's share, not the machine's)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def device_names() -> list[str]:
    return sorted([*shipped_names("devices", "*.toml"), "host"])


def load_device(name: str) -> Device:
    """The profile called *name*; ``host`` is the profile that fits this machine."""
    files = shipped_names("devices", "*.toml")
    if name == "host":
        return _detect_host(files)
    if name not in files:
        raise UsageError(f"there is no device {name!r}", where="--target", hint=nearest(name, device_names()))
    return read_device(files[name])


def read_device(path: Path) -> Device:
    table, where = read_toml(path), str(path)
    check_keys(table, KEYS, where)
    return Device(
        name=typed(table, "name", str, path.stem, where),
        backend=typed(table, "backend", str, "openvino", where),
        description=typed(table, "description", str, "", where),
        arch=tuple(typed(table, "arch", list, [], where)),
        precisions=tuple(typed(table, "precisions", list, [], where)),
        threads=typed(table, "threads", int, 0, where),
        sources=tuple(typed(table, "sources", list, [], where)),
    )


def _detect_host(files: dict[str, Path]) -> Device:
    """The generic CPU profile of this architecture, under the name ``host``."""
    profile = read_device(files["intel-cpu" if platform.machine() in ("x86_64", "AMD64") else "arm-cpu"])
    return Device(
        "host",
        profile.backend,
        f"this machine: {cpu_name()}",
        (platform.machine(),),
        profile.precisions,
        profile.threads,
        profile.sources,
    )


def cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def environment() -> dict[str, Any]:
    """What a figure depends on: machine, operating system, Python and the versions of the libraries that matter."""
    packages = ("edgefuse", "numpy", "onnx", "onnxruntime", "openvino", "torch")
    return {
        "cpu": cpu_name(),
        "arch": platform.machine(),
        "cores": usable_cores(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in packages if (found := installed_version(name))},
    }


def installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
