"""Calls in a child process: results, our errors, and deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgefuse import child
from edgefuse.errors import CrashError, ModelError

HERE = "tests.test_child"


def double(value: int) -> int:
    print("vendor chatter on stdout must not disturb the answer")
    return 2 * value


def refuse() -> None:
    raise ModelError("too big", where="node 3", hint="make it smaller")


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(60)


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


def test_the_result_comes_back():
    assert child.call(f"{HERE}:double", {"value": 21}, what="Doubling") == 42


def test_our_own_error_comes_back_whole():
    with pytest.raises(ModelError) as caught:
        child.call(f"{HERE}:refuse", {}, what="Refusing")
    assert (caught.value.what, caught.value.where, caught.value.hint) == ("too big", "node 3", "make it smaller")


def test_a_segfault_is_an_error_with_the_signals_name_and_a_cure():
    with pytest.raises(CrashError, match="SIGSEGV") as caught:
        child.call(f"{HERE}:die", {}, what="The vendor's compiler")
    assert caught.value.exit_code == 5 and "--precision float" in caught.value.hint


def test_a_hanging_child_is_killed_at_its_time_limit():
    start = time.monotonic()
    with pytest.raises(CrashError, match="did not finish within 1 s"):
        child.call(f"{HERE}:hang", {}, what="The vendor's compiler", timeout_s=1)
    assert time.monotonic() - start < 20


def announce(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    signal.pause()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_the_child_dies_with_a_parent_that_was_killed_outright(tmp_path):
    told = tmp_path / "pid"
    code = f"from edgefuse import child; child.call('{HERE}:announce', {{'path': '{told}'}}, what='Waiting')"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: told.exists() and told.read_text())
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not alive(int(told.read_text())))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(found, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not found():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
