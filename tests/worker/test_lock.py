"""One user at a time, whatever becomes of the one before and whatever the clock says."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgefuse.errors import DeviceBusyError, ToolchainError
from edgefuse.worker import lock as module
from edgefuse.worker.lock import DeviceLock, lock_path, take_lock

HOLD = """
import sys, time
from edgefuse.worker.lock import take_lock
lock = take_lock(sys.argv[1], float(sys.argv[2]))
print("taken", flush=True)
time.sleep(600)
"""
DAY_S = 86400.0


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEFUSE_LOCK", str(tmp_path / "lock"))
    return tmp_path / "lock"


@contextlib.contextmanager
def holder(owner: str = "alice@desk", expires_s: float = 600.0) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    command = [sys.executable, "-c", HOLD, owner, str(expires_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "taken\n"
            yield process
        finally:
            process.kill()


def take(owner: str = "bob@desk", expires_s: float = 600.0) -> None:
    take_lock(owner, expires_s).release()


def test_the_second_is_told_who_has_it_and_since_when(path: Path) -> None:
    with holder("alice@desk"):
        with pytest.raises(DeviceBusyError, match=r"in use by alice@desk since \d{4}-\d\d-\d\d \d\d:") as caught:
            take()
        assert "wait=600" in caught.value.hint
    take()


def test_a_killed_holder_holds_nothing(path: Path) -> None:
    with holder() as process:
        process.kill()
        process.wait()
        take()


def test_a_released_lock_is_free_and_names_nobody(path: Path) -> None:
    lock = take_lock("alice@desk", 600.0)
    assert json.loads(path.read_text())["owner"] == "alice@desk"
    lock.release()
    lock.release()
    assert path.read_bytes() == b""
    take()


def test_children_do_not_inherit_it(path: Path) -> None:
    lock = take_lock("alice@desk", 600.0)
    with subprocess.Popen(["sleep", "600"], close_fds=False) as child:
        lock.release()
        take()
        child.kill()


def test_a_hung_holder_is_killed_by_the_next_one_once_it_is_past_its_expiry(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARGIN_S", 0.5)
    with holder(expires_s=0.5) as process:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeviceBusyError):
            take()
        time.sleep(1.2)
        take()
        assert process.wait(5) == -signal.SIGKILL


def test_extending_moves_the_expiry_and_not_the_beginning(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = take_lock("alice@desk", 100.0)
    before = json.loads(path.read_text())
    now = module._now()
    monkeypatch.setattr(module, "_now", lambda: now + 50)
    monkeypatch.setattr(time, "strftime", lambda form: "2031-01-01 00:00:00")
    lock.extend()
    after = json.loads(path.read_text())
    assert after["expires"] == pytest.approx(now + 150) and after["since"] == before["since"]
    lock.release()


def test_extending_often_costs_next_to_nothing(path: Path) -> None:
    lock = take_lock("alice@desk", 100.0)
    start = time.perf_counter()
    for _ in range(10_000):
        lock.extend()
    assert time.perf_counter() - start < 1.0
    lock.release()


@pytest.mark.parametrize("shift_s", [-DAY_S, DAY_S])
def test_a_wall_clock_that_is_a_day_off_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    real = time.time
    with holder():
        monkeypatch.setattr(time, "time", lambda: real() + shift_s)
        monkeypatch.setattr(time, "strftime", lambda form: "1970-01-02 00:00:00")
        with pytest.raises(DeviceBusyError, match="alice"):
            take()
    lock = take_lock("bob", 600.0)
    monkeypatch.undo()
    assert module._left_s(json.loads(path.read_text())) == pytest.approx(600, abs=5)
    lock.release()


@pytest.mark.parametrize(
    "told",
    [
        {"boot": "another boot"},
        {"pid": 1, "started": None},
        {"started": "1"},
        {"expires": "soon"},
        {"pid": "x"},
    ],
)
def test_nobody_is_killed_who_is_not_sure_to_be_the_holder(
    path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, object]
) -> None:
    """A number that is another process's now, or a file from before the last boot."""
    monkeypatch.setattr(module, "MARGIN_S", 0.0)
    with holder(expires_s=0.0) as process:
        path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
        time.sleep(0.05)
        with pytest.raises(DeviceBusyError, match="in use"):
            take()
        assert process.poll() is None


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"owner": 3}', "\x00" * 5000])
def test_a_lock_file_that_says_nothing_sensible_is_still_a_lock(path: Path, text: str) -> None:
    with holder():
        path.write_text(text)
        with pytest.raises(DeviceBusyError, match="in use by"):
            take()
    take()


def test_a_link_or_a_folder_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    path.symlink_to(tmp_path / "target")
    with pytest.raises(ToolchainError, match="lock file"):
        take()
    assert (tmp_path / "target").read_text() == "precious"
    path.unlink()
    path.mkdir()
    with pytest.raises(ToolchainError, match="lock file"):
        take()


def test_a_place_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEFUSE_LOCK", str(tmp_path / "no" / "lock"))
    with pytest.raises(ToolchainError, match="lock file") as caught:
        take()
    assert "EDGEFUSE_LOCK" in caught.value.hint


def test_every_user_may_take_the_file_of_the_first_one(path: Path) -> None:
    before = os.umask(0o077)
    try:
        take()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In a folder like /tmp: pytest's own is for one user."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o1777)
        monkeypatch.setenv("EDGEFUSE_LOCK", f"{folder}/lock")
        yield Path(folder) / "lock"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("mode", [0o666, 0o644])
def test_another_user_s_file_locks_as_well_and_its_holder_is_not_ours_to_kill(shared: Path, mode: int) -> None:
    path = shared
    take()
    lock = take_lock("root@desk", 0.0)
    path.write_text(json.dumps({**json.loads(path.read_text()), "expires": module._now() - 100}))
    os.chmod(path, mode)
    code, text = _as_nobody(path)
    assert code == "DeviceBusyError" and "root@desk" in text and "if it hangs, end it" in text
    lock.release()
    os.chmod(path, mode)
    assert _as_nobody(path)[0] == "taken"


def _as_nobody(path: Path) -> tuple[str, str]:
    """In a fork: the interpreter of these tests may lie where nobody else can read."""
    context = multiprocessing.get_context("fork")
    near, far = context.Pipe()

    def run() -> None:
        os.setgroups([])
        os.setuid(65534)
        try:
            take("nobody@desk")
            far.send(("taken", ""))
        except Exception as error:
            far.send((type(error).__name__, str(error)))

    process = context.Process(target=run)
    process.start()
    assert near.poll(20)
    found: tuple[str, str] = near.recv()
    process.join()
    return found


def test_the_file_is_where_the_first_user_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where /run/lock is root's alone, root and the others would otherwise not meet."""
    places = tmp_path / "run", tmp_path / "tmp"
    for place in places:
        place.mkdir()
    monkeypatch.delenv("EDGEFUSE_LOCK")
    monkeypatch.setattr(module, "PLACES", places)
    assert lock_path() == places[0] / module.NAME
    (places[1] / module.NAME).touch()
    assert lock_path() == places[1] / module.NAME


def test_a_full_disk_does_not_take_the_lock_away(path: Path) -> None:
    lock = take_lock("alice@desk", 600.0)
    read_only = DeviceLock(path, os.open(path, os.O_RDONLY), "alice@desk", 600.0)
    read_only.extend()
    read_only.release()
    with pytest.raises(DeviceBusyError, match="alice"):
        take()
    lock.release()
