"""A device behind SSH, by the user's own OpenSSH client: its configuration, agent, jump hosts and known hosts count.

An SSH library (asyncssh was considered) would know some of ``~/.ssh/config``; the client knows all of it, hardware keys
and certificates included, and every robotics team has it working already. ``$EDGEFUSE_SSH`` names another command
(default: ssh), as ``GIT_SSH_COMMAND`` does for git.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil

from edgefuse.errors import AuthenticationError, DeviceError, MissingToolError, UnreachableError, UsageError
from edgefuse.remote.address import Address
from edgefuse.remote.runtime_errors import last_line, runtime_failure

OPTIONS = (
    "-T",  # no terminal: it would translate bytes
    *("-o", "BatchMode=yes"),  # nobody is there to type a password
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3"),  # a device that lost power is noticed after 15 s
    *("-o", "ControlMaster=no"),  # one of the user's is shared; we do not become one, which would outlive us
    *("-o", "ForwardX11=no"),
    *("-o", "ForwardAgent=no"),
    *("-o", "ClearAllForwardings=yes"),  # a port that another connection forwards already must not end this one
    *("-o", "RemoteCommand=none"),
)
OWN_FAILURE = 255
"""ssh's exit code for what it failed at itself; others are the remote program's (ssh(1), EXIT STATUS)."""

REFUSED = (
    r"Permission denied|Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|No .* host key is known|"
    r"Too many authentication failures|no mutual signature|key_load_public|UNPROTECTED PRIVATE KEY"
)


def command(address: Address, run: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Raises :class:`MissingToolError`, :class:`UsageError`."""
    client = _client()
    if not client or shutil.which(client[0]) is None:
        where = "EDGEFUSE_SSH" if "EDGEFUSE_SSH" in os.environ else address.text
        cure = "Install OpenSSH's client: sudo apt install openssh-client"
        raise MissingToolError(f"there is no {' '.join(client[:1]) or 'ssh'!r} here", where=where, hint=cure)
    python = address.python or "python3"
    there = f"{_quoted(python)} {shlex.join(run[1:])}" if run[0] == "python" else shlex.join(run)
    port = ("-p", str(address.port)) if address.port else ()
    host = f"{address.user}@{address.name}" if address.user else address.name
    jump = ("-J", address.jump) if address.jump else ()
    return [*client, *OPTIONS, *port, *jump, "--", host, there], {}


def _client() -> list[str]:
    """Raises :class:`UsageError`."""
    given = os.environ.get("EDGEFUSE_SSH", "ssh")
    try:
        return shlex.split(given)
    except ValueError as error:
        raise UsageError(f"{given!r} is no command: {error}", where="EDGEFUSE_SSH") from None


def _quoted(path: str) -> str:
    """For the device's shell, which knows what ``~`` stands for."""
    return f"~/{shlex.quote(path[2:])}" if path.startswith("~/") else shlex.quote(path)


def failure(address: Address, code: int | None, said: str) -> DeviceError:
    if code != OWN_FAILURE:
        return runtime_failure(address, code, said)
    if found := re.search(REFUSED, said):
        line = next(line for line in said.splitlines() if found[0] in line)
        return AuthenticationError(
            f"SSH was refused: {line.strip()[:200]}",
            where=address.text,
            hint=f"It must work without a password: {typed(address)} true\n"
            "A new device's host key is accepted, and a key installed, with: ssh-copy-id " + _plain(address),
        )
    return UnreachableError(
        f"no connection: {last_line(said) or 'ssh gave no reason'}",
        where=address.text,
        hint=f"Is it on, and in this network? Try: {typed(address)} true",
    )


def typed(address: Address) -> str:
    """What a person types to reach the device's shell."""
    return f"{os.environ.get('EDGEFUSE_SSH', 'ssh')} {_plain(address)}"


def _plain(address: Address) -> str:
    """For a command that a person types."""
    port = f"-p {address.port} " if address.port else ""
    port += f"-J {address.jump} " if address.jump else ""
    return f"{port}{address.user}@{address.name}" if address.user else f"{port}{address.name}"
