"""What the device is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from edgefuse.blob_cache import processor
from edgefuse.jetpack import this_jetson
from edgefuse.machine import cpu_name, environment
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    return Answer({"environment": environment(), "device_class": device_class()})


def device_class() -> str:
    """Machines that may be expected to compute the same bits: by architecture, processor (or board) and instruction
    sets. The same wheel gave results 3e-3 apart on two Arm CPUs that differ in their extensions."""
    jetson = this_jetson()
    name = jetson.model if jetson else cpu_name()
    digest = hashlib.sha256(json.dumps(processor()).encode()).hexdigest()[:8]
    words = "".join(char if char.isalnum() else " " for char in name).split()
    return "-".join([processor()[0], *words[:6], digest]).lower()
