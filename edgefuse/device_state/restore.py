"""The guardian of a power mode: a process that sets it back when the process that measures has ended, however it died.

    python -m edgefuse.device_state.restore JOURNAL FD PARENT

:mod:`edgefuse.device_state.power_mode` starts it, in a session of its own, before anything is set. Its stdin is a pipe
from the process that measures: it ends with that process. FD is the journal's lock, inherited and held to the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from pathlib import Path

from edgefuse.device_state.journal import read_journal, set_back

POLL_S = 1.0


def _wait_for_end(parent: int) -> None:
    """Until nobody holds the other end of stdin, or the *parent* is gone (its child may have inherited that end)."""
    while os.getppid() == parent:
        if select.select([0], [], [], POLL_S)[0] and not os.read(0, 4096):
            return


def main() -> None:
    """It prints "ready" as soon as it watches, and at the end what could not be set back, as JSON."""
    path, descriptor, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    journal = read_journal(path)
    with contextlib.suppress(OSError):
        os.write(1, b"ready\n")
    _wait_for_end(parent)
    _, failed = set_back(journal)
    if not failed:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(failed).encode())
    os.close(descriptor)  # the lock goes last


if __name__ == "__main__":
    main()
