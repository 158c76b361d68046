"""One connection to a worker: a process of ours whose standard input and output are the worker's.

Requests go out one at a time; what comes back is an answer, an error of its own type, or the news that the connection
is gone. Every wait has a limit.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from edgefuse.errors import EdgeFuseError, UnreachableError, UsageError, VersionMismatchError, error_from_json
from edgefuse.remote.address import Address
from edgefuse.remote.process import PATIENCE_S, close_pipes, end, ends_soon, start
from edgefuse.remote.runtime_errors import last_line
from edgefuse.spec import Array
from edgefuse.version import __version__
from edgefuse.worker.wire import BEAT, BEAT_S, PROTOCOL, Answer, Buffer, Channel, Frame, WireError, encode

if TYPE_CHECKING:
    from edgefuse.remote import Transport

GREETING_S = 60.0
"""Until the worker greets: a slow board imports numpy in seconds, and ssh gives up after 15 s by itself."""

GRACE_S = 15.0
"""Beyond a request's own limit, which the worker keeps: after that the connection itself is taken for dead."""

NO_PROGRAM = 127

WORKER = ("python", "-m", "edgefuse.worker")


@dataclass
class Link:
    address: Address
    process: subprocess.Popen[bytes]
    channel: Channel
    log: BinaryIO
    hello: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    closed: bool = False
    said: str = ""
    """What ssh and the worker said on standard error, once it is closed."""
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """Who writes: a frame that begins in the middle of another one would be the end."""
    _ended: threading.Event = field(default_factory=threading.Event)

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
        with self.request():
            self.begin(do, arguments, arrays, timeout_s, what)
            deadline = time.monotonic() + timeout_s + GRACE_S
            while "step" in (frame := self.next(deadline)).header:
                step(frame.header["step"])
        return Answer(frame.header.get("value"), frame.arrays())

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """One request from its begin to its answer. Where that is not waited for (Ctrl-C, a full disk here), what
        comes later would be taken for the answer to another one: the connection ends."""
        self._refuse_closed()
        try:
            yield
        except _Told as told:
            raise told.error from None
        except BaseException:
            self.close()
            raise

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
        self._write(_encoded(header, arrays))

    def send_piece(self, piece: bytes) -> None:
        self._write(encode({"id": self.number, "piece": True}, None, piece))

    def _write(self, pieces: Sequence[Buffer]) -> None:
        try:
            with self._turn:
                self.channel.write(pieces)
        except OSError as error:
            raise self.broken(error) from None

    def next(self, deadline: float) -> Frame:
        """The next frame of the request under way; raises the error that it tells."""
        try:
            frame = self.channel.receive(deadline)
        except (WireError, OSError) as error:
            raise self.broken(error) from None
        if frame is None:
            raise self.broken(None)
        if frame.header.get("id") != self.number:
            raise self.broken(WireError("an answer to another request"))
        if "error" in frame.header:
            raise _Told(error_from_json(frame.header))
        return frame

    def beat(self) -> None:
        """In a thread of its own: say every few seconds that we are here, until the connection ends."""
        while not self._ended.wait(BEAT_S):
            with self._turn, contextlib.suppress(OSError):
                if not self.closed:
                    self.channel.try_send({BEAT: True})

    def broken(self, error: Exception | None) -> UnreachableError:
        """The connection is of no use any more; the worker notices, and ends whatever it was doing."""
        self.close(patience_s=PATIENCE_S if error is None else 0.5)
        said = last_line(self.said)
        why = "it does not answer any more" if isinstance(error, TimeoutError) else str(error or "it ended")
        return UnreachableError(
            f"the connection broke: {why}{f' ({said})' if said else ''}",
            where=self.address.text,
            hint="Whatever ran there was ended. Is the device still on? Then try again.",
        )

    def _refuse_closed(self) -> None:
        if self.closed:
            raise UnreachableError("the connection has ended", where=self.address.text, hint="Connect again.")

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """The worker sees the end of its input, ends what it does and goes, within *patience_s*; then ours does."""
        if self.closed:
            return
        self.closed = True
        self._ended.set()
        with self._turn:  # the descriptors' numbers may be somebody else's at once
            close_pipes(self.process)
        end(self.process, patience_s)
        with contextlib.suppress(OSError):
            self.log.seek(0)
            self.said = self.log.read().decode("utf-8", "replace")
        self.log.close()


class _Told(Exception):
    """The worker answered with an error; the connection is as good as before."""

    def __init__(self, error: EdgeFuseError) -> None:
        super().__init__(error)
        self.error = error


def _encoded(header: Mapping[str, Any], arrays: Mapping[str, Array] | None) -> list[Buffer]:
    try:
        return encode(header, arrays)
    except (TypeError, ValueError) as error:
        raise _Told(UsageError(f"the request {header['do']!r} cannot be sent: {error}")) from error


def open_link(address: Address, transport: Transport) -> Link:
    """Start the worker and hear its greeting."""
    command, environment = transport.command(address, WORKER)
    log = tempfile.TemporaryFile(prefix="edgefuse-")  # noqa: SIM115 (as long as the link)
    try:
        process = start(command, environment, log)
    except OSError as error:
        log.close()
        raise transport.failure(address, NO_PROGRAM, f"{command[0]}: {error.strerror}") from error
    assert process.stdin is not None and process.stdout is not None
    link = Link(address, process, Channel(process.stdout.fileno(), process.stdin.fileno()), log)
    try:
        frame = _greeting(link)
        if frame is not None:
            link.hello = _checked(frame.header, address)
            threading.Thread(target=link.beat, name="edgefuse-beat", daemon=True).start()
            return link
    except BaseException:
        link.close(patience_s=0.5)
        raise
    code = process.returncode if ends_soon(process) else None
    said = link.channel.unread.decode("utf-8", "replace")
    link.close(patience_s=0.5)
    raise transport.failure(address, code, f"{link.said}\n{said}")


def _greeting(link: Link) -> Frame | None:
    try:
        return link.channel.receive(time.monotonic() + GREETING_S)
    except (WireError, OSError):
        return None


def _checked(header: Mapping[str, Any], address: Address) -> dict[str, Any]:
    given = header.get("hello")
    hello: dict[str, Any] = given if isinstance(given, dict) else {}
    if hello.get("protocol") != PROTOCOL:
        raise VersionMismatchError(
            f"EdgeFuse {hello.get('edgefuse')} there speaks protocol {hello.get('protocol')}; "
            f"EdgeFuse {__version__} here speaks {PROTOCOL}",
            where=address.text,
            hint=f"Install the same version on both: pip install 'edgefuse=={__version__}'",
        )
    return hello
