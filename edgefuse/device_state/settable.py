"""What of the machine's power can be set and set back: a Jetson's power mode, and the governor of each policy.

A *knob* has a name: ``nvpmodel``, or a cpufreq policy such as ``policy0``. Its value is the mode's number as text, or
the governor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgefuse.device_state.cpu import CPUFREQ
from edgefuse.device_state.jetson.nvpmodel import read_mode
from edgefuse.device_state.reading import Unreadable, read_text, run_tool
from edgefuse.errors import ToolchainError

NVPMODEL = "nvpmodel"
SET_TIMEOUT_S = 60.0
"""Some modes switch processors off and on, which takes seconds."""


@dataclass(frozen=True)
class Change:
    """One knob: what it was before we set it, and what we set it to."""

    knob: str
    was: str
    now: str

    def __post_init__(self) -> None:
        """A journal that somebody else has written names no other file and no other program than these."""
        value = r"\d+" if self.knob == NVPMODEL else r"[a-z_]+"
        if not re.fullmatch(rf"{NVPMODEL}|policy\d+", self.knob) or not (
            re.fullmatch(value, self.was) and re.fullmatch(value, self.now)
        ):
            raise ValueError(f"no change of a power mode: {self}")


def get(knob: str, root: Path) -> str:
    """The knob's value; raises :class:`ToolchainError` where it cannot be read."""
    try:
        return str(read_mode()["id"]) if knob == NVPMODEL else read_text(_governor_file(knob, root))
    except Unreadable as reason:
        raise ToolchainError(f"the power mode cannot be read: {reason}") from None


def gone(knob: str, root: Path) -> bool:
    """A core that has been switched off since has no governor to set back."""
    return knob != NVPMODEL and not _governor_file(knob, root).exists()


def put(knob: str, value: str, root: Path) -> None:
    """Set the knob, and look whether it has taken the value; never reboots."""
    if knob == NVPMODEL:
        _put_mode(value)
    else:
        _put_governor(_governor_file(knob, root), value)


def _put_mode(number: str) -> None:
    """``nvpmodel`` asks on stdin where a mode needs a reboot; whatever is not "YES" declines it."""
    by_hand = f"Set it yourself: sudo nvpmodel -m {number}"
    try:
        said = run_tool("nvpmodel", "-m", number, stdin="no\n", timeout_s=SET_TIMEOUT_S)
    except Unreadable as reason:
        said = "" if "printed nothing" in str(reason) else str(reason)
    if get(NVPMODEL, Path("/")) == number:
        return
    if "reboot" in said.lower():
        raise ToolchainError(
            f"power mode {number} needs a reboot, which EdgeFuse never does",
            where=NVPMODEL,
            hint=f"{by_hand}, let it reboot, then run this again without a power mode.",
        )
    last = said.strip().splitlines()[-1:] or ["nothing"]
    raise ToolchainError(
        f"power mode {number} was not taken; nvpmodel said: {last[0].strip()[:160]}",
        where=NVPMODEL,
        hint=f"It needs root. {by_hand}, then run this again without a power mode.",
    )


def _governor_file(policy: str, root: Path) -> Path:
    return root / CPUFREQ / policy / "scaling_governor"


def _put_governor(path: Path, governor: str) -> None:
    try:
        path.write_text(governor, encoding="ascii")
    except OSError as error:
        raise ToolchainError(
            f"the governor {governor} cannot be set: {error.strerror}",
            where=str(path),
            hint=f"It needs root. Set it yourself: sudo cpupower frequency-set -g {governor}, then run this again "
            "without a power mode.",
        ) from None
    if (found := path.read_text(encoding="ascii").strip()) != governor:
        raise ToolchainError(f"the governor {governor} was not taken; it is {found}", where=str(path))
