"""What may happen to a sensor's data: a table of corruptions, one file for a family. Numpy only.

A corruption is a function ``(array, amount, rng, about) -> array`` on floating point values, which are its own to write
to, plus one line in its file's table: to which modalities it applies, and its amount at each severity, the mildest
first. Amounts are physical where a unit is known (decibels, time steps) and otherwise relative to the input's own
values over the clean golden samples, since a model's inputs are normalised in any manner. :func:`corrupt` does what is
common to all: dtype and shape stay, integers stay integers, the input is not written to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgefuse.spec import Array

SEVERITIES = (1, 2, 3)
EVERY = ("image", "depth", "points", "imu", "state", "audio", "text", None)
"""None: an input whose modality nobody named."""

FLOATS = tuple(name for name in EVERY if name != "text")


@dataclass(frozen=True)
class About:
    """What a corruption may know of an input.

    ``fill`` stands in for absent data. ``time``, ``channels``: axes, where there are such (:mod:`.axes`); ``plane``:
    the two of a picture; ``form``: of points. Over the clean golden samples: ``low`` and ``high``, least and greatest
    value; ``mean``, ``spread`` (standard deviation) and ``quantiles`` (by level), by channel for IMU, state and sets of
    points, whose channels have units of their own, in a shape that broadcasts against the input.
    """

    modality: str | None = None
    dtype: str = "float32"
    fill: float = 0.0
    time: int | None = None
    channels: int | None = None
    plane: tuple[int, int] | None = None
    form: str = ""
    low: float = 0.0
    high: float = 1.0
    mean: Array = field(default_factory=lambda: np.zeros(()))
    spread: Array = field(default_factory=lambda: np.ones(()))
    quantiles: Mapping[float, Array] = field(default_factory=dict)


Function = Callable[[Array, float, np.random.Generator, About], Array]


@dataclass(frozen=True)
class Corruption:
    """``amounts``: one for each severity, or a single one (severity 3) for what has no degrees. ``unit`` says what an
    amount is, ``source`` who did this before, ``words`` what happened, to stand after "when": "{} is dark"."""

    name: str
    modalities: tuple[str | None, ...]
    amounts: tuple[float, ...]
    unit: str
    function: Function
    source: str
    words: str
    needs: tuple[str, ...] = ()
    """Which of ``time``, ``channels``, ``plane`` the input must have."""
    floats_only: bool = False
    flags: bool = False
    """Whether it also applies to booleans, and to integers of which nobody said what they are."""

    @property
    def severities(self) -> tuple[int, ...]:
        return SEVERITIES[-len(self.amounts) :]

    def amount(self, severity: int) -> float:
        return self.amounts[severity - SEVERITIES[-len(self.amounts)]]

    def applies(self, about: About) -> bool:
        floats = about.dtype.startswith("float")
        if about.modality not in self.modalities or (self.floats_only and not floats):
            return False
        if about.dtype == "bool" or (about.modality is None and not floats):  # flags, or ids of who knows what
            return self.flags
        return all(getattr(about, name) is not None for name in self.needs)


def corrupt(corruption: Corruption, severity: int, array: Array, rng: np.random.Generator, about: About) -> Array:
    """A new array of *array*'s shape and dtype; a value that the dtype cannot hold becomes its nearest one."""
    wide = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    found = corruption.function(array.astype(wide), corruption.amount(severity), rng, about)
    if array.dtype.kind == "b":
        return np.asarray(found != 0)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        # The greatest int64 is no float64; its neighbour below is.
        greatest = float(limits.max) if array.dtype.itemsize < 8 else np.nextafter(float(limits.max), 0.0)
        return np.clip(np.rint(found), limits.min, greatest).astype(array.dtype)
    largest = np.finfo(array.dtype).max
    return np.clip(found, -largest, largest).astype(array.dtype)
