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


def shipped_hint(path: Path) -> str:
    """Where *path*, which is not here, is among what ships: the README's ``calibration/rover/drive.mcap``
    where EdgeFuse was installed from its wheel. Empty where it is not."""
    if path.is_absolute() or ".." in path.parts or path.parts[:1] not in (("calibration",), ("recipes",)):
        return ""
    found = shipped(path.parts[0]).joinpath(*path.parts[1:])
    return f"It ships with EdgeFuse: {found}" if found.exists() else ""
