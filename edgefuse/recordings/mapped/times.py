"""When the messages of each topic were acquired and recorded: one pass over a recording, no decoding. Numpy only."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.recordings.formats import Raw, Topics

Times = NDArray[np.int64]
APART_NS = 3_600_000_000_000
"""Clocks that differ by more than an hour do not differ by drift or delay."""
FARTHEST_NS = 1 << 62
"""Times beyond (a damaged stamp) are set to this, so that the difference of two is a number."""


@dataclass(frozen=True)
class Track:
    """A topic's messages in order of arrival. Where a message has no stamp, or one of 0, which ROS leaves where nobody
    sets it, ``stamps`` holds its arrival; ``unstamped`` of them have none, and ``jumps`` lie more than an hour from
    their arrival, in the middle ``jump_ns`` ahead of it."""

    stamps: Times
    arrivals: Times
    unstamped: int
    jumps: int
    jump_ns: int = 0


def read_tracks(
    topics: Topics, names: Collection[str], seen: Callable[[Raw], None] = lambda raw: None
) -> tuple[dict[str, Track], int]:
    """Of each topic in *names*, and by how many nanoseconds arrivals were set back: where the sensors' clock is another
    than the recorder's altogether (a simulation's, say), as many as make the shortest delay 0. Every message is shown
    to *seen*."""
    found = {name: (array("q"), array("q"), array("b")) for name in names}
    latest = -FARTHEST_NS
    for raw in topics.messages(names):
        stamps, arrivals, stamped = found[raw.topic]
        latest = max(latest, _bounded(raw.arrival_ns))
        stamps.append(latest if raw.stamp_ns is None else _bounded(raw.stamp_ns))
        arrivals.append(latest)
        stamped.append(raw.stamp_ns is not None)
        seen(raw)
    plain = {
        name: (np.array(times, np.int64), np.array(arrivals, np.int64), _really_stamped(times, stamped))
        for name, (times, arrivals, stamped) in found.items()
    }
    shift_ns = _clock_offset([arrivals[has] - stamps[has] for stamps, arrivals, has in plain.values()])
    return {name: _track(stamps, arrivals - shift_ns, has) for name, (stamps, arrivals, has) in plain.items()}, shift_ns


def _bounded(time_ns: int) -> int:
    return max(-FARTHEST_NS, min(int(time_ns), FARTHEST_NS))


def _really_stamped(stamps: array[int], stamped: array[int]) -> NDArray[np.bool_]:
    has, times = np.array(stamped, np.bool_), np.array(stamps, np.int64)
    others = times[has & (times != 0)]
    in_simulation = len(others) > 0 and np.median(others) < APART_NS  # its clock begins at 0
    return has if in_simulation else has & (times != 0)


def _clock_offset(delays: list[Times]) -> int:
    """0 where most delays are less than an hour."""
    every = np.concatenate([*delays, np.zeros(0, np.int64)])
    if not len(every):
        return 0
    middle = int(np.median(every))
    if abs(middle) <= APART_NS:
        return 0
    return int(every[np.abs(every - middle) <= APART_NS].min())


def _track(stamps: Times, arrivals: Times, has: NDArray[np.bool_]) -> Track:
    ahead = (stamps - arrivals)[has]
    far = ahead[np.abs(ahead) > APART_NS]
    middle = int(np.median(far)) if len(far) else 0
    return Track(np.where(has, stamps, arrivals), arrivals, int((~has).sum()), len(far), middle)


def nearest_within(stamps: Times, others: Times, tolerance_ns: int) -> Times:
    """For each of *stamps* the index of the nearest of *others*, -1 where none is within *tolerance_ns*."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    after = np.searchsorted(ordered, stamps).clip(max=len(ordered) - 1)
    before = (after - 1).clip(min=0)
    nearer = np.abs(ordered[before] - stamps) <= np.abs(ordered[after] - stamps)
    found = np.where(nearer, before, after)
    return np.where(np.abs(ordered[found] - stamps) <= tolerance_ns, order[found], -1)


def clock_notes(tracks: Mapping[str, Track], shift_ns: int) -> Iterator[str]:
    """What a person should know of the times in *tracks*."""
    if shift_ns:
        apart = f"{abs(shift_ns) / 1e9:.0f} s {'behind' if shift_ns > 0 else 'ahead of'}"
        yield f"the sensors' clock is {apart} the recorder's: all arrivals were moved to it, the shortest delay to 0"
    for topic, track in tracks.items():
        count = len(track.stamps)
        if track.unstamped:
            have = "no message has" if track.unstamped == count else f"only {count - track.unstamped} of {count} have"
            yield f"{topic}: {have} a stamp; arrival stands for it"
        if track.jumps:
            by = f"{abs(track.jump_ns) / 1e9:.0f} s {'ahead of' if track.jump_ns > 0 else 'behind'}"
            yield f"{topic}: {track.jumps} of {count} stamps are more than 1 h from their arrival, the median {by} it"
