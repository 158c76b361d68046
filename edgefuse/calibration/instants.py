"""The instants at which samples are taken, and what of each stream is a sample's then. Numpy only.

A sample has what the runtime would have at its instant if nothing took time to arrive: of each stream the newest data
that were acquired by then (a stamp may be ``max_early_ms`` later, as there), unless they are too old; and the newest
label that is not later. Nothing comes from the future, and nothing is made up: without one of them there is no sample.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.labels import Labels
from edgefuse.calibration.tracks import Times, Track
from edgefuse.errors import UsageError, nearest
from edgefuse.recordings.mapping import LABEL
from edgefuse.stream.inbox import MS

MOST_INSTANTS = 10_000_000
"""At a fixed rate: a day at 100 Hz. More mean that one of the recording's times is wrong."""


@dataclass(frozen=True)
class Anchor:
    """When samples are taken: at each delivery of ``stream`` (or label, where it is "label"), or ``rate_hz`` times a
    second."""

    stream: str | None = None
    rate_hz: float | None = None

    def __str__(self) -> str:
        if self.rate_hz is not None:
            return f"{self.rate_hz:g} Hz"
        return "each label" if self.stream == LABEL else f"each delivery of {self.stream}"


def parse_anchor(text: str) -> Anchor:
    """``"20hz"``, "label", or the name of a stream."""
    match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,9})?)\s*hz\s*", text, re.IGNORECASE)
    if match is None:
        return Anchor(stream=text)
    if float(match[1]) == 0:
        raise UsageError("is 0 Hz; expected more", where=f"--anchor {text}")
    return Anchor(rate_hz=float(match[1]))


def settle_anchor(
    asked: Anchor | None, tracks: Mapping[str, Track], labels: Labels | None, label_ms: float | None
) -> Anchor:
    """*asked*, or the deliveries of the stream of kind "latest" with the highest declared rate: a robot that steps with
    its fastest whole sensor sees just these.

    Labels that hold for no longer than *label_ms* (single frames that a person has labelled) are the anchor themselves
    where they are fewer. One that holds until the next is not: at its own stamp the sensors still show what was before.
    """
    if asked is not None:
        known = [*tracks, *([LABEL] if labels is not None else [])]
        if asked.stream is not None and asked.stream not in known:
            hint = f"{nearest(asked.stream, known)} A rate is written as 20hz."
            raise UsageError(f"the recording has no stream {asked.stream!r}", where="--anchor", hint=hint)
        return asked
    kinds = ("latched", "window", "latest")
    best = max(tracks.values(), key=lambda t: (kinds.index(t.policy.kind), _declared_hz(t), len(t.times_ns)))
    if labels is not None and label_ms is not None and len(labels.stamps_ns) < len(best.times_ns):
        return Anchor(stream=LABEL)
    return Anchor(stream=best.name)


def _declared_hz(track: Track) -> float:
    return max((item.rate_hz for item in track.items if item.rate_hz is not None), default=0.0)


def instants(anchor: Anchor, tracks: Mapping[str, Track], labels: Labels | None) -> Times:
    """(n,) in order, each once."""
    if anchor.rate_hz is None:
        if anchor.stream == LABEL and labels is not None:
            return np.unique(labels.stamps_ns)
        return tracks[str(anchor.stream)].times_ns
    given = [track.times_ns for track in tracks.values() if len(track.times_ns)]
    start, end = min(int(times[0]) for times in given), max(int(times[-1]) for times in given)
    count = int((end - start) * anchor.rate_hz / 1e9) + 1
    if count > MOST_INSTANTS:
        raise UsageError(
            f"would take {count:.3g} samples: the stamps go from {start} to {end} ns",
            where=f"--anchor {anchor.rate_hz:g}hz",
            hint="Is one of the stamps wrong? Otherwise choose a lower rate.",
        )
    return start + np.round(np.arange(count) * (1e9 / anchor.rate_hz)).astype(np.int64)


@dataclass(frozen=True)
class Aligned:
    """The instants of one recording that have everything. ``used``: stream to (n,) places in its :class:`Track`;
    ``label`` (n,) which label; ``since_ns`` (n,): the stamp of the oldest data that age; ``dropped``:
    reason to how many other instants there were."""

    times_ns: Times
    used: Mapping[str, Times]
    label: Times
    since_ns: Times
    dropped: Counter[str]

    def __len__(self) -> int:
        return len(self.times_ns)


def align(
    times_ns: Times, tracks: Mapping[str, Track], labels: Labels | None, label_ms: float | None = None
) -> Aligned:
    """What each of *times_ns* has; an instant that lacks several things counts for the first of them."""
    dropped, kept = Counter[str](), np.ones(len(times_ns), bool)

    def drop(wrong: NDArray[np.bool_], reason: str) -> None:
        nonlocal kept
        if count := int((kept & wrong).sum()):
            dropped[reason] += count
        kept = kept & ~wrong

    used, since = dict[str, Times](), times_ns.copy()
    for track in tracks.values():
        place = _newest(track.times_ns, times_ns + track.early_ns)
        for wrong, reason in _missing(track, times_ns, place):
            drop(wrong, reason)
        used[track.name] = place
        if track.ages and len(track.times_ns):
            since = np.minimum(since, track.since_ns[place])
    label = np.zeros(len(times_ns), np.int64)
    if labels is not None:
        label = _newest(labels.stamps_ns, times_ns)
        drop(label < 0, "no label yet")
        drop(~labels.known[label], "label unknown (NaN)")
        if label_ms is not None:
            drop(times_ns - labels.stamps_ns[label] > round(label_ms * MS), f"no label within {label_ms:g} ms")
    return Aligned(times_ns[kept], {n: place[kept] for n, place in used.items()}, label[kept], since[kept], dropped)


def _newest(stamps: Times, until: Times) -> Times:
    """(n,) index of the newest of *stamps* that is not later; -1 where there is none."""
    return np.searchsorted(stamps, until, side="right") - 1


def _missing(track: Track, times_ns: Times, place: Times) -> Sequence[tuple[NDArray[np.bool_], str]]:
    """Which instants have no data, and why."""
    none, limit = place < 0, track.limit_ns
    if not len(track.times_ns) or limit is None:
        found = [(none, f"no {track.name} yet")]
    else:
        found = [(none | (times_ns - track.times_ns[place] > limit), f"no {track.name} within {limit / MS:g} ms")]
    if track.policy.kind == "window" and len(track.times_ns):
        found.append((~track.full[place], f"window of {track.name} not full"))
    return found
