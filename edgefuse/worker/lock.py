"""One user at a time: the device's lock, with its owner and its expiry. Standard library only.

The kernel holds the lock (``flock``), so that it ends with the worker whatever kills it; the file says for people who
holds it and until when. Times are of the device's boot clock: a wall clock that is a day off changes nothing. A holder
that is past its expiry and still there (it hangs) is killed by the next one, where that is allowed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import signal
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefuse.errors import DeviceBusyError, ToolchainError

PLACES = (Path("/run/lock"), Path("/tmp"))
NAME = "edgefuse.lock"
EXTEND_S = 1.0
MARGIN_S = 5.0
"""A worker that is past its expiry ends by itself; one that has not after so long hangs."""


def lock_path() -> Path:
    """``$EDGEFUSE_LOCK``, or a file that all users of the device share."""
    if own := os.environ.get("EDGEFUSE_LOCK"):
        return Path(own)
    there = [place / NAME for place in PLACES if (place / NAME).exists()]  # /run/lock may be root's alone
    writable = [place / NAME for place in PLACES if place.is_dir() and os.access(place, os.W_OK)]
    return [*there, *writable, PLACES[-1] / NAME][0]


@dataclass
class DeviceLock:
    """The held lock; :meth:`extend` says that its owner is still at work, who is good for ``expires_s`` more."""

    path: Path
    _fd: int
    owner: str
    expires_s: float
    _since: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S"))
    _written: float = -math.inf

    def extend(self) -> None:
        """Cheap: may be called for every piece of a file."""
        now = _now()
        if now < self._written + EXTEND_S:
            return
        self._written = now
        text = json.dumps(
            {
                "owner": self.owner,
                "pid": os.getpid(),
                "started": _started(os.getpid()),
                "boot": _boot(),
                "since": self._since,
                "expires": now + self.expires_s,
            }
        )
        with contextlib.suppress(OSError):  # a full disk: who holds it cannot be told then, the lock holds all the same
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text.encode(), 0)

    def release(self) -> None:
        """Once or more often."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            os.close(fd)


def take_lock(owner: str, expires_s: float) -> DeviceLock:
    """Raises :class:`DeviceBusyError` that names the owner while somebody else holds it."""
    path = lock_path()
    fd = _open(path)
    try:
        if not _try(fd):
            holder = _read(fd)
            if not (_overdue(holder) and _kill(holder) and _try_for(fd, 2.0)):
                raise DeviceBusyError(f"is in use{_by(holder)}", hint=_advice(holder))
        lock = DeviceLock(path, fd, owner, expires_s)
        lock.extend()
        return lock
    except BaseException:
        os.close(fd)
        raise


def _open(path: Path) -> int:
    """For reading and writing where the file's mode allows that: an older one may be another user's."""
    for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDONLY):
        try:
            fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EEXIST, errno.EACCES):
                continue
            raise _no_lock(path, error) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            break
        with contextlib.suppress(OSError):
            os.fchmod(fd, 0o666)  # the next user may be another one; umask has taken that away
        return fd
    raise _no_lock(path, None)


def _no_lock(path: Path, error: OSError | None) -> ToolchainError:
    why = f" ({error.strerror})" if error else ""
    return ToolchainError(
        f"cannot use the device's lock file{why}", where=str(path), hint="Set EDGEFUSE_LOCK there to another file."
    )


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_for(fd: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _try(fd):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _read(fd: int) -> dict[str, Any]:
    """What the holder wrote; it may just be writing."""
    for _ in range(20):
        with contextlib.suppress(ValueError):
            found = json.loads(os.pread(fd, 4096, 0))
            if isinstance(found, dict):
                return found
        time.sleep(0.01)
    return {}


def _overdue(holder: dict[str, Any]) -> bool:
    left = _left_s(holder)
    return left is not None and left < -MARGIN_S


def _left_s(holder: dict[str, Any]) -> float | None:
    expires = holder.get("expires")
    if holder.get("boot") != _boot() or not isinstance(expires, int | float):
        return None
    return float(expires) - _now()


def _kill(holder: dict[str, Any]) -> bool:
    """End a holder that hangs, if the process of that number is still the one that wrote it."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 1 or pid == os.getpid() or _started(pid) != holder.get("started"):
        return False
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _by(holder: dict[str, Any]) -> str:
    if "owner" not in holder:
        return " by somebody who has not said who"
    return f" by {str(holder['owner'])[:80]} since {str(holder.get('since'))[:19]} (the device's clock)"


def _advice(holder: dict[str, Any]) -> str:
    advice = "Try again later, or wait for it: add wait=600 (seconds) to the address."
    left = _left_s(holder)
    if left is None or left > 0:
        return advice
    return f"{advice} Process {holder.get('pid')} there has not been heard of for long: if it hangs, end it."


def _now() -> float:
    """Seconds since the boot, sleep included: no clock that somebody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When the process was started, in the kernel's ticks (proc_pid_stat(5), field 22)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
