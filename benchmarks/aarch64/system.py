"""The root file system: Debian's arm64 packages, unpacked; the emulator beside it. Standard library only.

Packages come from whatever sources apt has here, by apt itself with a state of its own, so that nothing is installed on
this machine. Their maintainer scripts are not run: Python needs none.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENTER = Path(__file__).resolve().parent / "enter.sh"
PACKAGES = ("base-files", "dash", "coreutils", "python3-venv", "libstdc++6")
EMULATOR = "qemu-user-static"
CPU, CPU_PART = "cortex-a76", "0xd0b"
"""Of qemu 7.2's cores the nearest to an Orin's Cortex-A78AE. With ``max`` a run takes minutes: SVE is emulated."""

VENV = "/opt/edgefuse"

APT = """Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
"""

CORE = """processor\t: {number}
BogoMIPS\t: 125.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: {part}
CPU revision\t: 1

"""
"""One processor as Linux writes it on a Cortex-A76: qemu-user shows the host's ``/proc/cpuinfo``."""


@dataclass(frozen=True)
class System:
    """``folder`` holds ``root``, the emulator and what :data:`ENTER` reads."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def python(self) -> Path:
        """A program of this machine that is the Python of the other one: for ``--device local?python=…``."""
        return self.folder / "python"

    def command(self, *words: str) -> list[str]:
        return [str(ENTER), str(self.folder), *words]

    def facts(self) -> dict[str, Any]:
        """What the other machine says of itself."""
        code = (
            "import json, os, platform, sys; print(json.dumps({'machine': platform.machine(), 'cores': os.cpu_count(),"
            "'python': platform.python_version(), 'abi': 'cp%d%d' % sys.version_info[:2],"
            "'glibc': platform.libc_ver()[1], 'os': platform.platform()}))"
        )
        found: dict[str, Any] = json.loads(output(self.command("/usr/bin/python3", "-c", code)))
        version = (self.root / "etc" / "debian_version").read_text(encoding="ascii").strip()
        return {**found, "debian": version, "qemu": self._qemu(), "qemu_cpu": CPU}

    def _qemu(self) -> str:
        return output([str(self.folder / "qemu-aarch64-static"), "--version"]).splitlines()[0].split("version ")[-1]


def make_system(folder: Path) -> System:
    """Anew, below *folder*: about half a minute, most of it the virtual environment."""
    _check_tools()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    system = System(folder)
    _unpack_emulator(folder)
    _unpack(_arm64_packages(folder / "apt"), system.root)
    (folder / "cpu").write_text(CPU, encoding="ascii")
    cores = range(len(os.sched_getaffinity(0)))
    (folder / "cpuinfo").write_text("".join(CORE.format(number=i, part=CPU_PART) for i in cores), encoding="ascii")
    system.python.write_text(f'#!/bin/sh\nexec "{ENTER}" "{folder}" {VENV}/bin/python "$@"\n', encoding="utf-8")
    system.python.chmod(0o755)
    subprocess.run(system.command("/usr/bin/python3", "-m", "venv", VENV), check=True)
    return system


def output(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode("utf-8")


def _check_tools() -> None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise SystemExit(f"this is {platform.system()} on {platform.machine()}; needed: Linux on x86_64")
    missing = [name for name in ("apt-get", "dpkg-deb", "unshare", "tar") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)} missing; needed: a Debian machine")


def _unpack_emulator(folder: Path) -> None:
    place = folder / "emulator"
    place.mkdir()
    subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", EMULATOR], cwd=place, check=True)
    _unpack(place.glob("*.deb"), place)
    shutil.move(place / "usr" / "bin" / "qemu-aarch64-static", folder)
    shutil.rmtree(place)


def _arm64_packages(apt: Path) -> list[Path]:
    """:data:`PACKAGES` and all that they depend on, downloaded."""
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    line = "deb [arch=arm64] $(REPO_URI) $(RELEASE) $(COMPONENT)"
    sources = output(["apt-get", "indextargets", "--format", line, "Created-By: Packages", "Origin: Debian"])
    if not sources:
        raise SystemExit("apt has no list of Debian's packages: apt-get update")
    (apt / "sources.list").write_text(sources, encoding="utf-8")
    (apt / "apt.conf").write_text(APT.format(folder=apt), encoding="utf-8")
    own = {"APT_CONFIG": str(apt / "apt.conf")}
    output(["apt-get", "-qq", "update"], own)
    output(["apt-get", "-qq", "--yes", "--download-only", "install", *PACKAGES], own)
    return sorted((apt / "archives").glob("*.deb"))


def _unpack(packages: Any, root: Path) -> None:
    """``/bin``, ``/sbin`` and ``/lib`` are links into ``/usr``, as on every Debian 12."""
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as reader:
            extract = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner", "--directory", str(root)]
            subprocess.run(extract, stdin=reader.stdout, check=True)
        if reader.returncode != 0:
            raise SystemExit(f"{package.name} cannot be unpacked")
