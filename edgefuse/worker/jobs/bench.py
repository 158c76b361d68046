"""``edgefuse bench`` on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.bench import Options, bench_bundles
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The report. ``candidate``, ``baseline`` (or None), ``options`` (fields of :class:`edgefuse.bench.Options`)."""
    baseline = arguments["baseline"]
    report = bench_bundles(
        desk.bundle(arguments["candidate"]),
        desk.bundle(baseline) if baseline is not None else None,
        Options(**arguments["options"]),
        desk.steps,
    )
    return Answer(report)
