"""What may happen to a sensor's time: its data are right, and old. Numpy only.

The golden samples are the only data there are, so that old data of a stream come from an older sample of the same
recording. Samples that were taken from a recording seldom hold its every moment: how old the data really are is
reported beside what was asked for. A sample without any older one is left out, of both models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Rng = np.random.Generator

NOBODY = -1
"""No sample can stand in: the sample is left out."""

NO_RATE_MS = 100.0
"""The period of a stream whose rate nobody declared."""


@dataclass(frozen=True)
class Timing:
    """``function(stamps_ns, amount, period_ns, rng)`` gives, for the samples of one recording in the order of their
    stamps, the place of the one whose data stand in for it: its own place where its own are there."""

    name: str
    amounts: tuple[float, ...]
    unit: str
    function: Callable[[Indices, float, float, Rng], Indices]
    source: str
    words: str


def delayed(stamps_ns: Indices, amount: float, period_ns: float, rng: Rng) -> Indices:
    """The older sample that is nearest to *amount* periods before."""
    wanted = stamps_ns - amount * period_ns
    newest = np.searchsorted(stamps_ns, stamps_ns, "left") - 1  # of those that are older
    after = np.searchsorted(stamps_ns, wanted, "left")
    before = np.clip(after - 1, 0, None)
    after = np.minimum(after, np.maximum(newest, 0))
    before = np.minimum(before, after)
    nearer = np.abs(stamps_ns[before] - wanted) <= np.abs(stamps_ns[after] - wanted)
    return np.where(newest < 0, NOBODY, np.where(nearer, before, after))


def frozen(stamps_ns: Indices, amount: float, period_ns: float, rng: Rng) -> Indices:
    """The first sample of each stretch of *amount* seconds; that one itself is left out, since its data are right."""
    stretch = np.floor((stamps_ns - stamps_ns[0]) / (amount * 1e9))
    first = np.searchsorted(stretch, stretch, "left")
    return np.where(stamps_ns[first] == stamps_ns, NOBODY, first)


def dropped(stamps_ns: Indices, amount: float, period_ns: float, rng: Rng) -> Indices:
    """Each sample's data are lost with probability *amount*; the last that came are held."""
    came = rng.random(len(stamps_ns)) >= amount
    last = np.maximum.accumulate(np.where(came, np.arange(len(stamps_ns)), NOBODY))
    return np.asarray(last, np.int64)


TIMINGS = (
    Timing(
        "delayed", (1.0, 3.0, 10.0), "periods of the stream", delayed,
        "MultiCorrupt, Beemelmanns et al. 2402.11677 (temporal misalignment)", "{} is late",
    ),
    Timing("frozen", (1.0, 3.0, 10.0), "s", frozen, "ours: a driver that hangs", "{} is frozen"),
    Timing(
        "frames dropped", (0.1, 0.3, 0.6), "share of the samples", dropped, "ours: a bus that is full",
        "{} drops frames",
    ),
)  # fmt: skip


def stand_ins(
    timing: Timing, amount: float, stamps_ns: Indices, groups: Indices | None, period_ns: float, rng: Rng
) -> Indices:
    """For each sample (n,) the index of the one whose data stand in for it; its own, or ``NOBODY``."""
    found = np.full(len(stamps_ns), NOBODY, np.int64)
    for group in np.unique(groups) if groups is not None else [None]:
        members = np.flatnonzero(groups == group) if groups is not None else np.arange(len(stamps_ns))
        members = members[np.argsort(stamps_ns[members], kind="stable")]
        places = timing.function(stamps_ns[members], amount, period_ns, rng)
        found[members] = np.where(places == NOBODY, NOBODY, members[places])
    return found
