"""What a tool costs: seconds and memory of a process with all its children, watched from outside. Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PERIOD_S = 0.1


@dataclass(frozen=True)
class Cost:
    """``seconds`` from start to end of the process, interpreter and imports included; ``peak_mb``: the largest sum of
    resident memory over the process and its descendants, looked at ten times a second, or ``largest_mb`` where that is
    more: the peak of a single one. Pages that processes share are counted in each."""

    seconds: float
    peak_mb: float
    largest_mb: float

    def after(self, other: Cost) -> Cost:
        """Both, one after the other."""
        return Cost(
            self.seconds + other.seconds,
            max(self.peak_mb, other.peak_mb),
            max(self.largest_mb, other.largest_mb),
        )


class Failed(Exception):
    """The tool did not do what it was asked for; the text says why."""


def watch(
    command: list[str],
    log: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    highest_exit: int = 0,
) -> Cost:
    """Run *command*, with what it prints in *log*. Raises :class:`Failed` when it outlives *timeout_s* or exits with a
    code above *highest_exit*."""
    started, summed, largest = time.perf_counter(), 0.0, 0.0
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, **(environment or {})}, start_new_session=True
        )
        try:
            while child.poll() is None:
                now, peak = tree_mb(child.pid)
                summed, largest = max(summed, now), max(largest, peak)
                if time.perf_counter() - started > timeout_s:
                    raise Failed(f"did not finish within {timeout_s:g} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(PERIOD_S)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if not 0 <= child.returncode <= highest_exit:
        raise Failed(last_words(log, child.returncode))
    return Cost(time.perf_counter() - started, max(summed, largest), largest)


def last_words(log: Path, code: int) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line.split(":")[0]]
    return f"exit {code}: {(errors or lines or ['no word'])[-1][:160]}"


def tree_mb(root: int) -> tuple[float, float]:
    """Resident now, summed over *root* and its descendants; and the largest peak that one of them has had."""
    resident, peak, waiting = 0, 0, [root]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        with contextlib.suppress(OSError):  # it has ended since
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            resident += _kilobytes(status, "VmRSS")
            peak = max(peak, _kilobytes(status, "VmHWM"))
            for children in process.glob("task/*/children"):
                waiting += [int(pid) for pid in children.read_text().split()]
    return resident / 1024, peak / 1024


def _kilobytes(status: Mapping[str, str], key: str) -> int:
    return int(status.get(key, "0").split()[0])
