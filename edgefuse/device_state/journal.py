"""What was set in the machine, written down so that it can be set back by another process, and after a crash.

The journal is one JSON file for each time. As long as its guardian lives (:mod:`edgefuse.device_state.restore`) that
holds the journal's lock, so that :func:`restore_abandoned` can tell a journal that nobody looks after: the guardian was
killed, too, or the machine went down. Then a governor has gone by itself, but a Jetson keeps its power mode.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgefuse.device_state.reading import Unreadable
from edgefuse.device_state.settable import NVPMODEL, Change, get, gone, put
from edgefuse.device_state.system import boot_id
from edgefuse.errors import ToolchainError

PART = ".json.part"
"""The end of a journal's name while it is being written."""


@dataclass(frozen=True)
class Journal:
    """What was set, on which boot; *root* is where sysfs hangs."""

    boot: str
    root: Path
    changes: tuple[Change, ...]

    def to_json(self) -> str:
        changes = [asdict(change) for change in self.changes]
        return json.dumps({"boot": self.boot, "root": str(self.root), "changes": changes})


def read_journal(path: Path) -> Journal:
    """Raises ``ValueError`` for a file that is no journal."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        changes = tuple(Change(str(item["knob"]), str(item["was"]), str(item["now"])) for item in found["changes"])
        return Journal(str(found["boot"]), Path(found["root"]), changes)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no journal: {error}") from None


def journal_folder() -> Path:
    """``$XDG_STATE_HOME/edgefuse/power-modes``, or below ``~/.local/state``."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base else Path.home() / ".local/state") / "edgefuse" / "power-modes"


def set_back(journal: Journal) -> tuple[list[str], list[str]]:
    """What was set back, and what could not be, in sentences. What somebody has set otherwise since then stays."""
    try:
        same_boot = boot_id(journal.root) == journal.boot
    except Unreadable:
        same_boot = True
    done, failed = [], []
    for change in reversed(journal.changes):
        if not (same_boot or change.knob == NVPMODEL) or gone(change.knob, journal.root):
            continue
        try:
            if get(change.knob, journal.root) == change.now:
                put(change.knob, change.was, journal.root)
                done.append(f"{change.knob} is {change.was} again")
        except ToolchainError as error:
            failed.append(str(error))
    return done, failed


def restore_abandoned() -> list[str]:
    """Set back what a process that is gone has left, and its guardian too; returns sentences on what was done.

    Raises :class:`ToolchainError` where that fails; its journal stays, and the next start tries again.
    """
    done = []
    for path in sorted(journal_folder().glob("*.json*")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_uid != os.geteuid() or not _lock(stream.fileno()):
                continue
            done += _restore(path)
    return done


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _restore(path: Path) -> list[str]:
    try:
        done, failed = set_back(read_journal(path))
    except ValueError:  # it was being written when its writer was killed, so that nothing was set yet
        done, failed = [], []
    if failed:
        raise cannot(failed, path)
    path.unlink(missing_ok=True)
    return done


def cannot(failed: Sequence[str], path: Path) -> ToolchainError:
    return ToolchainError(
        f"the power mode could not be set back: {'; '.join(failed)}",
        where=str(path),
        hint="Set it yourself and remove that file, or run EdgeFuse once more as the same user.",
    )
