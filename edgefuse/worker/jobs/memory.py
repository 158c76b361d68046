"""How the memory of a process develops that runs a bundle over and over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.memory_growth import watch_memory
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.jobs.answers import open_answering
from edgefuse.worker.wire import Answer

FEEDS = 16


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """``calls`` of ``bundle``, at most ``limit_s`` seconds: ``calls`` so far and ``memory`` in bytes, (k,) int64, about
    ``points`` of them; none where the system does not say."""
    answering = open_answering(desk, arguments["bundle"])
    feeds = [sample.feed for sample in answering.golden.take(0, FEEDS)]
    found = watch_memory(answering.runner, feeds, arguments["calls"], arguments["points"], arguments["limit_s"])
    return Answer(None, {} if found is None else {"calls": found[0], "memory": found[1]})
