"""What it means when a device is reached and the worker does not start there. Standard library only."""

from __future__ import annotations

import re
import signal

from edgefuse.errors import DeviceError, MissingRuntimeError, VersionMismatchError
from edgefuse.remote.address import Address
from edgefuse.version import __version__

NO_PROGRAM = (126, 127)
"""What a shell exits with where a program cannot be run, or is not there (POSIX.1-2017, XCU 2.8.2)."""


def runtime_failure(address: Address, code: int | None, said: str) -> DeviceError:
    """The error of a worker that *said* something and ended with *code*, or (None) does neither end nor greet."""
    python = address.python or "python3"
    last = last_line(said)
    if re.search(r"No module named '?edgefuse\.worker", said):
        return VersionMismatchError(
            "the EdgeFuse there is older and has no worker", where=address.text, hint=install_hint(address)
        )
    if found := re.search(r"No module named '?([\w.]+)", said):
        return MissingRuntimeError(
            f"{python} there has no module {found[1]!r}", where=address.text, hint=install_hint(address)
        )
    if code in NO_PROGRAM:
        return MissingRuntimeError(
            f"there is no {python} to run ({last})" if last else f"there is no {python} to run",
            where=address.text,
            hint=f"Name another interpreter: {address.text.partition('?')[0]}?python=/path/to/python",
        )
    how = "does not answer" if code is None else _ended(code)
    return MissingRuntimeError(
        f"the worker {how}{f'; it last said: {last}' if last else ''}",
        where=address.text,
        hint="EdgeFuse needs Python 3.10 or newer there. See: edgefuse doctor --device " + address.text,
    )


def _ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def install_hint(address: Address) -> str:
    """How EdgeFuse gets there."""
    python = address.python or "python3"
    here = address.text.partition("?")[0]
    return (
        f"Install it there: {python} -m pip install 'edgefuse[openvino]=={__version__}' (on a Jetson: edgefuse, with "
        f"JetPack's TensorRT). Is it in a virtual environment? Then name its interpreter: {here}?python=/path/to/python"
    )


def last_line(said: str) -> str:
    """Not the one with which a shell points at a character (fish)."""
    return next((line.strip()[:200] for line in reversed(said.splitlines()) if line.strip(" ^~")), "")
