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
from edgefuse.worker.offspring import MARK, kill_offspring
from edgefuse.worker.wire import Channel

LOG = "executor.log"
ENDING_S = 5.0
"""From the end of its answers to its own: a crash that writes a core file takes a while."""


@dataclass
class Executor:
    process: subprocess.Popen[bytes]
    channel: Channel
    work: Path
    kills: int

    @classmethod
    def start(cls, work: Path) -> Executor:
        """In a session of its own, so that a signal to it reaches no one else; marked, so that its offspring is found;
        not in the user's folder, whose ``json.py`` would be imported; its temporary files in *work*, so that they go
        with the connection when it is killed."""
        root, kills = str(Path(__file__).resolve().parents[2]), oom_kills()
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        with (work / LOG).open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgefuse.worker.executor", str(os.getpid()), str(work)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={"TMPDIR": str(work), **os.environ, "PYTHONPATH": path, MARK: work.name},
                cwd="/",
                start_new_session=True,
            )
        assert process.stdin is not None and process.stdout is not None
        return cls(process, Channel(process.stdout.fileno(), process.stdin.fileno()), work, kills)

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def end(self, what: str, limit_s: float | None) -> CrashError:
        """The error of *what* it was doing: it did not answer within *limit_s*, or (None) its answers have ended."""
        if limit_s is not None:
            self.kill()
            hint = "It was killed there, with all that it had started. Allow more time, or look for what hangs."
            return TimeLimitError(f"{what} did not finish within {limit_s:g} s", hint=hint)
        try:
            code = self.process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return CrashError(f"{what} closed or garbled its answer, and was killed", hint="Please report it.")
        self.kill()
        return crash_of(code, what, self.work / LOG, self.kills)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        kill_offspring(self.work.name)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
