"""The process here that a transport starts, and its end. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

PATIENCE_S = 5.0
"""For a worker that ends: it kills what it has started and removes its folder."""


def start(command: list[str], environment: Mapping[str, str], log: BinaryIO) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C is ours to handle."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **environment},
        start_new_session=True,
        cwd=Path("/"),
    )


def close_pipes(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()


def end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Wait for it, ask it to end, make it: it leads a group of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            return
        patience_s = PATIENCE_S
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    process.wait()


def ends_soon(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2.0)
    return process.poll() is not None
