"""The device of a test run: connected when it is first needed, again where the connection broke, and given back."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edgefuse.device_state import remarks
from edgefuse.errors import DeviceError, EdgeFuseError, UnreachableError
from edgefuse.remote import RemoteDevice, connect, parse_address
from edgefuse.spec import Array
from edgefuse.worker.wire import Answer

Result = TypeVar("Result")


class Connection:
    """``records`` are what was used, as JSON: address, what the device says of itself, its state before and after.

    *turns*: several processes share the device (pytest-xdist); one at a time has it, from its first request in a test
    to the test's end.
    """

    def __init__(self, address: str, timeout_s: float, turns: bool = False) -> None:
        self.address = parse_address(address)
        self.timeout_s, self.turns = timeout_s, turns
        self.records: list[dict[str, Any]] = []
        self._stack = ExitStack()
        self._device: RemoteDevice | None = None
        self._sent: dict[Path, str] = {}
        self._lost: EdgeFuseError | None = None

    @property
    def about(self) -> dict[str, Any]:
        """``edgefuse``, ``protocol``, ``environment``, ``device_class``."""
        return self.remote().about

    def remote(self) -> RemoteDevice:
        """The connected device itself. Raises ``DeviceError``; the same at once where connecting has failed before: a
        second try would take its time, or wait for its turn once more, and fail alike."""
        if self._device is None:
            self._device = self._connect()
        return self._device

    def _connect(self) -> RemoteDevice:
        if self._lost is not None:
            raise self._lost
        try:
            if self.turns:
                self._stack.enter_context(_turn(self.address.text))
            device = self._stack.enter_context(connect(self.address.text))
        except BaseException as error:
            self._stack.close()
            self._lost = error if isinstance(error, DeviceError) else None
            raise
        try:
            record = {"address": self.address.text, **device.about, "device_state": {"before": _state(device)}}
        except BaseException:
            self._stack.close()
            raise
        self._sent = {}
        self.records.append(record)
        return device

    def put_bundle(self, path: Path, shown: Path | None = None) -> str:
        """Send the bundle at *path*, which the user knows as *shown*, unless it is there; returns what jobs call it."""
        device = self.remote()
        if path not in self._sent:
            self._sent[path] = self._request(lambda: device.put_bundle(path, shown))
        return self._sent[path]

    def put_folder(self, path: Path) -> str:
        device = self.remote()
        return self._request(lambda: device.put_folder(path))

    def put_file(self, path: Path) -> str:
        device = self.remote()
        return self._request(lambda: device.put_file(path))

    def ask(
        self,
        job: str,
        arguments: Mapping[str, Any],
        *,
        arrays: Mapping[str, Array] | None = None,
        timeout_s: float | None = None,
        what: str = "",
    ) -> Answer:
        """One request (:mod:`edgefuse.worker.jobs`), at most *timeout_s* seconds (default: --edgefuse-timeout). Raises
        what the job raised, ``CrashError``, ``TimeLimitError``, ``UnreachableError`` …"""
        device, limit_s = self.remote(), timeout_s or self.timeout_s
        return self._request(lambda: device.ask(job, arguments, arrays=arrays, timeout_s=limit_s, what=what))

    def _request(self, request: Callable[[], Result]) -> Result:
        """A connection that broke, or on which an answer is under way that nobody waits for any more (Ctrl-C), is of no
        use; the next request gets another."""
        try:
            return request()
        except UnreachableError:
            self._drop()
            raise
        except EdgeFuseError:
            raise
        except BaseException:
            self._drop()
            raise

    def state(self) -> dict[str, Any]:
        """:func:`edgefuse.device_state.read_state` there."""
        return dict(self.ask("state", {}, what="Reading the device's state").value)

    def release(self) -> None:
        """Give the device back; the next request connects again."""
        if self._device is None:
            return
        state = self.records[-1]["device_state"]
        with contextlib.suppress(EdgeFuseError):
            state["after"] = _state(self._device)
        if "after" in state:
            state["remarks"] = remarks(state["before"], state["after"])
        self._drop()

    def _drop(self) -> None:
        self._device = None
        self._stack.close()


def _state(device: RemoteDevice) -> dict[str, Any]:
    return dict(device.ask("state", {}, timeout_s=120.0, what="Reading the device's state").value)


@contextmanager
def _turn(address: str) -> Iterator[None]:
    """Until the others have given the device back; ends with the process, whatever kills it."""
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"edgefuse-pytest-{os.getuid()}-{name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
