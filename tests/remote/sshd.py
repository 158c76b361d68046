"""A real OpenSSH server on a free loopback port, for the tests' own user; Debian's package is openssh-server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.ssh_place import HOST, SshPlace

SSHD = Path("/usr/sbin/sshd")
PRIVILEGE_SEPARATION = Path("/run/sshd")
START_S, ATTEMPTS = 10.0, 5

SERVER_CONFIG = """ListenAddress {host}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
AuthenticationMethods publickey
PermitRootLogin prohibit-password
UsePAM no
# /tmp belongs to all, which StrictModes would hold against everything in it.
StrictModes no
SetEnv {environment}
"""


@pytest.fixture(scope="session")
def openssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshPlace]:
    """The server alone; ``openssh`` makes EdgeFuse use it."""
    if not SSHD.exists():
        missing = f"{SSHD} is missing: apt-get install openssh-server"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with running_sshd(tmp_path_factory.mktemp("sshd")) as place:
        yield place


@pytest.fixture
def openssh(openssh_server: SshPlace, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshPlace]:
    """A real OpenSSH server, which EdgeFuse's ssh transport finds; keys and known hosts are set right afterwards."""
    monkeypatch.setenv("EDGEFUSE_SSH", openssh_server.ssh)
    yield openssh_server
    openssh_server.accept_keys()
    openssh_server.listens_at(openssh_server.port)


@contextlib.contextmanager
def running_sshd(folder: Path) -> Iterator[SshPlace]:
    place = SshPlace(folder)
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)  # made at boot elsewhere, where something boots
    server = _started(place)
    try:
        yield place
    finally:
        for pid in [*_children(server.pid), server.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        server.wait(START_S)


def _started(place: SshPlace) -> subprocess.Popen[bytes]:
    """Another process may take a port that was free: then the next one."""
    for _ in range(ATTEMPTS):
        place.listens_at(_free_port())
        environment = " ".join(f"{name}={value}" for name, value in place.environment.items())
        known = {"host": HOST, "port": place.port, "folder": place.folder, "environment": environment}
        config = SERVER_CONFIG.format(**known)
        (place.folder / "sshd_config").write_text(config, encoding="ascii")
        with (place.folder / "sshd.log").open("wb") as log:
            command = [str(SSHD), "-D", "-e", "-f", str(place.folder / "sshd_config"), *_newer(place)]
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if _greets(place.port, server):
            return server
        server.kill()
        server.wait()
    raise RuntimeError(f"sshd does not start: {(place.folder / 'sshd.log').read_text()}")


def _newer(place: SshPlace) -> list[str]:
    """OpenSSH 9.8 and later shut out for a while whoever was refused, which here is every test; earlier ones refuse the
    option."""
    option = ["-o", "PerSourcePenalties=no"]
    tried = [str(SSHD), "-t", "-f", str(place.folder / "sshd_config"), *option]
    return option if subprocess.run(tried, capture_output=True, check=False).returncode == 0 else []


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def _greets(port: int, server: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0) as connection:
            return connection.recv(8) == b"SSH-2.0-"
        time.sleep(0.02)
    return False


def _children(pid: int) -> list[int]:
    """Connections that a test has left open: each is a process in a session of its own."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []
