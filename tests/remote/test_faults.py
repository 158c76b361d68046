"""What may become of a worker, its executor, its user and its disk: a typed error, nothing half-done, a second try."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgefuse.child import crash_of, oom_kills
from edgefuse.errors import (
    CrashError,
    DeviceBusyError,
    OutOfMemoryError,
    TimeLimitError,
    ToolchainError,
    UnreachableError,
)
from edgefuse.remote import connect
from tests.remote.asyncssh_server import AsyncsshServer
from tests.remote.rig import Rig, eventually, fault, is_alive

MIB = 1 << 20

CLIENT = """
import pathlib, sys
from edgefuse.remote import connect
with connect(sys.argv[1], owner="client@test") as device:
    print("connected", flush=True)
    try:
        if sys.argv[2] == "put":
            device.put_file(pathlib.Path(sys.argv[3]))
        elif sys.argv[2] == "fetch":
            key = device.ask("fault", {"kind": "make", "files": {"a": 200 << 20}}).value
            print("made", flush=True)
            device.fetch(key, pathlib.Path(sys.argv[3]))
        else:
            device.ask("fault", {"kind": "hang", "pids": sys.argv[3]})
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise
"""


@contextlib.contextmanager
def client(rig: Rig, what: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A user in a process of its own, who has connected."""
    command = [sys.executable, "-c", CLIENT, rig.address, what, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "connected\n"
            yield process
        finally:
            process.kill()


def pids_in(path: Path) -> list[int]:
    assert eventually(path.exists)
    return [int(word) for word in path.read_text().split()]


@contextlib.contextmanager
def soon(do: Callable[[], object]) -> Iterator[None]:
    """*do*, in another thread while the block runs."""
    thread = threading.Thread(target=do)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGBUS])
def test_a_crash_is_an_answer_with_the_signal_s_name_and_the_next_request_works(rig: Rig, number: int) -> None:
    with rig.connect() as device:
        with pytest.raises(CrashError, match=f"The test's job was killed by {signal.Signals(number).name}"):
            fault(device, "die", number=number)
        assert fault(device, "echo", value=1).value == 1
    rig.assert_clean()


def test_an_executor_that_leaves_says_its_last_words(rig: Rig) -> None:
    with rig.connect() as device:
        with pytest.raises(CrashError, match="ended with exit code 7; it last said: ggml_abort"):
            fault(device, "leave", code=7, said="something\nggml_abort\n")
        assert fault(device, "echo", value=1).value == 1


def test_a_crash_is_noticed_though_a_fork_holds_the_pipe(rig: Rig) -> None:
    with rig.connect() as device:
        start = time.monotonic()
        with pytest.raises(CrashError, match="SIGSEGV"):
            fault(device, "die_leaving_a_fork", timeout_s=60.0)
        assert time.monotonic() - start < 10
        assert eventually(lambda: len(rig.processes()) <= 2), "the fork is gone with it"
    rig.assert_clean()


def test_an_executor_killed_at_work_is_a_crash_and_one_killed_at_rest_is_started_again(rig: Rig) -> None:
    with rig.connect() as device:
        pid = fault(device, "pid").value
        with (
            soon(lambda: (time.sleep(0.3), os.kill(pid, signal.SIGKILL))),
            pytest.raises(CrashError, match="SIGKILL"),
        ):
            fault(device, "sleep", seconds=60)
        pid = fault(device, "pid").value
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not is_alive(pid))
        assert fault(device, "pid").value != pid
    rig.assert_clean()


def test_a_hung_job_is_killed_at_its_limit_with_all_that_it_has_started(rig: Rig, tmp_path: Path) -> None:
    with rig.connect() as device:
        start = time.monotonic()
        with pytest.raises(TimeLimitError, match="The test's job did not finish within 3 s"):
            fault(device, "hang", timeout_s=3.0, pids=str(tmp_path / "pids"))
        assert time.monotonic() - start < 8
        pids = pids_in(tmp_path / "pids")
        assert len(pids) == 4 and not any(map(is_alive, pids))
        assert fault(device, "echo", value=1).value == 1
    rig.assert_clean()


def test_temporary_files_go_with_the_connection(rig: Rig) -> None:
    """Whoever made them is killed, and does not remove them."""
    with rig.connect() as device:
        made = Path(fault(device, "temporary").value)
        assert made.is_dir()
    assert eventually(lambda: not made.exists(), 10.0)
    rig.assert_clean()


