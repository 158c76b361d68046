"""The worker: one connection's requests, in order, until it ends; then nothing of it is left but the kept files.

Runs no vendor library itself, so that a crash, a hang or the kernel's out-of-memory killer meets the executor alone and
is an answer like another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from edgefuse.child import os_error
from edgefuse.errors import EdgeFuseError, UsageError
from edgefuse.version import __version__
from edgefuse.worker.lock import DeviceLock, take_lock
from edgefuse.worker.process import Executor
from edgefuse.worker.store import Store, open_store
from edgefuse.worker.wire import CHUNK, PROTOCOL, Channel, Frame, WireError, wait_for

IDLE_S = 900.0
"""Without a request for so long the connection is given up, and with it the lock: the other end may have lost power."""

GREETING_S = 60.0
TRANSFER_S = 120.0
"""For the next piece of a file."""

GRACE_S = 30.0


class _Gone(Exception):
    """The other end is not there any more."""


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # whoever prints must not write into the frames
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _end)
    channel = Channel(0, answers)
    with contextlib.suppress(_Gone, BrokenPipeError, TimeoutError, WireError):
        channel.send({"hello": {"protocol": PROTOCOL, "edgefuse": __version__, "pid": os.getpid()}})
        _serve(channel)


def _end(signum: int, frame: FrameType | None) -> None:
    raise _Gone


def _serve(channel: Channel) -> None:
    """The first request takes the lock; what it fails with is the whole answer."""
    frame = _next(channel, time.monotonic() + GREETING_S)
    try:
        if frame.header.get("do") != "lock":
            raise UsageError("the first request of a connection is for the lock")
        given = frame.header.get("arguments", {})
        lock = take_lock(str(given.get("owner", "somebody")), float(given.get("expires_s", IDLE_S)))
    except EdgeFuseError as error:
        return channel.send({"id": frame.header.get("id"), **error.to_json()})
    try:
        store = open_store()
    except OSError as error:
        lock.release()
        return channel.send({"id": frame.header.get("id"), **os_error(error).to_json()})
    worker = Worker(channel, lock, store)
    try:
        channel.send({"id": frame.header.get("id"), "value": None})
        while True:
            worker.answer(_next(channel, time.monotonic() + lock.expires_s))
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        worker.close()


def _next(channel: Channel, deadline: float) -> Frame:
    frame = channel.receive(deadline)
    if frame is None:
        raise _Gone
    return frame


@dataclass
class Worker:
    channel: Channel
    lock: DeviceLock
    store: Store
    executor: Executor | None = None

    def answer(self, frame: Frame) -> None:
        """One request. Raises ``_Gone`` where the other end is."""
        number, name = frame.header.get("id"), str(frame.header.get("do"))
        given: dict[str, Any] = frame.header.get("arguments", {})
        self.lock.extend()
        header: dict[str, Any]
        try:
            if name in OWN:
                header = {"value": OWN[name](self, number, given)}
            else:
                return self._execute(frame, number, name)
        except EdgeFuseError as error:
            header = error.to_json()
        except (KeyError, TypeError, ValueError) as error:
            header = UsageError(f"the request {name!r} is malformed: {error!r}").to_json()
        except OSError as error:
            if isinstance(error, BrokenPipeError | TimeoutError):
                raise
            header = os_error(error).to_json()
        self.channel.send({"id": number, **header}, deadline=time.monotonic() + TRANSFER_S)

    def put(self, number: Any, given: dict[str, Any]) -> None:
        """One file: an answer that it may come, its pieces, and the answer that it is here."""
        digest, size = str(given["sha256"]), int(given["size_bytes"])
        self.channel.send({"id": number, "go": True})
        pieces = self._pieces(size)
        try:
            self.store.write(digest, size, pieces)
        finally:
            for _ in pieces:  # what is under way is not the next request
                pass

    def _pieces(self, size: int) -> Iterator[bytes]:
        left = size
        while left > 0:
            piece = _next(self.channel, time.monotonic() + TRANSFER_S).body
            if not piece:
                return
            left -= len(piece)
            self.lock.extend()
            yield piece

    def get(self, number: Any, given: dict[str, Any]) -> int:
        """One file of a result, in pieces; returns its size."""
        top = self.store.made(str(given["key"]))
        path = self.store.made(f"{given['key']}/{given['name']}") if given["name"] else top
        size = 0
        with path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                size += len(piece)
                self.channel.send({"id": number, "piece": True}, None, piece, time.monotonic() + TRANSFER_S)
        return size

    def _execute(self, frame: Frame, number: Any, name: str) -> None:
        limit_s = float(frame.header.get("timeout_s") or IDLE_S)
        what = str(frame.header.get("what") or f"The job {name!r}")
        deadline = time.monotonic() + limit_s
        self.lock.extend(max(limit_s + GRACE_S, IDLE_S))
        if self.executor is None:
            self.executor = Executor.start(self.store.work)
        executor = self.executor
        try:
            executor.channel.forward(frame, deadline)
            self._relay(executor, number, what, deadline)
        except (TimeoutError, BrokenPipeError, WireError) as error:
            self.executor = None
            failure = executor.end(what, limit_s if isinstance(error, TimeoutError) else None)
            self.channel.send({"id": number, **failure.to_json()}, deadline=time.monotonic() + TRANSFER_S)
        finally:
            self.lock.extend(IDLE_S)

    def _relay(self, executor: Executor, number: Any, what: str, deadline: float) -> None:
        """Pass on what the executor says until it has answered. The other end says nothing meanwhile, but may go."""
        while True:
            while (frame := executor.channel.pop()) is not None:
                self.channel.forward(frame, time.monotonic() + TRANSFER_S)
                if "step" not in frame.header:
                    return
            ready = wait_for([self.channel, executor.channel], deadline)
            if not ready:
                raise TimeoutError
            if self.channel in ready and not self.channel.fill():
                raise _Gone
            if executor.channel in ready and not executor.channel.fill():
                raise BrokenPipeError

    def close(self) -> None:
        if self.executor is not None:
            self.executor.kill()
        self.store.close()
        self.lock.release()


def _missing(worker: Worker, number: Any, given: dict[str, Any]) -> list[str]:
    return worker.store.missing({str(digest): int(size) for digest, size in given["files"].items()})


def _place(worker: Worker, number: Any, given: dict[str, Any]) -> None:
    worker.store.place_folder(str(given["key"]), {str(k): str(v) for k, v in given["files"].items()})


def _listing(worker: Worker, number: Any, given: dict[str, Any]) -> dict[str, Any]:
    return worker.store.listing(str(given["key"]))


OWN = {"missing": _missing, "put": Worker.put, "place": _place, "listing": _listing, "get": Worker.get}
"""What the worker does itself; everything else is a job of the executor."""
