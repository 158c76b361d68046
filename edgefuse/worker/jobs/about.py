"""What the device is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.machine import device_class, environment
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    return Answer({"environment": environment(), "device_class": device_class()})