def test_no_memory_is_an_error_of_its_own_and_the_connection_stays(rig: Rig) -> None:
    with rig.connect() as device:
        fault(device, "limit", megabytes=256)
        with pytest.raises(OutOfMemoryError, match="out of memory"):
            fault(device, "allocate", megabytes=1024)
        assert fault(device, "allocate", megabytes=1).value == MIB


@pytest.mark.parametrize("said", ["terminate called\n  what():  std::bad_alloc\n", "MemoryError\n"])
def test_last_words_of_no_memory_are_understood(rig: Rig, said: str) -> None:
    with rig.connect() as device, pytest.raises(OutOfMemoryError, match=r"The test's job .* for want of memory"):
        fault(device, "leave", code=134, said=said)


def test_the_kernel_s_killer_is_told_from_another_sigkill(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    kills = oom_kills()
    assert isinstance(crash_of(-9, "It", tmp_path / "log", kills - 1), OutOfMemoryError)
    assert not isinstance(crash_of(-9, "It", tmp_path / "log", kills), OutOfMemoryError)


MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


def test_the_kernel_kills_the_executor_for_want_of_memory_and_not_the_worker(rig: Rig) -> None:
    """Really: in a memory cgroup (v1 here; a v2 host's root may not be ours to divide)."""
    group = MEMORY_GROUPS / f"edgefuse-{rig.mark}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(300 * MIB))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        with rig.connect() as device:
            (group / "cgroup.procs").write_text(str(fault(device, "pid").value))
            with pytest.raises(OutOfMemoryError, match="SIGKILL for want of memory"):
                fault(device, "allocate", megabytes=1000)
            assert fault(device, "echo", value=1).value == 1
        rig.assert_clean()
    finally:
        assert eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_worker_is_a_broken_connection_and_its_executor_is_gone(rig: Rig, tmp_path: Path, number: int) -> None:
    with rig.connect() as device:
        fault(device, "pid")
        worker = device.about["pid"]

        def kill() -> None:
            pids_in(tmp_path / "pids")
            os.kill(worker, number)

        with soon(kill), pytest.raises(UnreachableError, match="the connection broke"):
            fault(device, "hang", timeout_s=60.0, pids=str(tmp_path / "pids"))
    executor, *others = pids_in(tmp_path / "pids")
    assert eventually(lambda: not is_alive(executor))
    rig.assert_works()
    assert not any(map(is_alive, others)), "what a worker that was killed outright could not end, the next one has"


def test_a_hung_worker_is_a_broken_connection_here_and_the_next_user_ends_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgefuse.remote import link

    monkeypatch.setattr(link, "GRACE_S", 0.2)
    monkeypatch.setattr(link, "BEAT_S", 0.1)
    short = rig.short_silence(1.0, margin_s=0.2)
    # a hang that only SIGKILL ends; locally the transport would end it, over SSH nobody does
    with connect(f"local?python={short}") as device:
        fault(device, "pid")
        os.kill(device.about["pid"], signal.SIGSTOP)
        time.sleep(2.0)
        with connect(f"local?python={short}", owner="next@test") as second:
            assert fault(second, "echo", value=1).value == 1
        with pytest.raises(UnreachableError):
            fault(device, "pid", timeout_s=0.2)
    rig.assert_clean()


@pytest.mark.parametrize("what", ["hang", "put"])
def test_a_killed_client_leaves_nothing_on_the_device(rig: Rig, tmp_path: Path, what: str) -> None:
    path = tmp_path / "given"
    if what == "put":
        with path.open("wb") as stream:
            stream.truncate(300 * MIB)
    with client(rig, what, path) as process:
        if what == "hang":
            pids_in(path)
        else:
            assert eventually(lambda: any(item.stat().st_size > 0 for item in rig.store.rglob("*.part")))
        process.kill()
        process.wait()
        rig.assert_clean()
    assert not list((rig.store / "files").iterdir())
    rig.assert_works()


@pytest.mark.parametrize("what", ["hang", "put", "fetch"])
def test_ctrl_c_at_the_client_ends_it_there_and_here(rig: Rig, tmp_path: Path, what: str) -> None:
    path = tmp_path / "given"
    if what == "put":
        with path.open("wb") as stream:
            stream.truncate(300 * MIB)
    elif what == "fetch":
        path.mkdir()
    with client(rig, what, path) as process:
        if what == "hang":
            pids_in(path)
        elif what == "put":
            assert eventually(lambda: any(item.stat().st_size > 0 for item in rig.store.rglob("*.part")))
        else:
            assert eventually(lambda: any(path.iterdir()))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert "interrupted" in out and "KeyboardInterrupt" in err and err.count("Traceback") == 1
    rig.assert_clean()
    if what == "fetch":
        assert list(path.iterdir()) == [], "no half of a file"
    rig.assert_works()


def test_what_is_abandoned_half_way_is_not_taken_for_the_next_answer(rig: Rig) -> None:
    from edgefuse.progress import Step
    from tests.remote.rig import Told

    class Rude(Told):
        def tell(self, step: Step) -> None:
            raise KeyboardInterrupt

    with rig.connect() as device:
        with pytest.raises(KeyboardInterrupt):
            device.ask("fault", {"kind": "tell", "count": 3}, steps=Rude())
        with pytest.raises(UnreachableError, match="has ended"):
            fault(device, "echo", value=1)
    rig.assert_works()


@pytest.mark.parametrize("way", ["upload", "download"])
def test_a_connection_that_is_lost_in_a_file_leaves_no_half(
    rig: Rig, asyncssh_server: AsyncsshServer, tmp_path: Path, way: str
) -> None:
    address = asyncssh_server.address(python=str(rig.python))
    large, to = tmp_path / "large", tmp_path / "to"
    to.mkdir()
    with large.open("wb") as stream:
        stream.truncate(40 * MIB)
    with connect(address) as device:
        key = fault(device, "make", files={"a": 40 * MIB, "b": 1}).value
        asyncssh_server.drop_after = 10 * MIB if way == "upload" else None
        with pytest.raises(UnreachableError, match="the connection broke") as caught:
            if way == "upload":
                device.put_file(large)
            else:
                with soon(lambda: (eventually(lambda: any(to.iterdir())), asyncssh_server.drop())):
                    device.fetch(key, to)
        assert caught.value.where == address
    assert list(to.iterdir()) == []
    rig.assert_clean()
    assert not list((rig.store / "files").iterdir())
    with connect(address) as device:
        device.put_file(large)
        device.fetch(fault(device, "make", files={"a": MIB}).value, to)
    assert (to / "a").stat().st_size == MIB
    rig.assert_clean()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 80 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here: only root may")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_too_small_is_said_before_and_one_that_fills_up_meanwhile_when_it_does(
    rig: Rig, small_disk: Path, tmp_path: Path
) -> None:
    rig.cache.symlink_to(small_disk)
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(30 * MIB)
    with rig.connect() as device:
        with pytest.raises(ToolchainError, match=r"No space left on device: 31\.5 MB are to be sent") as caught:
            device.put_file(large)
        assert "XDG_CACHE_HOME" in caught.value.hint
        with pytest.raises(ToolchainError, match="No space left on device"):
            fault(device, "fill")
        with pytest.raises(ToolchainError, match="No space left on device"):
            device._send("0" * 64, 30 * MIB, large)
        assert fault(device, "echo", value=1).value == 1
        assert not list(rig.store.rglob("*.part"))
    rig.assert_clean()
    with rig.connect() as device, pytest.raises(ToolchainError, match="SHA-256 differs"):
        device._send("0" * 64, 30 * MIB, large)  # there is room again: it fails of what it is
    small = tmp_path / "small"
    small.write_bytes(b"small")
    with rig.connect() as device:
        device.put_file(small)
    rig.assert_clean()


