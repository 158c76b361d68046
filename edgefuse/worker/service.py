"""The worker: one connection's requests, in order, until it ends; then nothing of it is left but the kept files.

Runs no vendor library itself, so that a crash, a hang or the kernel's out-of-memory killer meets the executor alone and
is an answer like another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from types import FrameType

from edgefuse.child import os_error
from edgefuse.errors import DeviceBusyError, EdgeFuseError, UsageError
from edgefuse.version import __version__
from edgefuse.worker.client import Client, Gone
from edgefuse.worker.lock import DeviceLock, take_lock
from edgefuse.worker.requests import Worker, seconds
from edgefuse.worker.store import open_store
from edgefuse.worker.wire import PROTOCOL, SILENCE_S, Frame, own_channel

IDLE_S = 6 * 3600.0
"""Without a request for so long the connection is given up, and with it the lock, though its user's end is alive: a
debugger is open, say. Quantizing a large model at the workstation may take an hour or two."""

GREETING_S = 60.0
TURN_S = 0.5
"""How often a worker that waits for the lock looks."""

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def main() -> None:
    for number in SIGNALS:
        signal.signal(number, _end)
    client = Client(own_channel())
    with contextlib.suppress(Gone):
        client.say({"hello": {"protocol": PROTOCOL, "edgefuse": __version__, "pid": os.getpid()}})
        _serve(client)


def _end(signum: int, frame: FrameType | None) -> None:
    raise Gone


def _serve(client: Client) -> None:
    """The first request takes the lock; what it fails with is the whole answer."""
    frame = client.next(GREETING_S)
    number = frame.header.get("id")
    try:
        lock = _lock(client, frame)
    except EdgeFuseError as error:
        return client.say({"id": number, **error.to_json()})
    try:
        client.lock = lock
        _work(client, lock, number)
    finally:
        lock.release()


def _work(client: Client, lock: DeviceLock, number: object) -> None:
    try:
        store = open_store(tick=lock.extend)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        failure = os_error(error) if isinstance(error, OSError) else UsageError(str(error))
        return client.say({"id": number, **failure.to_json()})
    worker = Worker(client, lock, store)
    try:
        client.say({"id": number, "value": None})
        while True:
            worker.answer(client.next(IDLE_S))
    except Gone as end:
        with contextlib.suppress(OSError):
            sys.stderr.write("".join(f"{why}\n" for why in end.args))
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        worker.close()


def _lock(client: Client, frame: Frame) -> DeviceLock:
    """Waiting for it costs the device, and whoever is measuring there, next to nothing; its user is told once."""
    if frame.header.get("do") != "lock":
        raise UsageError("the first request of a connection is for the lock")
    given = frame.header.get("arguments", {})
    owner, told = str(given.get("owner", "somebody")), False
    deadline = time.monotonic() + seconds(given.get("wait_s", 0.0))
    while True:
        try:
            return take_lock(owner, SILENCE_S)
        except DeviceBusyError as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                step = {"name": "Waiting for the device", "seconds": 0.0, "notes": [error.what]}
                client.say({"id": frame.header.get("id"), "step": step})
            told = True
        client.pause(TURN_S)
