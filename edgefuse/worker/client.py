"""The user's end, as the worker sees it: requests, and a beat every few seconds that says that it is still there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from edgefuse.worker.lock import DeviceLock
from edgefuse.worker.wire import BEAT, SILENCE_S, Channel, Frame, WireError, wait_for


class Gone(Exception):
    """The user's end is not there any more; why, for its log."""


class Client:
    """Raises :class:`Gone` wherever the user's end is, or says what makes no sense. A sign of life extends the lock."""

    def __init__(self, channel: Channel, lock: DeviceLock | None = None) -> None:
        self.channel, self.lock = channel, lock
        self._heard = time.monotonic()

    def next(self, limit_s: float) -> Frame:
        """The next request or piece, within *limit_s*."""
        deadline = time.monotonic() + limit_s
        while True:
            frame = self._receive(min(deadline, time.monotonic() + SILENCE_S))
            self.hear()
            if BEAT not in frame.header:
                return frame
            if time.monotonic() > deadline:
                raise Gone(f"the connection is given up: no request for {limit_s:g} s")

    def _receive(self, deadline: float) -> Frame:
        try:
            frame = self.channel.receive(deadline)
        except TimeoutError:
            raise Gone("the connection is given up: the other end is silent") from None
        except (OSError, WireError) as error:
            raise Gone(f"the connection is given up: {error}") from error
        if frame is None:
            raise Gone
        return frame

    def hear(self) -> None:
        self._heard = time.monotonic()
        if self.lock is not None:
            self.lock.extend()

    def wait(self, other: Channel, seconds: float) -> bool:
        """Until *other* has something to read (True), or *seconds* have passed. The client says nothing but beats
        meanwhile."""
        ready = wait_for([self.channel, other], time.monotonic() + seconds)
        self._listen(self.channel in ready)
        return other in ready

    def pause(self, seconds: float) -> None:
        self._listen(bool(wait_for([self.channel], time.monotonic() + seconds)))

    def _listen(self, something: bool) -> None:
        if something:
            if not self.channel.fill():
                raise Gone
            self._pop_beats()
            self.hear()
        elif time.monotonic() > self._heard + SILENCE_S:
            raise Gone("the connection is given up: the other end is silent")

    def _pop_beats(self) -> None:
        try:
            while (frame := self.channel.pop()) is not None:
                if BEAT not in frame.header:
                    raise WireError("a request came before the answer to the last one")
        except WireError as error:
            raise Gone(f"the connection is given up: {error}") from error

    def say(self, header: Mapping[str, Any], body: bytes = b"") -> None:
        try:
            self.channel.send(header, None, body)
        except OSError as error:
            raise Gone from error

    def forward(self, frame: Frame) -> None:
        try:
            self.channel.forward(frame)
        except OSError as error:
            raise Gone from error
