"""The calibration set: real samples in two disjoint splits, *calibrate* and *golden*.

The first gives the ranges (and, in a search, the choice); the second decides the verdict and is seen once. A set lies
on a disk (:mod:`edgefuse.calibration.sets`) or is made out of recordings (:mod:`edgefuse.calibration.build`).
``docs/calibration.md`` has the rules. Standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgefuse.calibration.build import build_into
from edgefuse.calibration.built import described, read_report
from edgefuse.calibration.paths import find_recordings
from edgefuse.calibration.recorded import GOLDEN, Order, Recorded
from edgefuse.calibration.sets import (
    GROUP,
    MARKS,
    SPLITS,
    STAMP,
    CalibrationSet,
    Sample,
    Split,
    check_constant,
    read_set,
)
from edgefuse.errors import CalibrationError
from edgefuse.progress import Steps
from edgefuse.recipe import CalibrationSource
from edgefuse.spec import ModelSpec

__all__ = [
    "GROUP",
    "MARKS",
    "SPLITS",
    "STAMP",
    "CalibrationSet",
    "Recorded",
    "Sample",
    "Split",
    "open_calibration",
]


def open_calibration(
    source: CalibrationSource, spec: ModelSpec, label: str | None, recorded: Recorded | None = None
) -> CalibrationSet:
    """The two splits of the set at ``source.path``. Where that names recordings the set is first built in
    ``recorded.work``, and lies there as long as it is read.

    Raises :class:`CalibrationError` where it does not fit *spec*, and ``RecordingError``.
    """
    if not source.paths:
        raise CalibrationError(
            "no calibration set is given",
            hint="Add --calibration DIR, or [calibration] path = "
            '"…" to the recipe: an .npz file or a folder of them, one array per input; or a recording.',
        )
    recordings = find_recordings(source.paths)
    if recordings:
        found = _build(recordings, source, spec, label, recorded)
    else:
        found = read_set(source.paths[0], source, spec, label)
        built = read_report(source.paths[0])
        found = replace(found, rule=found.rule | {"built": built}) if built else found
    check_constant(found.calibrate, recorded.state if recorded is not None else ())
    return found


def _build(
    recordings: Sequence[Path], source: CalibrationSource, spec: ModelSpec, label: str | None, recorded: Recorded | None
) -> CalibrationSet:
    if recorded is None or recorded.work is None:
        raise CalibrationError(
            "is a recording; expected samples",
            where=str(recordings[0]),
            hint="Make them with: edgefuse calibration build",
        )
    folder = recorded.work / "calibration"
    folder.mkdir(parents=True)
    order = Order(spec, recorded, label, source.samples, source.golden or GOLDEN, source.seed)
    report = build_into(recordings, order, folder, Steps(quiet=True))
    found = read_set(folder, replace(source, path=folder, golden=None), spec, label)
    return replace(found, rule=report["split"] | {"built": report}, origin=described(report))
