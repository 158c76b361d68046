"""``edgefuse replay`` on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.bundle import open_bundle
from edgefuse.replay import Options, replay_bundle
from edgefuse.replay.events import parse_tick
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.metrics import metrics_folder
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The result. ``bundle``, ``recording`` (a folder that was sent) and ``name`` (in it, "" for all of it); optional
    ``tick`` (as on the command line), ``deadline_ms``, ``policy``, ``real_time``, ``staleness_ms``, ``metric``."""
    tick = arguments.get("tick")
    options = Options(
        tick=parse_tick(tick) if tick is not None else None,
        deadline_ms=arguments.get("deadline_ms"),
        policy=arguments.get("policy", {}),
        real_time=bool(arguments.get("real_time")),
        staleness_ms=tuple(arguments.get("staleness_ms", ())),
        metrics_folder=metrics_folder(desk, arguments.get("metric")),
    )
    recording = desk.bundle(arguments["recording"]) / arguments.get("name", "")
    with open_bundle(desk.bundle(arguments["bundle"])) as bundle, desk.steps.step("Replaying"):
        return Answer(replay_bundle(bundle, recording, options))
