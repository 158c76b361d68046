"""What a worker does when it is asked: one function a job, ``job(desk, arguments, arrays) -> Answer``.

Each takes JSON and arrays, calls a library function that works without any connection too, and returns JSON and arrays.
They run in the executor (:mod:`edgefuse.worker.executor`) and are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgefuse.errors import VersionMismatchError
from edgefuse.spec import Array
from edgefuse.worker.wire import Answer

if TYPE_CHECKING:
    from edgefuse.worker.desk import Desk

Job = Callable[["Desk", dict[str, Any], Mapping[str, Array]], Answer]

JOBS = {
    "about": "about:run",
    "answers": "answers:run",
    "bench": "bench:run",
    "call": "candidates:call",
    "capabilities": "candidates:capabilities",
    "check": "check:run",
    "compile": "compile:run",
    "compile_artifact": "candidates:compile_artifact",
    "compile_parts": "candidates:compile_parts",
    "doctor": "doctor:run",
    "latency": "latency:run",
    "measure": "candidates:measure",
    "measure_parts": "candidates:measure_parts",
    "memory": "memory:run",
    "open": "candidates:open_candidate",
    "open_parts": "candidates:open_parts",
    "outputs": "candidates:outputs",
    "power_mode": "power_mode:run",
    "parts": "parts:run",
    "replay": "replay:run",
    "run": "feed:run",
    "state": "state:run",
}
"""Name to module and function."""


def load_job(name: str) -> Job:
    """Raises :class:`VersionMismatchError` for a job that this EdgeFuse does not have."""
    if name not in JOBS:
        raise VersionMismatchError(
            f"the EdgeFuse of the device knows no job {name!r}", hint="Install the same version on both machines."
        )
    module, _, function = JOBS[name].partition(":")
    job: Job = getattr(importlib.import_module(f"edgefuse.worker.jobs.{module}"), function)
    return job
