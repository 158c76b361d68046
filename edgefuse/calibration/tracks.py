"""What each stream of a recording can give to a sample, and when: found out from the times alone, so that only what is
chosen has to be decoded. Numpy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefuse.recordings import Recording
from edgefuse.recordings.mapped.times import APART_NS
from edgefuse.spec import TensorSpec
from edgefuse.stream.inbox import MS
from edgefuse.stream.policy import StreamPolicy, age_limit_ms
from edgefuse.stream.window import RESTARTED, Window

Times = NDArray[np.int64]

WARM = 256
"""Deliveries that are pushed into a window before those that it holds: its estimate of the sensor's clock forgets a
tenth with each, so that after so many nothing is left of where it began (0.9²⁵⁶ = 2·10⁻¹²). Without a rate there is
none, and as many as the window holds stand in for those that cannot be used."""


@dataclass(frozen=True)
class Track:
    """A stream's k deliveries that the runtime would take, as far as the times tell.

    ``numbers``, ``times_ns`` (k,): their places in :meth:`Recording.stamps`, and when they were acquired
    (``offset_ms`` included); strictly increasing. For a window, of the one that ends with each delivery: ``full`` (k,)
    whether there are enough samples, ``first`` (k,) the delivery from which on they must be pushed, ``since_ns`` (k,)
    the stamp of the oldest data in it. ``limit_ns``: the age above which data are too old; None: no age is.
    ``backwards`` deliveries more were not later than what had come before, and ``strayed`` others had another clock."""

    name: str
    items: tuple[TensorSpec, ...]
    policy: StreamPolicy
    numbers: Times
    times_ns: Times
    full: NDArray[np.bool_]
    first: Times
    since_ns: Times
    limit_ns: int | None
    backwards: int
    strayed: int = 0

    @property
    def early_ns(self) -> int:
        """How much later than the sample's instant a stamp may be."""
        return round(self.policy.max_early_ms * MS)

    @property
    def ages(self) -> bool:
        """Whether data of this stream belong to one time: a goal that holds for a whole drive does not."""
        return self.limit_ns is not None or self.policy.kind == "window"

    @property
    def reach_ns(self) -> int:
        """How far back from a sample's instant its data may go, a long age of what has no limit left aside."""
        return (self.limit_ns or 0) + int((self.times_ns - self.since_ns)[self.full].max(initial=0))


def make_track(
    recording: Recording,
    name: str,
    items: tuple[TensorSpec, ...],
    policy: StreamPolicy,
    tolerance_ms: float | None,
    strays: NDArray[np.bool_],
) -> Track:
    """*tolerance_ms* None: data may be as old as *policy* lets them be. *strays* (n,): see :func:`find_strays`."""
    stamps = recording.stamps(name) + round(policy.offset_ms * MS)
    own = np.flatnonzero(~strays)
    numbers = own[taken(stamps[own], round(policy.reset_after_ms * MS))]
    times = stamps[numbers]
    full, first, since = np.ones(len(times), bool), np.arange(len(times)), times
    if policy.kind == "window":
        full, first, since = _windows(times, items[0], policy, _chunk(recording, name, policy.axis, items[0]))
    limit_ms = tolerance_ms if tolerance_ms is not None else age_limit_ms(policy, items)
    limit_ns = None if limit_ms is None else round(limit_ms * MS)
    return Track(
        name, items, policy, numbers, times, full, first, since, limit_ns, len(own) - len(numbers), int(strays.sum())
    )


def find_strays(recording: Recording, policies: Mapping[str, StreamPolicy]) -> dict[str, NDArray[np.bool_]]:
    """Stream to (n,): whether a delivery's stamp, ``offset_ms`` included, is more than an hour farther from its arrival
    than most are. A clock that was set while the robot drove makes such: data of that time would meet labels and other
    sensors' data of another."""
    delays = {
        name: np.fromiter(recording.arrivals(name), np.int64, count)
        - (recording.stamps(name) + round(policies[name].offset_ms * MS))
        for name, count in recording.counts.items()
    }
    usual = int(np.median(np.concatenate(list(delays.values()))))
    return {name: np.abs(delay - usual) > APART_NS for name, delay in delays.items()}


def taken(stamps: Times, reset_ns: int) -> NDArray[np.bool_]:
    """(n,) which of *stamps*, in order of arrival, the runtime takes: those that are later than all before them.

    Where they jump back by more than *reset_ns* it begins anew. One recording has one time, so here the longest run is
    kept, and of the others those that fit before or after it: neither a single wrong stamp nor a loop spoils the rest.
    """
    if len(stamps) < 2:
        return np.ones(len(stamps), bool)
    jumps = np.diff(stamps)
    if (jumps >= -reset_ns).all():
        return _later_than_all_before(stamps)
    edges = [0, *(np.flatnonzero(np.abs(jumps) > reset_ns) + 1).tolist(), len(stamps)]
    runs = sorted(itertools.pairwise(edges), key=lambda run: run[0] - run[1])  # the longest first
    kept = np.zeros(len(stamps), bool)
    low, high, start = (np.zeros(0, np.int64) for _ in range(3))
    for begin, end in runs:
        part = stamps[begin:end]
        least, most = int(part.min()), int(part.max())
        if (np.where(start < begin, high < least, low > most)).all():
            kept[begin:end] = True
            low, high, start = np.append(low, least), np.append(high, most), np.append(start, begin)
    places = np.flatnonzero(kept)
    kept[places] = _later_than_all_before(stamps[places])
    return kept


def _later_than_all_before(stamps: Times) -> NDArray[np.bool_]:
    later = np.ones(len(stamps), bool)
    later[1:] = stamps[1:] > np.maximum.accumulate(stamps)[:-1]
    return later


def _chunk(recording: Recording, name: str, axis: int, item: TensorSpec) -> int:
    """How many samples of a window its first delivery that can be read has."""
    for message in recording.messages([name]):
        array = message.arrays[item.name]
        return int(array.shape[axis]) if array.ndim == len(item.shape) else 1
    return 1


def _windows(
    times: Times, item: TensorSpec, policy: StreamPolicy, chunk: int
) -> tuple[NDArray[np.bool_], Times, Times]:
    """``full``, ``first`` and ``since_ns``, by the runtime's own window, which is given the times alone."""
    length = item.smallest()[policy.axis]
    window = Window((length,), "bool", 0, policy.sample_hz, policy.gap)
    samples, held = np.zeros((chunk,), bool), -(-length // chunk)
    full, begun = np.zeros(len(times), bool), np.zeros(len(times), np.int64)
    restart = 0
    for place, time_ns in enumerate(times.tolist()):
        if window.add(samples, time_ns) == RESTARTED:
            restart = place
        full[place], begun[place] = window.full, restart
    places = np.arange(len(times))
    warm = WARM if policy.sample_hz else held
    return full, np.maximum(begun, places - held - warm), times[np.maximum(begun, places - held)]
