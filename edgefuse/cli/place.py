"""Whether a file can be written where ``-o`` says, found out before the work."""

from __future__ import annotations

from pathlib import Path

from edgefuse.errors import UsageError


def check_place(path: Path, suffix: str) -> None:
    """Raise :class:`UsageError` unless *path* ends in *suffix* and its folder is there."""
    if path.suffix != suffix:
        raise UsageError(f"must end in {suffix}", where=f"-o {path}")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"there is no such folder: {path.parent}"
        raise UsageError(what, where=f"-o {path}", hint="Choose another -o.")
