"""EdgeFuse's own wheel, and aarch64 wheels of what a robot needs; installed on the other machine by its own pip."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aarch64.system import VENV, System

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WHAT = "edgefuse[openvino]"
OLDEST_GLIBC = 17


def install(system: System, facts: Mapping[str, Any]) -> list[str]:
    """The names of the wheels that were installed."""
    folder = system.root / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT))
    _download(folder, facts)
    inside = ("--force-reinstall", "--no-index", "--find-links", "/wheels", "--no-compile")
    pip = [f"{VENV}/bin/python", "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run(system.command(*pip, "install", *inside, WHAT), check=True)
    return sorted(path.name for path in folder.glob("*.whl"))


def _download(folder: Path, facts: Mapping[str, Any]) -> None:
    """For the other machine's Python and glibc: a wheel is for a glibc or any later one."""
    newest = int(str(facts["glibc"]).split(".")[1])
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(newest, OLDEST_GLIBC - 1, -1)]
    _pip(
        *("download", "--dest", str(folder), "--find-links", str(folder), "--only-binary", ":all:"),
        *("--constraint", str(CHECKOUT / "constraints.txt"), "--implementation", "cp"),
        *("--python-version", ".".join(str(facts["python"]).split(".")[:2])),
        *(word for abi in (facts["abi"], "abi3", "none") for word in ("--abi", str(abi))),
        *(word for name in [*platforms, "manylinux2014_aarch64"] for word in ("--platform", name)),
        WHAT,
    )


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)
