"""A calibration set out of recordings: ``edgefuse calibration build``, and what ``compile`` does where its calibration
path is a recording. Numpy only.

The line: the instants at which a sample could be taken (:mod:`.instants`), the stretches of time and their split
(:mod:`.stretches`), which of them to take (:mod:`.choose`), and the samples themselves (:mod:`.reading`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.bundle_writer import new_folder, write_json
from edgefuse.calibration.built import REPORT, dropped_instants, is_built_set, make_report
from edgefuse.calibration.choose import candidates, farthest, label_strata, spread_evenly
from edgefuse.calibration.describe import describe, fingerprint, standardised
from edgefuse.calibration.reading import Taken, resting_state, take_samples
from edgefuse.calibration.recorded import Order, Source, open_sources
from edgefuse.calibration.sets import GROUP, SPLITS, STAMP
from edgefuse.calibration.stretches import assign
from edgefuse.errors import CalibrationError
from edgefuse.progress import Steps
from edgefuse.recordings.mapping import LABEL
from edgefuse.samples import SampleWriter
from edgefuse.spec import Array

SAMPLES = "samples.npz"

Indices = NDArray[np.int64]


def build_set(paths: Sequence[Path], order: Order, out: Path, steps: Steps) -> dict[str, Any]:
    """Write the set to the folder *out*, whole or not at all, over an older set; returns its report.

    Raises :class:`CalibrationError` where the recordings do not give one, and what opening them raises.
    """
    with new_folder(out, is_built_set, "calibration set that EdgeFuse has built") as folder:
        return build_into(paths, order, folder, steps)


@dataclass(frozen=True)
class _Pool:
    """All complete instants, one row each: of which source, its place there, its stretch, whether that is held out, its
    group, and the label's values."""

    source: Indices
    place: Indices
    stretch: Indices
    group: Indices
    held_out: NDArray[np.bool_]
    values: NDArray[np.float64] | None
    in_gaps: int

    def rows(self, held_out: bool) -> Indices:
        return np.flatnonzero(self.held_out == held_out)


def build_into(paths: Sequence[Path], order: Order, folder: Path, steps: Steps) -> dict[str, Any]:
    """As :func:`build_set`, into an empty *folder*."""
    with steps.step("Finding instants") as step:
        sources = open_sources(paths, order.spec, order.recorded, order.label, order.anchor)
        _refuse_incomplete(sources)
        pool = _pool(sources, order.seed)
        step.note(f"{len(pool.source)} at {sources[0].anchor}")
    builder = _Builder(order, sources, pool, np.random.default_rng(order.seed))
    for name in SPLITS:
        (folder / name).mkdir()
    held_out = pool.rows(True)
    golden = held_out[spread_evenly(len(held_out), order.golden, builder.rng)]
    with steps.bar("Held-out samples", len(golden)) as bar:
        seen = set[bytes]()
        with SampleWriter(folder / "golden" / SAMPLES) as writer:
            for row, taken in builder.samples(golden):
                seen.add(fingerprint(taken.feed))
                writer.write(builder.columns(row, taken))
                bar.advance()
            kept = writer.rows
        if not kept:
            raise _nothing(sources)
    chosen = builder.choose(seen, steps)
    with steps.bar("Samples that calibrate", len(chosen)) as bar, SampleWriter(folder / SPLITS[0] / SAMPLES) as writer:
        order_of = {row: at for at, row in enumerate(builder.rng.permutation(chosen).tolist())}
        for row, taken in builder.samples(np.sort(chosen)):
            writer.write(builder.columns(row, taken), order_of[row])
            bar.advance()
        if writer.rows != len(chosen):
            raise CalibrationError("changed while it was read", where=_named(sources))
    report = make_report(order, sources, {"calibrate": len(chosen), "golden": kept, **_shares(sources, pool, golden)})
    for source in sources:
        source.recording.close()
    write_json(folder / REPORT, report)
    return report


