"""Which time calibrates and which is held out. Samples that are close in time are alike, so whole stretches of time go
to one split, and between stretches of different splits lies a gap as long as a sample's data reach back. Within a
stretch, samples of about a second are one group: they stand and fall together. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.instants import Aligned
from edgefuse.calibration.tracks import Times
from edgefuse.errors import CalibrationError
from edgefuse.noninferiority import MIN_UNITS

STRETCHES = 40
"""As many as the gaps allow: twenty places and times in either split."""

WIDE, NARROW = 4.0, 1.5
"""A stretch lasts for at least four gaps, so that they take no more than a quarter of the time, and for four groups;
where there would be fewer stretches than ``2 * MIN_UNITS``, for one and a half gaps."""

WHOLE = 4
"""From so many recordings on whole ones are held out; of fewer, the ranges would lack what only one of them shows."""

EPISODES = 20
"""From so many held-out recordings on each is one group."""

GROUP_NS = 900_000_000
"""What a group lasts at least: about the second that a replay takes as one (``replay/accuracy.py``); longer where data
reach back farther, so that only neighbours have any in common."""


@dataclass(frozen=True)
class Assigned:
    """For each instant of one recording: its stretch (n,), whether that is held out (n,), and its group (n,); ``kept``
    (n,) is False for those in a gap."""

    stretch: Times
    held_out: NDArray[np.bool_]
    group: Times
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """One recording's share: ``changes_ns`` are its labels' changes, ``reach_ns`` how far back a sample's data reach,
    and ``early_ns`` how far ahead."""

    aligned: Aligned
    changes_ns: Times
    reach_ns: int
    early_ns: int

    @property
    def gap_ns(self) -> int:
        """What separates the splits."""
        return self.reach_ns + self.early_ns

    @property
    def span_ns(self) -> int:
        times = self.aligned.times_ns
        return int(times[-1] - times[0]) if len(times) else 0


def assign(cuts: Sequence[Cut], seed: int) -> list[Assigned]:
    """Stretches and groups of every recording, numbered throughout. Raises :class:`CalibrationError` where the time is
    too short for two stretches."""
    found = _whole_recordings(cuts, seed) if len(cuts) >= WHOLE else _alternating(cuts, seed)
    if not any((item.held_out & item.kept).any() for item in found):
        raise CalibrationError(
            f"{sum(cut.span_ns for cut in cuts) / 1e9:.3g} s with complete data are too short: each of the two splits "
            f"needs a stretch, and between them {max(cut.gap_ns for cut in cuts) / 1e9:.3g} s, as far as a sample's "
            "data reach back",
            hint="Give a longer recording, or a smaller tolerance_ms in [recording.NAME].",
        )
    return found


def _alternating(cuts: Sequence[Cut], seed: int) -> list[Assigned]:
    total = sum(cut.span_ns for cut in cuts) or 1
    found, stretches, groups = list[Assigned](), 0, 0
    for cut in cuts:
        times, since = cut.aligned.times_ns, cut.aligned.since_ns
        edges = _edges(cut, int(times[0]), int(times[-1]) + 1, _count(cut, cut.span_ns / total))
        stretch = _place(edges, times)
        kept = (times >= edges[stretch] + cut.gap_ns) & (since >= edges[stretch] + cut.early_ns)
        kept |= stretch == 0
        group = _groups(cut, edges, times)
        found.append(Assigned(stretches + stretch, (stretch + seed) % 2 == 1, groups + group, kept))
        stretches, groups = stretches + len(edges), groups + int(group.max()) + 1
    return found


def _whole_recordings(cuts: Sequence[Cut], seed: int) -> list[Assigned]:
    """Every second one of a seeded order is held out; there are no gaps within a recording."""
    held_out = set(np.random.default_rng(seed).permutation(len(cuts))[: len(cuts) // 2].tolist())
    found, groups = list[Assigned](), 0
    for number, cut in enumerate(cuts):
        times = cut.aligned.times_ns
        everything = np.full(len(times), number)
        group = np.zeros(len(times), np.int64)
        if len(held_out) < EPISODES:
            group = _groups(cut, np.array([int(times[0]), int(times[-1]) + 1]), times)
        found.append(Assigned(everything, everything >= 0, groups + group, everything >= 0))
        groups += int(group.max()) + 1
    return [
        Assigned(item.stretch, np.full(len(item.stretch), number in held_out), item.group, item.kept)
        for number, item in enumerate(found)
    ]


def _count(cut: Cut, share: float) -> int:
    """How many stretches: an even number, so that both splits get as much."""
    gap_ns = max(cut.gap_ns, 1)
    most, least = STRETCHES * share, 2 * MIN_UNITS * share
    count = min(most, cut.span_ns / (WIDE * max(gap_ns, GROUP_NS)))
    if count < least:
        count = min(least, cut.span_ns / (NARROW * gap_ns))
    return max(int(count + 0.1) // 2 * 2, 2)


def _edges(cut: Cut, start_ns: int, end_ns: int, count: int) -> Times:
    """(count + 1,) where the pieces of that time begin, evenly, each inner one moved to the nearest change of the label
    if that is within half a piece: what is one scene stays in one. A piece that vanishes by that is no harm."""
    edges = np.linspace(start_ns, end_ns, count + 1).astype(np.int64)
    inside = cut.changes_ns[(cut.changes_ns > start_ns) & (cut.changes_ns < end_ns)]
    if len(inside):
        for index in range(1, count):
            nearest = inside[np.abs(inside - edges[index]).argmin()]
            if abs(nearest - edges[index]) <= (end_ns - start_ns) / count / 2:
                edges[index] = nearest
    return edges


def _groups(cut: Cut, edges: Times, times: Times) -> Times:
    """(n,) which piece of which stretch each of *times* is in."""
    unit = max(GROUP_NS, cut.gap_ns)
    inner = [edges[:1]]
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist()):
        inner.append(_edges(cut, start, end, max((end - start) // unit, 1))[1:])
    return _place(np.concatenate(inner), times)


def _place(edges: Times, times: Times) -> Times:
    """(n,) which piece each of *times* is in."""
    return np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(edges) - 2)
