"""One connection to this machine: requests, steps, errors; afterwards nothing is left of it."""

from __future__ import annotations

import math
import os
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import edgefuse.errors
from edgefuse.errors import (
    CrashError,
    DeviceMismatchError,
    MissingRuntimeError,
    MissingToolError,
    UnreachableError,
    UsageError,
    VersionMismatchError,
)
from edgefuse.remote import connect
from edgefuse.version import __version__
from tests.remote.rig import Rig, Told, eventually, fault

MIB = 1 << 20


def test_local_is_this_interpreter_and_says_what_it_is() -> None:
    with connect("local") as device:
        about = device.about
        assert about["edgefuse"] == __version__ and about["protocol"] == 1 and about["pid"] != os.getpid()
        assert about["environment"]["python"] == ".".join(map(str, sys.version_info[:3]))
        assert about["device_class"].startswith(os.uname().machine)


def test_values_and_arrays_go_there_and_back(rig: Rig) -> None:
    arrays = {
        "flag": np.array(True),
        "big": np.arange(6, dtype=">f8").reshape(2, 3).T,
        "none": np.zeros((0, 3), np.int8),
        "large": np.random.default_rng(0).integers(0, 255, 5 * MIB, np.uint8),
    }
    with rig.connect() as device:
        answer = fault(device, "echo", arrays=arrays, value={"text": "ö\n", "list": [1, 2.5, None]})
    assert answer.value == {"text": "ö\n", "list": [1, 2.5, None]} and list(answer.arrays) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(answer.arrays[name], array)
    rig.assert_clean()


def test_a_library_that_is_missing_there_is_not_looked_for_here(rig: Rig) -> None:
    with rig.connect() as device, pytest.raises(MissingToolError) as caught:
        fault(device, "refuse", error="MissingToolError", where="")
    assert caught.value.where == rig.address
    assert caught.value.hint.startswith("another one\nThere, not here: edgefuse doctor --device ")


def test_steps_of_the_job_become_the_user_s(rig: Rig) -> None:
    steps = Told()
    with rig.connect() as device:
        device.ask("fault", {"kind": "tell", "count": 3}, steps=steps)
    assert [step.name for step in steps.done] == ["step 0", "step 1", "step 2"]
    assert steps.done[0].notes == ["noted"] and steps.done[0].seconds > 0


def test_what_a_library_prints_or_reads_is_no_frame(rig: Rig) -> None:
    with rig.connect() as device:
        assert fault(device, "chatter").value == ""
        assert fault(device, "echo", value=1).value == 1


def test_what_is_held_is_there_at_the_next_request_and_not_in_the_next_connection(rig: Rig) -> None:
    with rig.connect() as device:
        assert [fault(device, "hold", value=n).value for n in (1, 2)] == [None, 1]
    with rig.connect() as device:
        assert fault(device, "hold", value=3).value is None


def test_the_executor_does_not_import_what_lies_where_it_is_started(rig: Rig) -> None:
    (rig.folder / "json.py").write_text("raise SystemExit('a file of the user')")
    python = rig.script("elsewhere", f'cd {rig.folder}; exec {sys.executable} "$@"')
    with connect(f"local?python={python}") as device:
        folder, *path = fault(device, "where").value
    assert folder == "/" and str(rig.folder) not in path


@pytest.mark.parametrize("kind", ["DeviceMismatchError", "RecipeError", "FeedError", "UsageError", "MissingToolError"])
def test_an_error_of_ours_comes_back_whole_with_its_own_type(rig: Rig, kind: str) -> None:
    with rig.connect() as device:
        with pytest.raises(getattr(edgefuse.errors, kind)) as caught:
            fault(device, "refuse", error=kind)
        assert (caught.value.what, caught.value.where, caught.value.hint) == ("refused", "node 3", "another one")
        assert fault(device, "echo", value=1).value == 1, "the connection is as good as before"


