"""``--power-mode``: measure in another power mode than the device's own, and set that back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgefuse.device_state.power_mode import setting

if TYPE_CHECKING:
    from edgefuse.remote import RemoteDevice

F = TypeVar("F", bound=Callable[..., Any])


def power_mode_option(command: F) -> F:
    """What is never set without it."""
    return click.option(
        "--power-mode",
        metavar="MODE",
        help="Measure in this power mode, and set the former one back: maxn, a Jetson's mode, or a CPU governor.",
    )(command)


@contextmanager
def in_power_mode(power_mode: str | None, device: RemoteDevice | None = None) -> Iterator[None]:
    """The block measures in *power_mode*, here or on *device*; None changes nothing."""
    if power_mode is None:
        yield
    elif device is None:
        with setting(power_mode):
            yield
    else:
        device.ask("power_mode", {"power_mode": power_mode}, what="Setting the power mode")
        yield
        device.ask("power_mode", {"power_mode": None}, what="Setting the power mode back")
