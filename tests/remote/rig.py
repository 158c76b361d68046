"""This machine as a device whose worker may be tampered with: its own cache, its own lock, one job more (``fault``)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from edgefuse.progress import Step, Steps
from edgefuse.remote import RemoteDevice, connect
from edgefuse.worker.wire import Answer

ROOT = Path(__file__).resolve().parent.parent.parent
FAULTS = ROOT / "tests" / "worker" / "faults"
MARK = "EDGEFUSE_RIG"


class Rig:
    """``python`` is an interpreter for an address; all processes that come of it carry a mark, so that they are found
    however they were started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex
        self.cache, self.lock = folder / "cache", folder / "edgefuse.lock"
        self.environment = {
            "PYTHONPATH": f"{FAULTS}{os.pathsep}{ROOT}",
            "XDG_CACHE_HOME": str(self.cache),
            "EDGEFUSE_LOCK": str(self.lock),
            MARK: self.mark,
        }
        self.python = self.script("a python", f'exec {shlex.quote(sys.executable)} "$@"')

    def script(self, name: str, text: str, **environment: str) -> Path:
        """A program of the device, in shell; a space in its path is as good as anywhere."""
        settings = {**self.environment, **environment}
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in settings.items())
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{exports}{text}\n")
        path.chmod(0o755)
        return path

    def short_silence(self, seconds: float, margin_s: float = 5.0) -> Path:
        """An interpreter whose worker takes its user for gone after *seconds* without a beat, and another worker for
        hung *margin_s* after that."""
        code = (
            f"import edgefuse.worker.wire as wire, edgefuse.worker.lock as lock; wire.SILENCE_S = {seconds}; "
            f"lock.MARGIN_S, lock.EXTEND_S = {margin_s}, 0.1; import edgefuse.worker.service as s; s.main()"
        )
        return self.script("short silence", f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}")

    @property
    def address(self) -> str:
        return f"local?python={self.python}"

    def connect(self, owner: str = "tester") -> AbstractContextManager[RemoteDevice]:
        return connect(self.address, owner=owner)

    @property
    def store(self) -> Path:
        return self.cache / "edgefuse" / "worker"

    def processes(self) -> list[int]:
        """All that have been started for it and are still there."""
        return [pid for pid, environment in _processes() if f"{MARK}={self.mark}".encode() in environment]

    def half_done(self) -> list[Path]:
        """What no connection should leave on the disk."""
        return [*self.store.glob("work/*"), *self.store.rglob("*.part"), *self.store.rglob("folder-*")]

    def is_locked(self) -> bool:
        with self.lock.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def is_clean(self) -> bool:
        return not self.processes() and not self.half_done() and not self.is_locked()

    def assert_clean(self, within_s: float = 10.0) -> None:
        assert eventually(self.is_clean, within_s), (self.processes(), self.half_done(), self.is_locked())

    def assert_works(self) -> None:
        """A second try succeeds, and leaves nothing either."""
        with self.connect() as device:
            assert fault(device, "echo", value="second try").value == "second try"
        self.assert_clean()


class Told(Steps):
    """Steps that are kept, not printed."""

    def tell(self, step: Step) -> None:
        pass


def fault(device: RemoteDevice, kind: str, timeout_s: float = 30.0, arrays: Any = None, **arguments: Any) -> Answer:
    return device.ask("fault", {"kind": kind, **arguments}, arrays=arrays, timeout_s=timeout_s, what="The test's job")


def eventually(true: Callable[[], Any], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    return _read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"])


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            yield int(path.name), _read(int(path.name), "environ").split(b"\0")


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    for pid in rig.processes():
        with contextlib.suppress(OSError):
            os.kill(pid, 9)
