"""``edgefuse doctor`` on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgefuse.doctor import examine
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    return Answer([asdict(item) for item in examine()])