def test_a_full_disk_here_leaves_no_half_of_a_result(rig: Rig, small_disk: Path) -> None:
    with rig.connect() as device:
        key = fault(device, "make", files={"a": 100 * MIB}).value
        with pytest.raises(OSError, match="No space left"):
            device.fetch(key, small_disk)
        assert list(small_disk.iterdir()) == []
        with pytest.raises(UnreachableError, match="has ended"):
            fault(device, "pid")
    rig.assert_works()


CLOCK = "import time; real = time.time; time.time = lambda: real() + SHIFT\n"


@pytest.mark.parametrize("days", [-1, 1])
def test_a_device_s_clock_that_is_a_day_off_changes_nothing(rig: Rig, tmp_path: Path, days: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    code = CLOCK.replace("SHIFT", str(days * 86400)) + "from edgefuse.worker.service import main; main()"
    (rig.folder / "worker.py").write_text(code)
    python = rig.script("other clock", f"exec {sys.executable} {rig.folder}/worker.py")
    for address in (rig.address, f"local?python={python}", rig.address):
        with connect(address, owner="first@test") as device:
            with pytest.raises(DeviceBusyError, match="first@test"), rig.connect():
                pass
            assert fault(device, "file", digest=device.put_file(path)).value == 7
    rig.assert_clean()
