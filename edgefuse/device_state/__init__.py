"""What state the machine is in while it is measured: frequencies, temperatures, power mode, load, memory, supply.

Reading changes nothing and asks for no password; what cannot be read is null with a reason beside it. Standard library
only. One file a source, each tested on recorded text (docs/device-state.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgefuse.device_state.cpu import read_cpu
from edgefuse.device_state.energy import PowerSampler, energy, measure_energy
from edgefuse.device_state.jetson import read_jetson
from edgefuse.device_state.journal import restore_abandoned
from edgefuse.device_state.memory import read_memory
from edgefuse.device_state.nvidia import read_nvidia
from edgefuse.device_state.rapl import read_rapl
from edgefuse.device_state.remarks import remarks
from edgefuse.device_state.supply import read_supply
from edgefuse.device_state.system import read_system, read_time
from edgefuse.device_state.thermal import read_thermal
from edgefuse.errors import ToolchainError

__all__ = ["PowerSampler", "energy", "measure_energy", "read_state", "remarks", "restore_abandoned", "watched"]


def read_state(root: Path = Path("/")) -> dict[str, Any]:
    """This machine now, as JSON values. The clocks come first, since reading lets them fall."""
    return {
        "time": read_time(root),
        **read_rapl(root),
        "cpu": read_cpu(root),
        "thermal": read_thermal(root),
        **read_system(root),
        **read_memory(root),
        **read_supply(root),
        **read_nvidia(),
        **read_jetson(root),
    }


@contextmanager
def watched(read: Callable[[], dict[str, Any]] = read_state) -> Iterator[dict[str, Any]]:
    """The report's ``device_state``, complete when the block ends: the state before and after it, and the remarks.
    *read* asks another machine where the block measures there."""
    left = _left_by_a_crash() if read is read_state else []
    found: dict[str, Any] = {"before": read()}
    yield found
    found["after"] = read()
    found["remarks"] = [*left, *remarks(found["before"], found["after"])]


def _left_by_a_crash() -> list[str]:
    """A power mode that an earlier run has set and not set back is set back before anything is measured."""
    try:
        done = restore_abandoned()
    except ToolchainError as error:
        return [error.what]
    return [f"An earlier run was killed in a power mode of its own; set back: {'; '.join(done)}"] if done else []
