"""Measuring in another power mode, and setting it back: only where the user asks for it by a flag.

    with setting("maxn"):            # or a mode's number or name (nvpmodel), or a governor: "performance"
        ...

What was is written down, and a guardian is started that sets it back (:mod:`edgefuse.device_state.restore`), before
anything is set. So it is set back at the end of the block, when an exception ends it, and when this process is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgefuse.device_state.cpu import policy_folders
from edgefuse.device_state.jetson.nvpmodel import CONFIGURATION, fastest_mode, parse_modes, read_mode
from edgefuse.device_state.journal import PART, Journal, cannot, journal_folder, restore_abandoned
from edgefuse.device_state.reading import Unreadable, read_or_none, read_text
from edgefuse.device_state.settable import NVPMODEL, SET_TIMEOUT_S, Change, get, put
from edgefuse.device_state.system import boot_id
from edgefuse.errors import ToolchainError, UsageError, nearest
from edgefuse.worker.offspring import MARK

START_TIMEOUT_S = 20.0


@contextmanager
def setting(power_mode: str, root: Path = Path("/")) -> Iterator[list[Change]]:
    """The machine in *power_mode* while the block runs; yields what was changed, nothing where it was in it already.

    Raises :class:`UsageError` for a mode that there is not, :class:`ToolchainError` where it cannot be set (it needs
    root; a mode that needs a reboot is refused), where another process has set one, or where it cannot be set back.
    """
    restore_abandoned()
    changes = planned(power_mode, root)
    if not changes:
        yield changes
        return
    with _guarded(changes, root):
        for change in changes:
            put(change.knob, change.now, root)
        yield changes


def planned(power_mode: str, root: Path = Path("/")) -> list[Change]:
    """What *power_mode* means on this machine, as what would change."""
    modes, governors = _modes(power_mode, root), _governors(root)
    number = _mode_number(power_mode, modes)
    if number is not None:
        wanted = {NVPMODEL: number}
    elif power_mode.lower() in governors:
        wanted = dict.fromkeys(governors[power_mode.lower()], power_mode.lower())
    else:
        raise _unknown(power_mode, modes, sorted(governors))
    found = [Change(knob, get(knob, root), value) for knob, value in wanted.items()]
    return [change for change in found if change.was != change.now]


def _modes(asked: str, root: Path) -> dict[str, str]:
    """Name to number of a Jetson's power modes; empty on another machine. Where a container hides their list, the
    number that was *asked* for is believed: ``nvpmodel`` knows."""
    try:
        read_mode()
    except Unreadable:
        return {}
    try:
        return {mode["name"].lower(): str(mode["id"]) for mode in parse_modes(read_text(root / CONFIGURATION))}
    except Unreadable:
        return {f"mode {asked}": asked} if asked.isdecimal() else {}


def _mode_number(asked: str, modes: dict[str, str]) -> str | None:
    if asked.lower() == "maxn" and "maxn" not in modes:
        best = fastest_mode([{"name": name, "id": number} for name, number in modes.items()])
        return best["id"] if best is not None and best["name"].startswith("maxn") else None
    return asked if asked in modes.values() else modes.get(asked.lower())


def _governors(root: Path) -> dict[str, list[str]]:
    """Governor to the policies that have it; a governor that one policy lacks is none."""
    try:
        folders = policy_folders(root)
    except Unreadable:
        return {}
    known = [set((read_or_none(folder / "scaling_available_governors") or "").split()) for folder in folders]
    return {name: [folder.name for folder in folders] for name in set.intersection(*known)}


def _unknown(asked: str, modes: dict[str, str], governors: list[str]) -> UsageError:
    if not modes and not governors:
        return UsageError(
            "this machine has neither power modes (nvpmodel) nor governors (cpufreq)",
            where=f"power mode {asked!r}",
            hint="Measure without a power mode: a virtual machine's is its host's.",
        )
    has = [f"{name} ({number})" for name, number in modes.items()] + governors
    return UsageError(
        f"there is no power mode {asked!r} here",
        where="power mode",
        hint=f"{nearest(asked.lower(), [*modes, *governors])} This machine has: {', '.join(has)}.",
    )


@contextmanager
def _guarded(changes: list[Change], root: Path) -> Iterator[None]:
    """Whatever happens in the block, afterwards the *changes* are undone."""
    path, descriptor = _write_journal(Journal(_boot(root), root, tuple(changes)))
    guardian = _start_guardian(path, descriptor)
    try:
        yield
    finally:
        if failed := _finish(guardian):
            raise cannot(failed, path)
        restore_abandoned()  # where the guardian was killed it is ours to do


def _boot(root: Path) -> str:
    try:
        return boot_id(root)
    except Unreadable:
        return ""


def _write_journal(journal: Journal) -> tuple[Path, int]:
    """The journal's file, on disk and locked, and the descriptor that holds the lock. Another one that is locked is of
    a process at work, and two that set back in the wrong order would leave a third state."""
    folder = journal_folder().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if busy := sorted(folder.glob("*.json")):
            raise ToolchainError(
                "another EdgeFuse has set the power mode and is still measuring",
                where=str(busy[0]),
                hint="Wait until it has ended.",
            )
        descriptor, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", suffix=PART, dir=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, journal.to_json().encode())
        os.fsync(descriptor)
        path = Path(name.removesuffix(PART) + ".json")
        os.rename(name, path)
    except OSError as error:
        raise ToolchainError(
            f"what the power mode was cannot be written down, so it is not changed: {error.strerror}",
            where=str(folder),
            hint="Free some space, or set XDG_STATE_HOME to a folder that can be written.",
        ) from None
    return path, descriptor


def _start_guardian(path: Path, descriptor: int) -> subprocess.Popen[bytes]:
    """It inherits the journal's lock, and sees the end of its stdin when this process ends."""
    package_root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))
    kept = {name: value for name, value in os.environ.items() if name != MARK}  # it outlives a worker's executor
    guardian = subprocess.Popen(
        [sys.executable, "-m", "edgefuse.device_state.restore", str(path), str(descriptor), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**kept, "PYTHONPATH": search},
        start_new_session=True,
        pass_fds=[descriptor],
    )
    os.close(descriptor)
    assert guardian.stdout is not None
    ready = select.select([guardian.stdout], [], [], START_TIMEOUT_S)[0] and guardian.stdout.readline() == b"ready\n"
    if not ready:
        guardian.kill()
        guardian.wait()
        path.unlink(missing_ok=True)
        raise ToolchainError("the process that would set the power mode back does not start, so it is not changed")
    return guardian


def _finish(guardian: subprocess.Popen[bytes]) -> list[str]:
    """Let it set back, and wait until it has; what it could not, in sentences."""
    try:
        said, _ = guardian.communicate(timeout=2 * SET_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return ["the process that does it hangs"]
    return [str(sentence) for sentence in json.loads(said or b"[]")]
