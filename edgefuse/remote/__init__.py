"""Another machine, with EdgeFuse on it, as the place where bundles are compiled, checked and measured.

    with connect("ssh://robot@10.0.0.5") as device:
        bundle = device.put_bundle(Path("rover.edgefuse"))
        report = device.ask("check", {"bundle": bundle}).value

A transport starts ``python -m edgefuse.worker`` there and gives its standard input and output; everything else is the
same for all of them. Standard library and numpy.
"""

from __future__ import annotations

import getpass
import importlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from edgefuse.errors import DeviceBusyError
from edgefuse.progress import Steps
from edgefuse.remote.address import Address, parse_address
from edgefuse.remote.connected import RemoteDevice, step_teller
from edgefuse.remote.link import Link, open_link

__all__ = ["Address", "RemoteDevice", "Transport", "connect", "parse_address"]

TRANSPORTS = {"local": "edgefuse.remote.local", "ssh": "edgefuse.remote.ssh", "labgrid": "edgefuse.remote.lab"}

LOCK_S = 60.0


class Transport(Protocol):
    """A module that reaches a device by starting a process here."""

    def command(self, address: Address, run: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
        """The command, and additions to its environment, that run *run* there: a program with arguments, where
        "python" stands for the interpreter. Standard input and output are that program's."""
        ...

    def failure(self, address: Address, code: int | None, said: str) -> Exception:
        """The error of a command that ended before the worker greeted, with exit *code* (None: it did not end) after
        having *said* something."""
        ...


def transport_of(address: Address) -> Transport:
    return cast(Transport, importlib.import_module(TRANSPORTS[address.kind]))


@contextmanager
def connect(text: str, *, owner: str | None = None, steps: Steps | None = None) -> Iterator[RemoteDevice]:
    """The device at the address *text*, locked for *owner* (default: user@host) until the end of the block. Where the
    address says that a device in use is waited for, *steps* tells whose turn it is.

    Raises :class:`UnreachableError`, :class:`AuthenticationError`, :class:`MissingRuntimeError`,
    :class:`VersionMismatchError`, :class:`DeviceBusyError`.
    """
    address = parse_address(text)
    link = open_link(address, transport_of(address))
    try:
        _lock(link, owner or _who(), steps)
        yield RemoteDevice(address, link)
    finally:
        link.close()


def _lock(link: Link, owner: str, steps: Steps | None) -> None:
    """The worker does the waiting: to connect again and again would disturb what is being measured there."""
    wait_s, tell = link.address.wait_s, step_teller(steps)
    try:
        link.ask("lock", {"owner": owner, "wait_s": wait_s}, timeout_s=wait_s + LOCK_S, step=tell)
    except DeviceBusyError as error:
        raise DeviceBusyError(error.what, where=link.address.text, hint=error.hint) from None


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
