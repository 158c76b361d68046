"""Every process that an executor has started, itself included: found by a mark in its environment. Standard library.

A process group is not enough: EdgeFuse's own child processes lead sessions of their own, and the kernel tells a dead
parent's children apart from nobody else's. What has to outlive its executor is started without the mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "EDGEFUSE_EXECUTOR"


def kill_offspring(mark: str) -> None:
    """End all that carry *mark*; again, as long as there are any: they may just be starting more."""
    for _ in range(50):
        found = list(_offspring(mark))
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.02)


def _offspring(mark: str) -> Iterator[int]:
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):  # another user's, or ended meanwhile; a zombie has no environment
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