def test_a_defect_is_told_with_its_line_and_the_connection_stays(rig: Rig) -> None:
    with rig.connect() as device:
        pid = fault(device, "pid").value
        for kind, told in [("defect", "KeyError"), ("no_json", "not JSON serializable"), ("no_numbers", "numbers")]:
            with pytest.raises(CrashError, match=f"a defect of EdgeFuse on the device.*{told}") as caught:
                fault(device, kind)
            assert ".py:" in caught.value.where
        assert fault(device, "pid").value == pid


def test_a_job_that_the_device_does_not_know_is_another_version(rig: Rig) -> None:
    with rig.connect() as device, pytest.raises(VersionMismatchError, match="knows no job 'dance'"):
        device.ask("dance", {})


def test_a_request_that_makes_no_sense_is_refused_and_the_next_one_is_not(rig: Rig) -> None:
    with rig.connect() as device:
        with pytest.raises(UsageError, match="malformed"):
            fault(device, "pid", timeout_s=-1.0)
        for do, arguments in [("put", {}), ("missing", {"files": 3}), ("place", {"key": "x"}), ("get", {"key": "a"})]:
            with pytest.raises(UsageError):
                device._link.ask(do, arguments)
        assert fault(device, "echo", value=1).value == 1


def test_what_cannot_be_sent_is_refused_here_and_the_connection_stays(rig: Rig) -> None:
    with rig.connect() as device:
        with pytest.raises(UsageError, match="cannot be sent"):
            fault(device, "echo", value={1, 2})
        with pytest.raises(UsageError, match="expected numbers"):
            fault(device, "echo", arrays={"x": np.array(["a"])})
        assert fault(device, "echo", value=1).value == 1


def test_a_request_may_have_no_limit(rig: Rig) -> None:
    with rig.connect() as device:
        assert fault(device, "echo", value=1, timeout_s=math.inf).value == 1


def test_a_connection_that_has_ended_says_so_and_touches_nothing(rig: Rig, tmp_path: Path) -> None:
    with rig.connect() as device:
        pass
    precious = (tmp_path / "precious").open("wb")
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    for _ in range(2):
        with pytest.raises(UnreachableError, match="has ended"):
            fault(device, "pid")
    device._link.close()
    for descriptor in others:
        os.close(descriptor)
    precious.close()
    assert (tmp_path / "precious").read_bytes() == b""


def test_nothing_is_left_open_here(rig: Rig) -> None:
    def descriptors() -> set[str]:
        return {f"{name} {os.readlink(f'/proc/self/fd/{name}')}" for name in os.listdir("/proc/self/fd")[:-1]}

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(2):
            with rig.connect() as device:
                fault(device, "pid")
            with pytest.raises(MissingRuntimeError), connect("local?python=/there/is/none"):
                pass
            with pytest.raises(MissingRuntimeError), connect("local?python=/bin/false"):
                pass
    assert len(os.listdir("/proc/self/fd")) == before, descriptors()
    assert eventually(lambda: threading.active_count() == threads)


def test_the_worker_does_not_collect_descriptors(rig: Rig, tmp_path: Path) -> None:
    with rig.connect() as device:
        device.put_file(Path(__file__))
        fault(device, "pid")
        worker = f"/proc/{device.about['pid']}/fd"
        before = len(os.listdir(worker))
        for number in range(20):
            (tmp_path / "file").write_text(str(number))
            device.put_file(tmp_path / "file")
            key = fault(device, "make", files={"a": 10}).value
            device.fetch(key, tmp_path)
        for _ in range(3):
            with pytest.raises(CrashError):
                fault(device, "leave", code=1)
        fault(device, "pid")
        assert len(os.listdir(worker)) == before


def test_wrong_device_keeps_its_type(rig: Rig) -> None:
    with rig.connect() as device, pytest.raises(DeviceMismatchError, match="refused"):
        fault(device, "refuse")
