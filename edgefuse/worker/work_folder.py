"""A connection's own folder, which goes with it: its worker removes it, or where that was killed the next one does.

Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from edgefuse.worker.offspring import kill_offspring


def new_work_folder(parent: Path) -> tuple[Path, int]:
    """An empty folder in *parent*, and the descriptor that holds its lock: whose folder is not locked is dead. Those
    are removed, one worker at a time."""
    one_at_a_time = _lock_folder(parent, wait=True)
    try:
        _remove_abandoned(parent)
        work = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
        return work, _lock_folder(work)
    finally:
        os.close(one_at_a_time)


def _lock_folder(folder: Path, wait: bool = False) -> int:
    """A descriptor that holds *folder*'s lock until it is closed, or its process ends, whatever ends it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # a file system without locks, or not for folders (NFS)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    return descriptor


def _remove_abandoned(work: Path) -> None:
    """Folders of workers that are gone, and what is still running for them. On a file system that knows no lock for a
    folder they stay."""
    for folder in work.iterdir():
        with contextlib.suppress(OSError):
            if _is_free(folder):
                kill_offspring(folder.name)
                shutil.rmtree(folder, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
