"""What a device lacks before EdgeFuse can use it, and the commands that install it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace

from edgefuse.doctor import RUN_PACKAGES, Finding
from edgefuse.errors import MissingRuntimeError, VersionMismatchError
from edgefuse.remote import connect, parse_address, transport_of
from edgefuse.remote.address import Address
from edgefuse.remote.process import start
from edgefuse.remote.ssh import OPTIONS
from edgefuse.version import __version__

PROBE_S = 60.0
PROBE = """
echo "system $(uname -sm)"
echo "home $HOME"
[ -r /etc/nv_tegra_release ] && echo "jetson yes"
for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
  path=$(command -v $name) || continue
  echo "python $path $($path -c 'import sys, importlib.util as u
print("%d.%d" % sys.version_info[:2], "venv" if u.find_spec("ensurepip") else "bare")')"
done
"""
"""Plain POSIX shell: the device may have nothing else."""

OLDEST = (3, 10)
DEFAULT_PYTHON = "python3"
WORKSTATION = ("compile", "trt-check")
"""What doctor finds and no device needs."""


def examine_device(text: str) -> list[Finding]:
    """As :func:`edgefuse.doctor.examine`, of the device at the address *text*.

    Raises :class:`DeviceError` where it cannot even be reached.
    """
    try:
        with connect(text) as device:
            started = time.perf_counter()
            found = device.ask("doctor", {}, timeout_s=600.0, what="Examining the device").value
            version = device.about["edgefuse"]
            seconds = time.perf_counter() - started
    except (MissingRuntimeError, VersionMismatchError) as error:
        return [_reached(text), *_without_runtime(parse_address(text), error.what)]
    worker = Finding("edgefuse", True, f"EdgeFuse {version} there, {__version__} here")
    there = _of_a_device([Finding(**item) for item in found], parse_address(text))
    return [_reached(text), worker, *there, _took(seconds)]


def _of_a_device(found: list[Finding], address: Address) -> list[Finding]:
    """Without what only a workstation needs; the commands are those for that machine."""
    able = any(item.ok for item in found if item.name in RUN_PACKAGES)
    kept = []
    for item in found:
        if able and not item.ok and item.name == "onnxruntime":
            item = replace(item, ok=None, cure="")
        if item.ok is False and item.cure.startswith("pip install"):
            item = replace(item, cure=_there(address, item.cure))
        if item.name not in WORKSTATION:
            kept.append(item)
    return kept


def _there(address: Address, install: str) -> str:
    if address.kind == "local":
        return f"{shlex.quote(address.python or sys.executable)} -m {install}"
    return f"{_shell(address)} {shlex.quote(f'{shlex.quote(address.python or DEFAULT_PYTHON)} -m {install}')}"


def _reached(text: str) -> Finding:
    return Finding("connection", True, text)


def _took(seconds: float) -> Finding:
    return Finding("answered", None, f"in {seconds:.1f} s")


def _without_runtime(address: Address, why: str) -> list[Finding]:
    told = _ask_shell(address)
    system = Finding("system", None, told.get("system", "its shell does not say"))
    if "system" not in told:
        cure = f"Can it run commands? Try: {_shell(address)} uname"
        return [system, Finding("edgefuse", False, why, cure)]
    pythons = [words for words in _pythons(told) if words[1] >= OLDEST]
    if not pythons:
        cure = "Install it there: sudo apt install python3 python3-venv (Debian 12, Ubuntu 22.04 or later)"
        return [system, Finding("python", False, "no Python 3.10 or newer", cure), Finding("edgefuse", False, why)]
    path, version, venv = pythons[-1]  # the system's own python3: JetPack's TensorRT is for that one
    python = Finding("python", True, f"{'.'.join(map(str, version))} at {path}")
    return [system, python, Finding("edgefuse", False, why, _install(address, told, path, venv))]


def _ask_shell(address: Address) -> dict[str, str]:
    """What the probe printed, by its first word; several lines of one word are joined. The probe goes in on standard
    input: csh cannot quote several lines."""
    command, environment = transport_of(address).command(address, ("sh",))
    with tempfile.TemporaryFile(prefix="edgefuse-") as log:
        process = start(command, environment, log)
        try:
            out, _ = process.communicate(PROBE.encode(), timeout=PROBE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return {}
    found: dict[str, str] = {}
    for line in out.decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        found[word] = f"{found[word]}\n{rest}" if word in found else rest
    return found


def _pythons(told: Mapping[str, str]) -> list[tuple[str, tuple[int, ...], bool]]:
    """Path, version and whether it can make virtual environments, of each that answered."""
    rows = [line.split() for line in told.get("python", "").splitlines()]
    return [(row[0], tuple(int(word) for word in row[1].split(".")), row[2] == "venv") for row in rows if len(row) == 3]


def _install(address: Address, told: Mapping[str, str], python: str, venv: bool) -> str:
    """The commands, ready to be copied; a Jetson's environment has to see JetPack's TensorRT."""
    folder = f"{told.get('home', '~')}/edgefuse"
    jetson = "jetson" in told
    first = "" if venv else "sudo apt install python3-venv; "
    see = "--system-site-packages " if jetson else ""
    what = "edgefuse" if jetson else "edgefuse[openvino]"
    there = f"{first}{python} -m venv {see}{folder} && {folder}/bin/pip install '{what}=={__version__}'"
    shown = there if address.kind == "local" else f"{_shell(address)} {shlex.quote(there)}"
    return f"{shown}\nThen: --device '{address.text.partition('?')[0]}?python={folder}/bin/python'"


def _shell(address: Address) -> str:
    """What a person types before a command that is to run there."""
    if address.kind == "local":
        return "sh -c"
    run, _ = transport_of(address).command(address, ("true",))
    end = run.index("--")
    start = end - run[:end][::-1].index(OPTIONS[0]) - 1
    chosen = [run[at + step] for at in range(start, end) if run[at] in ("-p", "-J") for step in (0, 1)]
    return shlex.join([*run[:start], *chosen, run[end + 1]])
