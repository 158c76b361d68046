"""A calibration set out of recordings: ``edgefuse calibration build``, and what ``compile`` does where its calibration
path is a recording. Numpy only.

The line: the instants at which a sample could be taken (:mod:`.instants`), the stretches of time and their split
(:mod:`.stretches`), which of them to take (:mod:`.choose`), and the samples themselves (:mod:`.reading`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.bundle_writer import new_folder, write_json
from edgefuse.calibration.choose import candidates, farthest, label_strata, spread_evenly
from edgefuse.calibration.describe import describe, fingerprint, standardised
from edgefuse.calibration.instants import Anchor
from edgefuse.calibration.reading import Taken, resting_state, take_samples
from edgefuse.calibration.recorded import Recorded, Source, open_sources
from edgefuse.calibration.sets import GROUP, SPLITS, STAMP
from edgefuse.calibration.stretches import assign
from edgefuse.errors import CalibrationError
from edgefuse.noninferiority import MIN_SAMPLES, MIN_UNITS
from edgefuse.progress import Steps
from edgefuse.recordings.mapping import LABEL
from edgefuse.samples import SampleWriter
from edgefuse.spec import Array, ModelSpec

FORMAT = 1
KIND = "edgefuse calibration set"
REPORT, SAMPLES = "report.json", "samples.npz"
GOLDEN = 500
"""Held-out samples where the recipe does not say how many: enough for most limits, and few enough to carry."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """What is wanted: ``samples`` that calibrate and ``golden`` held-out ones of *spec*'s inputs. ``label`` is the name
    of the array with the labels; None: they are not needed, and called "label" where there are some. ``anchor`` None:
    see :func:`edgefuse.calibration.instants.settle_anchor`."""

    spec: ModelSpec
    recorded: Recorded = field(default_factory=Recorded)
    label: str | None = None
    samples: int = 256
    golden: int = GOLDEN
    seed: int = 0
    anchor: Anchor | None = None


def build_set(paths: Sequence[Path], order: Order, out: Path, steps: Steps) -> dict[str, Any]:
    """Write the set to the folder *out*, whole or not at all, over an older set; returns its report.

    Raises :class:`CalibrationError` where the recordings do not give one, and what opening them raises.
    """
    with new_folder(out, is_built_set, "calibration set that EdgeFuse has built") as folder:
        return build_into(paths, order, folder, steps)


def is_built_set(path: Path) -> bool:
    return read_report(path) is not None


def read_report(path: Path) -> dict[str, Any] | None:
    """What :func:`build_set` wrote of the set at *path*; None where it did not make it."""
    try:
        found = json.loads((path / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("kind") == KIND else None


def described(report: Mapping[str, Any]) -> str:
    """What a line says behind the numbers of samples: out of what, and what was left out."""
    names = [item["path"] for item in report["recordings"]]
    shown = names[0] if len(names) == 1 else f"{len(names)} recordings"
    dropped = report["dropped"]
    if not dropped:
        return f" from {shown}"
    reasons = next(iter(dropped)) if len(dropped) == 1 else ", ".join(f"{dropped[name]} {name}" for name in dropped)
    count = sum(dropped.values())
    return f" from {shown}; {count} instant{'' if count == 1 else 's'} dropped ({reasons})"


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
    report = _report(order, sources, pool, builder.groups(golden), len(chosen), kept)
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

    def groups(self, rows: Indices) -> int:
        return len(np.unique(self._pool.group[rows]))

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


def _nothing(sources: Sequence[Source]) -> CalibrationError:
    dropped = _dropped(sources)
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    return CalibrationError(
        f"gives no samples: of {dropped.total()} instants {reasons}" if dropped else "gives no samples",
        where=_named(sources),
        hint="Is the mapping in [recording] right, and are the sensors' clocks the same? "
        "tolerance_ms says how old data may be.",
    )


def _named(sources: Sequence[Source]) -> str:
    return ", ".join(str(source.path) for source in sources)


def _dropped(sources: Sequence[Source]) -> Counter[str]:
    """Reason to number of instants, of all sources."""
    found = Counter[str]()
    for source in sources:
        found.update(source.aligned.dropped)
        found.update(source.dropped)
    return found


def _report(
    order: Order, sources: Sequence[Source], pool: _Pool, groups: int, calibrate: int, golden: int
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": KIND,
        "recordings": [source.to_json() for source in sources],
        "split": {
            "by": "stretches of time",
            "seed": order.seed,
            "calibrate": calibrate,
            "golden": golden,
            "stretches": len(np.unique(pool.stretch)),
            "golden_stretches": len(np.unique(pool.stretch[pool.held_out])),
            "golden_groups": groups,
            "gap_ms": max(source.cut.gap_ns for source in sources) / 1e6,
            "in_gaps": pool.in_gaps,
        },
        "asked": {"calibrate": order.samples, "golden": order.golden},
        "dropped": dict(_dropped(sources).most_common()),
        "state": sorted(order.recorded.state),
        "notes": _notes(order, sources, groups, calibrate, golden),
    }


def _notes(order: Order, sources: Sequence[Source], groups: int, calibrate: int, golden: int) -> list[str]:
    """What a person should know before the set is relied on."""
    found = []
    if calibrate < order.samples:
        found.append(f"{calibrate} samples calibrate; {order.samples} were asked for")
    if golden < min(order.golden, MIN_SAMPLES):
        found.append(f"{golden} samples are held out; a metric without bounds needs {MIN_SAMPLES} to pass")
    if groups < MIN_UNITS:
        found.append(f"they are of {groups} stretches of about a second; a verdict needs {MIN_UNITS}")
    if order.recorded.state:
        found.append(f"{', '.join(sorted(order.recorded.state))}: the model's state is zero, as a stream begins")
    for source in sources:
        found += [f"{source.path.name}: {note}" for note in (source.recording.damage, *source.recording.notes) if note]
    return found
