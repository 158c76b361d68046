"""This machine as the device, in another process: a vendor's library that crashes or hangs leaves us alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgefuse.errors import DeviceError
from edgefuse.remote.address import Address
from edgefuse.remote.runtime_errors import runtime_failure


def command(address: Address, run: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    if run[0] != "python":
        return [*run], {}
    if address.python:
        return [_program(address.python), *run[1:]], {}
    root = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return [sys.executable, *run[1:]], {"PYTHONPATH": path}


def _program(python: str) -> str:
    """Relative to where the user is: the worker is started elsewhere."""
    return str(Path(python).expanduser().absolute()) if "/" in python else python


def failure(address: Address, code: int | None, said: str) -> DeviceError:
    return runtime_failure(address, code, said)
