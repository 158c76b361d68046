"""Another power mode on the device, until it is set back or the connection ends, however it ends."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from edgefuse.device_state.power_mode import setting
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer

HELD = "power mode"


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """What was changed, one row a knob. ``power_mode``: as for :func:`~edgefuse.device_state.power_mode.setting`; null
    sets the former one back. An executor that is killed is outlived by the guardian, which sets it back too."""
    if HELD in desk.held:
        desk.held.pop(HELD).close()
    if (asked := arguments["power_mode"]) is None:
        return Answer([])
    with ExitStack() as stack:
        changes = stack.enter_context(setting(asked))
        desk.held[HELD] = stack.pop_all()
    return Answer([{"knob": change.knob, "was": change.was, "now": change.now} for change in changes])
