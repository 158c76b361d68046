"""Whether a file can be written where ``-o`` says, found out before the work."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgefuse.errors import UsageError


def check_place(path: Path, suffix: str) -> None:
    """Raise :class:`UsageError` unless *path* ends in *suffix* and can be written."""
    where, hint = f"-o {path}", "Choose another -o."
    if path.suffix != suffix:
        raise UsageError(f"must end in {suffix}", where=where)
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"there is no such folder: {path.parent}"
        raise UsageError(what, where=where, hint=hint)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError("cannot write there", where=where, hint=hint)


def page_writer(path: Path | None, module: str) -> Callable[[dict[str, Any]], None] | None:
    """What writes the page at *path*, with ``write_html`` of *module*, which is imported only where a page is wanted: a
    robot has no jinja2. Everything that can be wrong with the place is found now."""
    if path is None:
        return None
    check_place(path, ".html")
    write_html = importlib.import_module(module).write_html
    return lambda report: write_html(path, report)
