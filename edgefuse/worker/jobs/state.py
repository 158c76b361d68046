"""The state of the device: frequencies, temperatures, power mode, load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.device_state import read_state
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """:func:`edgefuse.device_state.read_state`. Its ``own_s`` is this executor's, which also measures."""
    return Answer(read_state())
