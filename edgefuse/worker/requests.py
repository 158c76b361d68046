"""What one request does: files come and go, everything else is a job of the executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgefuse.child import os_error
from edgefuse.errors import EdgeFuseError, UsageError
from edgefuse.worker.client import Client, Gone
from edgefuse.worker.lock import DeviceLock
from edgefuse.worker.process import Executor
from edgefuse.worker.store import Store
from edgefuse.worker.wire import CHUNK, STALL_S, Frame, WireError

LIMIT_S = 1800.0
"""Of a job whose request names none."""

LONGEST_S = 30 * 86400.0
GLANCE_S = 1.0
"""How often a silent executor is looked after: a child that it has forked can keep its pipe open when it is dead."""


def seconds(value: Any) -> float:
    """Raises ``ValueError`` for what is no time to wait."""
    found = float(value)
    if not found >= 0:
        raise ValueError(f"{value!r} is no number of seconds")
    return min(found, LONGEST_S)


@dataclass
class Worker:
    client: Client
    lock: DeviceLock
    store: Store
    executor: Executor | None = None

    def answer(self, frame: Frame) -> None:
        """One request. Raises ``Gone`` where the user's end is."""
        number, name = frame.header.get("id"), str(frame.header.get("do"))
        header: dict[str, Any]
        try:
            if name not in OWN:
                return self._execute(frame, number, name)
            header = {"value": OWN[name](self, number, frame.header.get("arguments", {}))}
        except EdgeFuseError as error:
            header = error.to_json()
        except OSError as error:
            header = os_error(error).to_json()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            header = UsageError(f"the request {name!r} is malformed: {error!r}").to_json()
        self.client.say({"id": number, **header})

    def put(self, number: Any, given: dict[str, Any]) -> None:
        """One file: an answer that it may come, its pieces, and the answer that it is here."""
        digest, size = str(given["sha256"]), int(given["size_bytes"])
        self.client.say({"id": number, "go": True})
        pieces = self._pieces(size)
        try:
            self.store.write(digest, size, pieces)
        finally:
            for _ in pieces:  # what is under way is not the next request
                pass

    def _pieces(self, size: int) -> Iterator[bytes]:
        left = size
        while left > 0:
            frame = self.client.next(STALL_S)
            if not frame.header.get("piece"):
                raise Gone("the connection is given up: a request came in the middle of a file")
            if not frame.body:  # it was cut short at the user's
                return
            left -= len(frame.body)
            yield frame.body

    def get(self, number: Any, given: dict[str, Any]) -> int:
        """One file of a result, in pieces; returns its size."""
        name = f"{given['key']}/{given['name']}" if given["name"] else str(given["key"])
        size = 0
        with self.store.made(name).open("rb") as stream:
            while piece := stream.read(CHUNK):
                size += len(piece)
                self.client.say({"id": number, "piece": True}, piece)
                self.lock.extend()
        return size

    def _execute(self, frame: Frame, number: Any, name: str) -> None:
        limit_s = seconds(frame.header.get("timeout_s") or LIMIT_S)
        what = str(frame.header.get("what") or f"The job {name!r}")
        executor = self._running_executor()
        try:
            executor.channel.forward(frame)
            self._relay(executor, time.monotonic() + limit_s)
        except (OSError, WireError) as error:  # of the executor's pipes; those of the client's are Gone
            self.executor = None
            failure = executor.end(what, limit_s if isinstance(error, TimeoutError) else None)
            self.client.say({"id": number, **failure.to_json()})

    def _running_executor(self) -> Executor:
        """One that has died since its last answer did none of this request's work: another one starts afresh."""
        if self.executor is not None and self.executor.has_ended:
            self.executor.kill()
            self.executor = None
        if self.executor is None:
            self.executor = Executor.start(self.store.work)
        return self.executor

    def _relay(self, executor: Executor, deadline: float) -> None:
        """Pass on what the executor says until it has answered."""
        while True:
            while (frame := executor.channel.pop()) is not None:
                self.client.forward(frame)
                if "step" not in frame.header:
                    return
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if self.client.wait(executor.channel, min(left, GLANCE_S)):
                if not executor.channel.fill():
                    raise BrokenPipeError
                if executor.channel.is_receiving:  # it has done its work: a large answer may take its time
                    deadline = max(deadline, time.monotonic() + STALL_S)
            elif executor.has_ended:
                raise BrokenPipeError

    def close(self) -> None:
        if self.executor is not None:
            self.executor.kill()
        self.store.close()


def _missing(worker: Worker, number: Any, given: dict[str, Any]) -> list[str]:
    return worker.store.missing({str(digest): int(size) for digest, size in given["files"].items()})


def _place(worker: Worker, number: Any, given: dict[str, Any]) -> None:
    worker.store.place_folder(str(given["key"]), {str(k): str(v) for k, v in given["files"].items()})


def _listing(worker: Worker, number: Any, given: dict[str, Any]) -> dict[str, Any]:
    return worker.store.listing(str(given["key"]))


OWN: dict[str, Callable[[Worker, Any, dict[str, Any]], Any]] = {
    "missing": _missing,
    "put": Worker.put,
    "place": _place,
    "listing": _listing,
    "get": Worker.get,
}
"""What the worker does itself; everything else is a job of the executor."""
