"""Whether a calibration path is a set of samples or recordings to make one from, and which. Standard library and numpy
only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgefuse.calibration.sets import SPLITS
from edgefuse.errors import CalibrationError
from edgefuse.recordings import NPZ
from edgefuse.recordings.formats import TOPICS
from edgefuse.recordings.npz import STAMP
from edgefuse.resources import shipped_hint
from edgefuse.samples import read_headers

FILES = tuple(mark for mark in TOPICS if mark.startswith("."))
ONE = ("metadata.yaml", "meta/info.json")
"""What makes a folder one recording, whatever files it holds."""


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """Every recording that *paths* name, themselves or as folders of them; empty where they are one set of samples.

    Raises :class:`CalibrationError` for a mixture, and for several sets.
    """
    found = {path: recordings_at(path) for path in paths}
    if len(paths) > 1:
        for path, recordings in found.items():
            if not recordings:
                raise CalibrationError(
                    "is a set of samples; of several paths each must be a recording",
                    where=str(path),
                    hint="One set is one folder: put its .npz files there.",
                )
    return [recording for recordings in found.values() for recording in recordings]


def recordings_at(path: Path) -> list[Path]:
    """Those that *path* is or holds; empty where it holds samples."""
    if not path.exists():
        raise CalibrationError("there is no such file or folder", where=str(path), hint=shipped_hint(path))
    if path.is_file():
        return [path] if _is_recording(path) else []
    if any((path / name).is_dir() for name in SPLITS):
        return []
    if any((path / mark).exists() for mark in ONE):
        return [path]
    held = sorted(path.iterdir())
    files = [item for item in held if item.is_file() and _is_recording(item)]
    return files + [item for item in held if item.is_dir() and any((item / mark).exists() for mark in ONE)]


def _is_recording(path: Path) -> bool:
    if path.name.endswith(NPZ):
        return any(name.endswith(STAMP) for name in read_headers(path))
    return path.name.lower().endswith(FILES)
