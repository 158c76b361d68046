"""The executor as its worker sees it: started, written to, killed with everything that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgefuse.child import crash_of, oom_kills
from edgefuse.errors import CrashError, TimeLimitError
from edgefuse.worker.wire import Channel

LOG = "executor.log"


@dataclass
class Executor:
    process: subprocess.Popen[bytes]
    channel: Channel
    log: Path
    kills: int

    @classmethod
    def start(cls, work: Path) -> Executor:
        """In a process group of its own, so that a signal to it reaches no one else."""
        log, kills = work / LOG, oom_kills()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgefuse.worker.executor", str(os.getpid()), str(work)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                start_new_session=True,
            )
        assert process.stdin is not None and process.stdout is not None
        return cls(process, Channel(process.stdout.fileno(), process.stdin.fileno()), log, kills)

    def end(self, what: str, limit_s: float | None) -> CrashError:
        """The error of *what* it was doing: it did not answer within *limit_s*, or (None) it has ended."""
        if limit_s is not None:
            self.kill()
            hint = "It was killed there, with all that it had started. Allow more time, or look for what hangs."
            return TimeLimitError(f"{what} did not finish within {limit_s:g} s", hint=hint)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)
        self.kill()
        return crash_of(self.process.returncode, what, self.log, self.kills)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
