"""The connection to a device during a compilation, most of which happens at the workstation. Standard library only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edgefuse.errors import DeviceError
from edgefuse.remote import RemoteDevice

KEEP_S = 600.0
"""A device ends a connection without requests after an hour, and quantizing a large model may take longer."""


class Line:
    """As a context manager it tells the device now and then that we are still here, in a thread of its own."""

    def __init__(self, device: RemoteDevice) -> None:
        self._device, self._turn = device, threading.Lock()
        self._lost: DeviceError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="edgefuse-line", daemon=True)

    @contextmanager
    def device(self) -> Iterator[RemoteDevice]:
        """For one request. Raises the error of a connection that has been lost meanwhile."""
        with self._turn:
            if self._lost is not None:
                raise self._lost
            yield self._device

    def _keep(self) -> None:
        while not self._ended.wait(KEEP_S):
            try:
                with self.device() as device:
                    device.keep()
            except DeviceError as error:
                self._lost = error
                return

    def __enter__(self) -> Line:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
