"""An SSH server inside the test process, needing nothing of the system: asyncssh in a thread of its own.

It does to a command what OpenSSH does: a process group of its own, binary streams, the end of its input when the
connection is lost; and it can fail when a test asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import pytest

from tests.remote.ssh_place import HOST, SshPlace

PIECE = 65536
WAIT_S = 10.0

T = TypeVar("T")


@pytest.fixture
def asyncssh_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AsyncsshServer]:
    """An SSH server in this process, which EdgeFuse's ssh transport finds."""
    with AsyncsshServer(tmp_path / "asyncssh") as server:
        monkeypatch.setenv("EDGEFUSE_SSH", server.ssh)
        yield server


class AsyncsshServer(SshPlace):
    """``commands`` is what has been run. ``drop_after`` = n: the connection is cut, without a word, once n bytes of
    input have come on it; that happens once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.commands: list[str] = []
        self.drop_after: int | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncssh", daemon=True)

    def __enter__(self) -> AsyncsshServer:
        self._thread.start()
        self._acceptor = self._do(self._listen())
        self.listens_at(self._acceptor.get_port())
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            _signal(process, signal.SIGKILL)
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def drop(self) -> None:
        """Cut every connection now, without a word."""
        for connection in self._connections:
            self._loop.call_soon_threadsafe(connection.abort)

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(WAIT_S)

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            HOST,
            0,
            config=None,
            server_factory=lambda: _Access(self),
            server_host_keys=[str(self.folder / "host_key")],
            process_factory=self._run,
            encoding=None,
        )

    async def _stop(self) -> None:
        self._acceptor.close()
        await self._acceptor.wait_closed()
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.commands.append(process.command or "")
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = {**os.environ, **self.environment}
        child = subprocess.Popen(self.commands[-1], shell=True, start_new_session=True, env=environment, **pipes)
        self._processes.append(child)
        self._connections.append(process.channel.get_connection())
        feeding = asyncio.create_task(self._feed(process, child))
        try:
            await process.redirect(stdout=child.stdout, stderr=child.stderr)
            code = await asyncio.to_thread(child.wait)
            await process.stdout.drain()
            await process.stderr.drain()
        finally:
            feeding.cancel()
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)

    async def _feed(self, process: asyncssh.SSHServerProcess[bytes], child: subprocess.Popen[bytes]) -> None:
        """What the client sends, to the command; signals, to its process group."""
        assert child.stdin is not None
        with contextlib.closing(child.stdin), contextlib.suppress(BrokenPipeError, asyncssh.Error):
            while True:
                try:
                    piece = await process.stdin.read(PIECE)
                except asyncssh.SignalReceived as received:
                    _signal(child, signal.Signals[f"SIG{received.signal}"])
                    continue
                if not piece:
                    return
                cut = self._cut(len(piece))
                await asyncio.to_thread(_write, child.stdin, piece[:cut])
                if cut is not None:
                    process.channel.get_connection().abort()
                    return

    def _cut(self, size: int) -> int | None:
        """How much of *size* bytes still arrives, where the connection is lost in them."""
        if self.drop_after is None:
            return None
        left, self.drop_after = self.drop_after, self.drop_after - size
        if left > size:
            return None
        self.drop_after = None
        return left


class _Access(asyncssh.SSHServer):
    """One user, and the keys that are in ``authorized_keys`` at the moment."""

    def __init__(self, place: SshPlace) -> None:
        self._place = place

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = (self._place.folder / "authorized_keys").read_bytes().split()
        return username == self._place.user and key.export_public_key().split()[1] in known


def _write(stream: Any, piece: bytes) -> None:
    stream.write(piece)
    stream.flush()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
