"""Where the recipes, device profiles and calibration sets that ship with EdgeFuse lie.

In a checkout they are top-level folders beside the package; a wheel carries them in ``edgefuse/share``.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def shipped(folder: str) -> Path:
    """The folder called *folder* (``recipes``, ``devices`` or ``calibration``)."""
    installed = PACKAGE / "share" / folder
    return installed if installed.is_dir() else PACKAGE.parent / folder


def shipped_names(folder: str, pattern: str) -> dict[str, Path]:
    """Name to file, sorted; the name is the file's stem, or its folder's where all files are called alike."""
    found = sorted(shipped(folder).glob(pattern))
    return {(path.parent.name if "/" in pattern else path.stem): path for path in found}
