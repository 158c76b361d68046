"""One connection to a worker: a process of ours whose standard input and output are the worker's.

Requests go out one at a time; what comes back is an answer, an error of its own type, or the news that the connection
is gone. Every wait has a limit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgefuse.errors import UnreachableError, VersionMismatchError, error_from_json
from edgefuse.remote.address import Address
from edgefuse.spec import Array
from edgefuse.version import __version__
from edgefuse.worker.wire import PROTOCOL, Answer, Channel, Frame, WireError

if TYPE_CHECKING:
    from edgefuse.remote import Transport

GREETING_S = 60.0
"""Until the worker greets: a slow board imports numpy in seconds, and ssh gives up after 15 s by itself."""

GRACE_S = 15.0
"""Beyond a request's own limit, which the worker keeps: after that the connection itself is taken for dead."""

NO_PROGRAM = 127
"""As a shell exits."""

WORKER = ("python", "-m", "edgefuse.worker")


@dataclass
class Link:
    address: Address
    process: subprocess.Popen[bytes]
    channel: Channel
    log: BinaryIO
    hello: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    def ask(
        self,
        do: str,
        arguments: Mapping[str, Any],
        *,
        arrays: Mapping[str, Array] | None = None,
        timeout_s: float = 60.0,
        what: str = "",
        step: Callable[[dict[str, Any]], None] = lambda step: None,
    ) -> Answer:
        """The answer to one request; its steps go to *step* as they are done."""
        deadline = time.monotonic() + timeout_s + GRACE_S
        self.begin(do, arguments, arrays, timeout_s, what)
        while "step" in (frame := self.next(deadline)).header:
            step(frame.header["step"])
        return Answer(frame.header.get("value"), frame.arrays())

    def begin(
        self,
        do: str,
        arguments: Mapping[str, Any],
        arrays: Mapping[str, Array] | None = None,
        timeout_s: float = 60.0,
        what: str = "",
    ) -> None:
        self.number += 1
        header = {"id": self.number, "do": do, "arguments": dict(arguments), "timeout_s": timeout_s, "what": what}
        self.send(header, arrays, timeout_s=timeout_s + GRACE_S)

    def send(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, Array] | None = None,
        body: bytes = b"",
        timeout_s: float = 120.0,
    ) -> None:
        try:
            self.channel.send(header, arrays, body, time.monotonic() + timeout_s)
        except (BrokenPipeError, TimeoutError, ValueError) as error:
            raise self.broken(error) from None

    def next(self, deadline: float) -> Frame:
        """The next frame of the request under way; raises the error that it tells."""
        try:
            frame = self.channel.receive(deadline)
        except (TimeoutError, WireError, OSError) as error:
            raise self.broken(error) from None
        if frame is None:
            raise self.broken(None)
        if frame.header.get("id") != self.number:
            raise self.broken(WireError("an answer to another request"))
        if "error" in frame.header:
            raise error_from_json(frame.header)
        return frame

    def broken(self, error: Exception | None) -> UnreachableError:
        """The connection is of no use any more; the worker notices, and ends whatever it was doing."""
        self.close()
        said = self.last_words()
        why = {TimeoutError: "it does not answer any more", type(None): "it ended"}.get(type(error), str(error))
        return UnreachableError(
            f"the connection broke: {why}{f' ({said})' if said else ''}",
            where=self.address.text,
            hint="Whatever ran there was ended. Is the device still on? Then try again.",
        )

    def last_words(self) -> str:
        """The last line that ssh or the worker said."""
        with contextlib.suppress(OSError, ValueError):
            self.log.seek(0)
            lines = self.log.read().decode("utf-8", "replace").splitlines()
            return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
        return ""

    def close(self) -> None:
        """The worker sees the end of its input, ends what it does and goes; at the latest after a second ours does."""
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        try:
            self.process.wait(3.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3.0)
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def open_link(address: Address, transport: Transport) -> Link:
    """Start the worker and hear its greeting."""
    command, environment = transport.command(address, WORKER)
    log = tempfile.TemporaryFile(prefix="edgefuse-")  # noqa: SIM115 (as long as the link)
    try:
        process = start(command, environment, log)
    except OSError as error:
        raise transport.failure(address, NO_PROGRAM, f"{command[0]}: {error.strerror}") from None
    assert process.stdin is not None and process.stdout is not None
    link = Link(address, process, Channel(process.stdout.fileno(), process.stdin.fileno()), log)
    try:
        frame = link.channel.receive(time.monotonic() + GREETING_S)
        if frame is not None:
            link.hello = _checked(frame.header, address)
            return link
    except (TimeoutError, WireError, OSError):
        pass
    except BaseException:
        link.close()
        raise
    ended = process.poll() is not None or _ends_soon(process)
    code = process.returncode if ended else None
    said = link.channel.unread.decode("utf-8", "replace")
    link.close()
    log.seek(0)
    raise transport.failure(address, code, f"{log.read().decode('utf-8', 'replace')}\n{said}")


def start(command: list[str], environment: Mapping[str, str], log: BinaryIO) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C is ours to handle."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **environment},
        start_new_session=True,
        cwd=Path("/"),
    )


def _ends_soon(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2.0)
    return process.poll() is not None


def _checked(header: Mapping[str, Any], address: Address) -> dict[str, Any]:
    hello = dict(header.get("hello", {}))
    if hello.get("protocol") != PROTOCOL:
        raise VersionMismatchError(
            f"EdgeFuse {hello.get('edgefuse')} there speaks protocol {hello.get('protocol')}; "
            f"EdgeFuse {__version__} here speaks {PROTOCOL}",
            where=address.text,
            hint=f"Install the same version on both: pip install 'edgefuse=={__version__}'",
        )
    return hello
