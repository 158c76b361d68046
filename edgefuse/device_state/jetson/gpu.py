"""The clock of a Jetson's GPU, by devfreq, which needs no root (https://docs.kernel.org/driver-api/devfreq.html)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgefuse.device_state.reading import Unreadable, number_or_none, read_or_none

DEVICES = re.compile(r"gpu|gpc|gv11b|ga10b|gp10b", re.IGNORECASE)
"""``57000000.gpu`` on a Nano, ``17000000.gv11b`` (Xavier), ``17000000.ga10b`` and ``.gpu`` (Orin), ``gpu-gpc-0``
(Thor)."""


def read_gpu(root: Path = Path("/")) -> dict[str, Any]:
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if DEVICES.search(folder.name):
            every = [int(word) for word in (read_or_none(folder / "available_frequencies") or "").split()]
            return {
                "name": folder.name,
                "governor": read_or_none(folder / "governor"),
                "current_mhz": _mhz(number_or_none(folder / "cur_freq")),
                "limit_min_mhz": _mhz(number_or_none(folder / "min_freq")),
                "limit_max_mhz": _mhz(number_or_none(folder / "max_freq")),
                "max_mhz": _mhz(max(every, default=None)),
            }
    raise Unreadable("no GPU under /sys/class/devfreq")


def _mhz(hertz: int | None) -> float | None:
    return None if hertz is None else hertz / 1e6
