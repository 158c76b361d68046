"""A second virtual environment that plays the device: EdgeFuse's wheel, numpy, click, rich and OpenVINO, and nothing of
the workstation's.

It is kept in ``.venv-device`` at the root of the checkout. What it holds follows from ``pyproject.toml`` and
``constraints.txt``; when only sources have changed, the wheel alone is built and installed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DEVICE = ROOT / ".venv-device"
CONSTRAINTS = ROOT / "constraints.txt"
PACKED = ("edgefuse", "recipes", "devices", "calibration")
"""Folders that are in the wheel."""


@pytest.fixture(scope="session")
def torch_free_python() -> Path:
    """The device's interpreter."""
    return device_python()


def device_python() -> Path:
    """Installs what is missing or old; one process at a time."""
    DEVICE.mkdir(exist_ok=True)
    python = DEVICE / "bin" / "python"
    with (DEVICE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = _digest([ROOT / "pyproject.toml", CONSTRAINTS], sys.version, sys.executable)
        fresh = _noted("packages") != packages
        if fresh:
            _make_environment()
        sources = _digest(path for name in PACKED for path in sorted((ROOT / name).rglob("*")) if _is_source(path))
        if fresh or _noted("sources") != sources:
            _install_edgefuse(python, with_packages=fresh)
            (DEVICE / "sources").write_text(sources)
            (DEVICE / "packages").write_text(packages)
    return python


def _make_environment() -> None:
    for name in ("packages", "sources", "bin", "lib", "lib64", "include"):
        path = DEVICE / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(DEVICE)])


def _install_edgefuse(python: Path, with_packages: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _pip("wheel", "--no-deps", "--wheel-dir", folder, str(ROOT))
        (wheel,) = Path(folder).glob("edgefuse-*.whl")
        into = ("--python", str(python), "install", "--no-compile")
        if with_packages:
            _pip(*into, "--constraint", str(CONSTRAINTS), f"{wheel}[openvino]")
        else:
            _pip(*into, "--no-deps", "--force-reinstall", str(wheel))


def _pip(*arguments: str) -> None:
    _run([sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _digest(paths: Iterable[Path], *words: str) -> str:
    found = hashlib.sha256("\0".join(words).encode())
    for path in paths:
        found.update(path.relative_to(ROOT).as_posix().encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _noted(name: str) -> str:
    path = DEVICE / name
    return path.read_text() if path.exists() else ""
