"""``edgefuse run`` on the device: one feed through a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.runtime import load
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The outputs for the feed *arrays*. ``bundle``."""
    with load(desk.bundle(arguments["bundle"])) as model:
        return Answer(None, model(dict(arrays)))
