"""How long one call of a bundle takes here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.bundle import open_bundle
from edgefuse.check import latency_json
from edgefuse.recheck import measure_latency
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The report's ``latency`` of ``bundle``, judged against ``limit_ms`` unless that is None, and every call as
    ``compiled`` and ``again`` (the same once more, in turns), (n,) float64 milliseconds."""
    with open_bundle(desk.bundle(arguments["bundle"]), hashes=False) as bundle:
        found = measure_latency(bundle)
    report = latency_json(found, arguments["limit_ms"], "not asked for")
    return Answer(report, {name: item.samples_ms for name, item in found.items()})
