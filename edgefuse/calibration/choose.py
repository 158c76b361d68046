"""Which instants become samples. Numpy only.

Held-out samples stand for what the robot meets, so they are spread evenly over the time and not selected.

Samples that calibrate should show the ranges, so they are balanced and different from each other:

1. *Strata.* Labels are put into strata (each class; of measured values the cells of a grid whose lines are each
   dimension's quantiles), and each stratum is cut by the stretches of time. The number wanted is shared out as equally
   as there are instants: first over the labels' strata, so that rare classes are not drowned, then over the time.
2. *Candidates.* Of each cell ``OVERSAMPLE`` times its share are taken, evenly spread over its time. Only these are
   decoded, and each is described by a few hundred numbers (:mod:`edgefuse.calibration.describe`).
3. *Diversity.* Cell by cell in turns, the candidate is taken that is farthest from all that have been taken before.
   This greedy rule for the k-centre problem leaves no candidate farther from the chosen ones than twice what the best
   choice would (T. F. Gonzalez, Clustering to minimize the maximum intercluster distance, Theoretical Computer Science
   38, 1985; of single cells here, since each has its share). It is what core-set selection does with a network's
   features (O. Sener, S. Savarese, Active learning for convolutional neural networks: a core-set approach, ICLR 2018);
   the inputs' own values are taken here, since the ranges are those of the inputs and of what follows from them.

The same seed chooses the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgefuse.calibration.describe import Vectors

OVERSAMPLE = 4
PER_STRATUM = 8
"""So many samples a stratum of measured labels should have; the number of quantiles follows."""
MOST_BINS = 8
"""Quantile bins of a label's dimension."""

Indices = NDArray[np.int64]


def spread_evenly(count: int, most: int, rng: np.random.Generator) -> Indices:
    """At most *most* of *count* indices in order: one at a random place in each of as many equal stretches, so that
    no rhythm of the data is hit again and again."""
    if count <= most:
        return np.arange(count)
    edges = np.arange(most + 1) * count // most
    return np.asarray(rng.integers(edges[:-1], edges[1:]))


def share_out(wanted: int, sizes: Sequence[int], rng: np.random.Generator) -> list[int]:
    """*wanted* shared out among strata that have *sizes*: as equally as they have it."""
    shares, left = [0] * len(sizes), min(wanted, sum(sizes))
    while left:
        open_ones = [index for index in rng.permutation(len(sizes)).tolist() if shares[index] < sizes[index]]
        each = left // len(open_ones)
        for index in open_ones[: left if not each else None]:
            taken = min(max(each, 1), sizes[index] - shares[index])
            shares[index] += taken
            left -= taken
    return shares


def label_strata(values: NDArray[np.float64] | None, classes: bool, wanted: int, count: int) -> Indices:
    """(count,) the stratum of each of *count* instants, from their labels' *values* (count, d); one for all where there
    are none."""
    if values is None or not len(values):
        return np.zeros(count, np.int64)
    if classes:
        return np.unique(values[:, 0], return_inverse=True)[1].astype(np.int64)
    bins = int(np.clip(round((wanted / PER_STRATUM) ** (1 / values.shape[1])), 2, MOST_BINS))
    cells = np.zeros(len(values), np.int64)
    for column in values.T:
        lines = np.unique(np.quantile(column, np.arange(1, bins) / bins))
        cells = cells * bins + np.searchsorted(lines, column, side="right")
    return np.unique(cells, return_inverse=True)[1].astype(np.int64)


def candidates(strata: Indices, groups: Indices, wanted: int, rng: np.random.Generator) -> list[tuple[Indices, int]]:
    """Cell by cell: the instants to look at, in order, and how many of them to take."""
    kinds = np.unique(strata)
    per_stratum = share_out(wanted, [int((strata == kind).sum()) for kind in kinds], rng)
    found = []
    for kind, share in zip(kinds, per_stratum):
        members = np.flatnonzero(strata == kind)
        blocks = [members[groups[members] == group] for group in np.unique(groups[members])]
        for block, count in zip(blocks, share_out(share, [len(block) for block in blocks], rng)):
            if count:
                found.append((block[spread_evenly(len(block), OVERSAMPLE * count, rng)], count))
    return found


def farthest(vectors: Vectors, cells: Sequence[tuple[Sequence[int], int]], rng: np.random.Generator) -> list[int]:
    """Rows of *vectors* (n, d), of each cell so many; see the module's text. A cell that has too few gives all."""
    left = [(list(members), count) for members, count in cells if members and count]
    chosen: list[int] = []
    away = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    while left:
        after = []
        for members, count in [left[index] for index in rng.permutation(len(left))]:
            best = members[int(np.argmax(away[members]))]
            distance = np.linalg.norm(vectors - vectors[best], axis=1)
            away = np.minimum(away, distance) if chosen else distance
            chosen.append(best)
            rest = [member for member in members if member != best]
            if count > 1 and rest:
                after.append((rest, count - 1))
        left = after
    return chosen
