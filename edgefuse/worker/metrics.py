"""A custom metric is a Python file of the user's, which a bundle does not carry: it is sent beside it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath

from edgefuse.worker.desk import Desk


def metrics_folder(desk: Desk, metric: Mapping[str, str] | None) -> Path | None:
    """A folder with the file that was sent (``file``: its SHA-256, ``name``: its name in the recipe); None for none."""
    if metric is None:
        return None
    folder = desk.new_folder()
    shutil.copyfile(desk.file(metric["file"]), folder / PurePath(metric["name"]).name)
    return folder
