"""What a bundle answers here: to golden samples, or to one feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.golden_answers import Answering
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The outputs for the feed *arrays*, or without one for golden samples ``start`` to ``start + count``, each
    ``(count, *shape)``; with ``twice`` after one another and from the first again, as "first.NAME" and "second.NAME".
    ``bundle`` stays open."""
    answering = open_answering(desk, arguments["bundle"])
    if arrays:
        return Answer(None, answering.to_feed(arrays))
    start, count = int(arguments["start"]), int(arguments["count"])
    found = answering.to_golden(start, count)
    if arguments.get("twice"):
        again = answering.to_golden(start, count)
        found = {f"first.{name}": item for name, item in found.items()} | {
            f"second.{name}": item for name, item in again.items()
        }
    return Answer(None, found)


def open_answering(desk: Desk, bundle: str) -> Answering:
    """The bundle's runner, opened once a connection."""
    kept: dict[str, Answering] = desk.held.setdefault("answers", {})
    if bundle not in kept:
        kept[bundle] = Answering(desk.bundle(bundle))
    return kept[bundle]