class _Builder:
    """Reads samples of all sources by their row in the pool."""

    def __init__(self, order: Order, sources: Sequence[Source], pool: _Pool, rng: np.random.Generator) -> None:
        self.rng, self._order, self._sources, self._pool = rng, order, sources, pool
        self._state = resting_state(order.spec.inputs, order.recorded.state)
        self._label = order.label or LABEL

    def samples(self, rows: Indices) -> Iterator[tuple[int, Taken]]:
        """Of *rows* in order, each with its row; one that cannot be read is left out and counted."""
        for number, source in enumerate(self._sources):
            own = rows[self._pool.source[rows] == number]
            places = self._pool.place[own]
            row_of = dict(zip(places.tolist(), own.tolist()))
            labelled = source.labels is not None
            found = take_samples(source.recording, source.tracks, source.aligned, places, labelled, source.dropped)
            for taken in found:
                yield row_of[taken.instant], taken

    def columns(self, row: int, taken: Taken) -> dict[str, Array]:
        """What the set holds of a sample, by array."""
        given = {**taken.feed, **self._state}
        found = {name: given[name] for name in self._order.spec.names}
        if taken.label is not None:
            found[self._label] = taken.label
        stamp = self._sources[int(self._pool.source[row])].aligned.times_ns[taken.instant]
        return found | {GROUP: self._pool.group[row], STAMP: np.asarray(stamp)}

    def choose(self, seen: set[bytes], steps: Steps) -> Indices:
        """Rows of the samples that calibrate: see :mod:`edgefuse.calibration.choose`. None that equals a held-out one
        (*seen*), or another."""
        pool, order, seen = self._pool, self._order, set(seen)
        free = pool.rows(False)
        values = None if pool.values is None else pool.values[free]
        classes = all(source.labels is not None and source.labels.classes for source in self._sources)
        strata = label_strata(values, classes, order.samples, len(free))
        cells = [(free[own], count) for own, count in candidates(strata, pool.stretch[free], order.samples, self.rng)]
        looked, described = list[int](), list[dict[str, NDArray[np.float64]]]()
        with steps.bar("Candidates", sum(len(own) for own, _ in cells)) as bar:
            for row, taken in self.samples(np.sort(np.concatenate([own for own, _ in cells]))):
                bar.advance()
                mark = fingerprint(taken.feed)
                if mark in seen:
                    self._sources[int(pool.source[row])].dropped["equal to another sample"] += 1
                    continue
                seen.add(mark)
                looked.append(row)
                described.append(describe(taken.feed, order.spec, order.recorded.state))
        if not looked:
            raise _nothing(self._sources)
        at = {row: index for index, row in enumerate(looked)}
        members = [([at[row] for row in own.tolist() if row in at], count) for own, count in cells]
        return np.array(looked, np.int64)[farthest(standardised(described), members, self.rng)]


def _refuse_incomplete(sources: Sequence[Source]) -> None:
    for source in sources:
        if len(source.aligned) < 2:
            raise _nothing([source])


def _pool(sources: Sequence[Source], seed: int) -> _Pool:
    assigned = assign([source.cut for source in sources], seed)
    source = np.concatenate([np.full(len(item.kept), number) for number, item in enumerate(assigned)])
    place = np.concatenate([np.arange(len(item.kept)) for item in assigned])
    stretch, group, held_out, kept = (
        np.concatenate([getattr(item, name) for item in assigned]) for name in ("stretch", "group", "held_out", "kept")
    )
    values = [s.labels.values[s.aligned.label] for s in sources if s.labels is not None and s.labels.values is not None]
    alike = len(values) == len(sources) and len({item.shape[1] for item in values}) == 1
    return _Pool(
        source[kept],
        place[kept],
        stretch[kept],
        group[kept],
        held_out[kept],
        np.concatenate(values)[kept] if alike else None,
        int((~kept).sum()),
    )


def _shares(sources: Sequence[Source], pool: _Pool, golden: Indices) -> dict[str, Any]:
    """How the time was split."""
    return {
        "stretches": len(np.unique(pool.stretch)),
        "golden_stretches": len(np.unique(pool.stretch[pool.held_out])),
        "golden_groups": len(np.unique(pool.group[golden])),
        "gap_ms": max(source.cut.gap_ns for source in sources) / 1e6,
        "in_gaps": pool.in_gaps,
    }


def _nothing(sources: Sequence[Source]) -> CalibrationError:
    dropped = dropped_instants(sources)
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    return CalibrationError(
        f"gives no samples: of {dropped.total()} instants {reasons}" if dropped else "gives no samples",
        where=_named(sources),
        hint="Is the mapping in [recording] right, and are the sensors' clocks the same? "
        "tolerance_ms says how old data may be.",
    )


def _named(sources: Sequence[Source]) -> str:
    return ", ".join(str(source.path) for source in sources)
