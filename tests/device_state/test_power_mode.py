"""Setting a power mode and its restoration: at the end, after an exception, after kill -9, after a reboot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgefuse.device_state import read_state, restore_abandoned, watched
from edgefuse.device_state.journal import journal_folder
from edgefuse.device_state.power_mode import planned, setting
from edgefuse.device_state.settable import Change
from edgefuse.errors import ToolchainError, UsageError
from tests.device_state.machines import nvpmodel, policies, program, recorded, tree

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No journal leaves the test, and whatever happens none is left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield tmp_path / "state"
    assert journals() == []


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Four cores under schedutil, booted once."""
    tree(tmp_path / "root", {"proc/sys/kernel/random/boot_id": "first"})
    return policies(tmp_path / "root", 4)


@pytest.fixture
def jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Orin Nano Super in 15W; its mode is kept in the file that is returned."""
    tree(tmp_path / "root", {"proc/sys/kernel/random/boot_id": "first"})
    tree(tmp_path / "root", {"etc/nvpmodel.conf": recorded("nvpmodel-conf-orin-nano")})
    monkeypatch.setenv("PATH", str(tmp_path / "tools"), prepend=":")
    return nvpmodel(tmp_path / "tools", 0)


def journals() -> list[Path]:
    return sorted(journal_folder().glob("*"))


def governors(root: Path) -> list[str]:
    files = sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_governor"))
    return [path.read_text().strip() for path in files]


def wait_until(what: str, holds: object) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, f"waited {PATIENCE_S:g} s in vain until {what}"
        time.sleep(0.02)


def test_a_governor_is_set_and_set_back(machine: Path) -> None:
    with setting("performance", machine) as changes:
        assert governors(machine) == ["performance"] * 4 and len(changes) == 4
        (journal,) = journals()
        assert json.loads(journal.read_text())["boot"] == "first"
    assert governors(machine) == ["schedutil"] * 4


def test_an_exception_sets_it_back_and_goes_on(machine: Path) -> None:
    with pytest.raises(RuntimeError, match="measuring"), setting("powersave", machine):
        assert governors(machine) == ["powersave"] * 4
        raise RuntimeError("measuring failed")
    assert governors(machine) == ["schedutil"] * 4


def test_a_mode_that_it_is_in_already_changes_nothing(machine: Path) -> None:
    with setting("schedutil", machine) as changes:
        assert changes == [] and journals() == []


@pytest.mark.parametrize(("asked", "number"), [("maxn", 2), ("MAXN_SUPER", 2), ("1", 1), ("25W", 1), ("7w", 3)])
def test_a_jetsons_mode_by_name_or_number(jetson: Path, tmp_path: Path, asked: str, number: int) -> None:
    with setting(asked, tmp_path / "root"):
        assert jetson.read_text() == f"{number}\n"
    assert jetson.read_text() == "0\n"


def test_a_mode_that_there_is_not_is_the_users_mistake(machine: Path, jetson: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)'performanse'.*Did you mean 'performance'\?.*15w \(0\)"):
        planned("performanse", machine)
    with pytest.raises(UsageError, match="'9'"):
        planned("9", machine)
    with pytest.raises(UsageError, match="neither power modes"):
        planned("maxn", tmp_path / "nothing")


def test_a_mode_that_needs_a_reboot_is_refused_and_never_reboots(tmp_path: Path, jetson: Path) -> None:
    nvpmodel(tmp_path / "tools", 0, reboots=2)
    said = r"(?s)needs a reboot.*sudo nvpmodel -m 2"
    with pytest.raises(ToolchainError, match=said) as caught, setting("maxn", tmp_path / "root"):
        raise AssertionError("nothing may be measured in another mode")
    assert caught.value.exit_code == 5
    assert jetson.read_text() == "0\n" and not (tmp_path / "tools/nvpmodel.rebooted").exists()


def test_without_root_it_says_what_to_do(tmp_path: Path, jetson: Path) -> None:
    nvpmodel(tmp_path / "tools", 0, refuses=True)
    said = r"(?s)cpu4/online: 13.*needs root.*sudo nvpmodel -m 1"
    with pytest.raises(ToolchainError, match=said), setting("25W", tmp_path / "root"):
        raise AssertionError("not reached")


def test_a_governor_that_cannot_be_written_leaves_none_changed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third of four cores refuses, for root too: its file becomes one of /proc between planning and setting."""
    third = machine / "sys/devices/system/cpu/cpufreq/policy2/scaling_governor"

    def plan_and_lock(asked: str, root: Path) -> list[Change]:
        found = planned(asked, root)
        third.unlink()
        third.symlink_to("/proc/sys/kernel/ostype")
        return found

    monkeypatch.setattr("edgefuse.device_state.power_mode.planned", plan_and_lock)
    said = r"(?s)cannot be set.*needs root.*cpupower frequency-set -g performance"
    with pytest.raises(ToolchainError, match=said), setting("performance", machine):
        raise AssertionError("nothing may be measured in half a power mode")
    assert governors(machine) == ["schedutil", "schedutil", "Linux", "schedutil"]


HOLD = """
import sys, time
from pathlib import Path
from edgefuse.device_state.power_mode import setting
with setting(sys.argv[1], Path(sys.argv[2])):
    print("set", flush=True)
    time.sleep(600)
"""


def hold(power_mode: str, root: Path) -> subprocess.Popen[str]:
    """Another process that measures in *power_mode*, when it has set it."""
    child = subprocess.Popen([sys.executable, "-c", HOLD, power_mode, str(root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "set\n"
    return child


def guardian_of(child: subprocess.Popen[str]) -> int:
    """The process that the journal's measurer has started."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"edgefuse.device_state.restore" in words and str(child.pid).encode() in words:
            return int(path.parent.name)
    raise AssertionError("there is no guardian")


def gone(pid: int) -> bool:
    try:
        return "Z" in re.findall(r"^State:\s+(\w)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_killed_leaves_the_governor_as_it_was(machine: Path, how: signal.Signals) -> None:
    with hold("performance", machine) as child:
        assert governors(machine) == ["performance"] * 4 and len(journals()) == 1
        child.send_signal(how)
    wait_until("the governor is back", lambda: governors(machine) == ["schedutil"] * 4 and not journals())


def test_a_process_that_is_killed_leaves_a_jetson_in_its_mode(jetson: Path, tmp_path: Path) -> None:
    with hold("maxn", tmp_path / "root") as child:
        assert jetson.read_text() == "2\n"
        child.kill()
    wait_until("the mode is back", lambda: jetson.read_text() == "0\n" and not journals())


def test_killing_the_whole_process_group_spares_the_guardian(machine: Path) -> None:
    command = [sys.executable, "-c", HOLD, "performance", str(machine)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "set\n"
        os.killpg(child.pid, signal.SIGKILL)
    wait_until("the governor is back", lambda: governors(machine) == ["schedutil"] * 4 and not journals())


def test_the_guardian_does_not_carry_the_mark_of_an_executor(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker kills all that do (edgefuse/worker/offspring.py)."""
    monkeypatch.setenv("EDGEFUSE_EXECUTOR", "one")
    with setting("performance", machine):
        environment = Path(f"/proc/{find_guardian(os.getpid())}/environ").read_bytes()
        assert b"EDGEFUSE_EXECUTOR" not in environment and b"PATH=" in environment


def test_a_number_is_believed_where_a_container_hides_the_list(jetson: Path, tmp_path: Path) -> None:
    (tmp_path / "root/etc/nvpmodel.conf").unlink()
    with setting("1", tmp_path / "root"):
        assert jetson.read_text() == "1\n"
    with pytest.raises(UsageError):
        planned("maxn", tmp_path / "root")


def test_a_child_that_outlives_us_does_not_keep_the_guardian_waiting(machine: Path) -> None:
    """A forked child holds the pipe's other end; the guardian also looks whether its parent is there."""
    fork = "    import os\n    if not os.fork(): time.sleep(8); os._exit(0)\n"
    command = [
        sys.executable,
        "-c",
        HOLD.replace("    time.sleep", f"{fork}    time.sleep"),
        "performance",
        str(machine),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "set\n"
        time.sleep(0.2)
        child.kill()
        child.wait()
        start = time.monotonic()
        wait_until("the governor is back", lambda: governors(machine) == ["schedutil"] * 4 and not journals())
        assert time.monotonic() - start < 6


def killed_with_its_guardian(power_mode: str, root: Path) -> None:
    with hold(power_mode, root) as child:
        guardian = guardian_of(child)
        os.kill(guardian, signal.SIGKILL)
        wait_until("the guardian is gone", lambda: gone(guardian))
        child.kill()
    assert len(journals()) == 1


def test_the_next_start_sets_back_what_nobody_looks_after(machine: Path) -> None:
    killed_with_its_guardian("performance", machine)
    assert governors(machine) == ["performance"] * 4
    with watched() as found:
        assert governors(machine) == ["schedutil"] * 4 and journals() == []
    assert "An earlier run was killed in a power mode of its own" in found["remarks"][0]
    assert restore_abandoned() == []


def test_a_guardian_that_is_killed_is_replaced_at_the_end(machine: Path) -> None:
    with setting("performance", machine):
        os.kill(int(find_guardian(os.getpid())), signal.SIGKILL)
    assert governors(machine) == ["schedutil"] * 4


def find_guardian(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for pid in map(int, children):
        if b"edgefuse.device_state.restore" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("there is no guardian")


def test_a_process_at_work_is_left_alone_and_another_must_wait(machine: Path) -> None:
    with hold("performance", machine) as child:
        assert restore_abandoned() == [] and governors(machine) == ["performance"] * 4
        with pytest.raises(ToolchainError, match="another EdgeFuse"), setting("powersave", machine):
            raise AssertionError("not reached")
        child.kill()
    wait_until("the governor is back", lambda: governors(machine) == ["schedutil"] * 4 and not journals())


def test_after_another_boot_a_jetson_is_set_back_and_a_governor_is_not(
    jetson: Path, tmp_path: Path, machine: Path
) -> None:
    killed_with_its_guardian("maxn", tmp_path / "root")
    tree(machine, {"proc/sys/kernel/random/boot_id": "second"})
    assert restore_abandoned() == ["nvpmodel is 0 again"] and jetson.read_text() == "0\n"
    killed_with_its_guardian("performance", machine)
    tree(machine, {"proc/sys/kernel/random/boot_id": "third"})
    assert restore_abandoned() == [] and governors(machine) == ["performance"] * 4 and journals() == []


def test_what_the_user_has_set_otherwise_meanwhile_stays(machine: Path) -> None:
    with setting("performance", machine):
        (machine / "sys/devices/system/cpu/cpufreq/policy1/scaling_governor").write_text("ondemand\n")
    assert governors(machine) == ["schedutil", "ondemand", "schedutil", "schedutil"]


def test_what_cannot_be_set_back_is_said_and_tried_again(jetson: Path, tmp_path: Path) -> None:
    def break_it() -> None:
        program(tmp_path / "tools", "nvpmodel", 'echo "NV Power Mode: MAXN_SUPER"; echo 2')

    said = r"(?s)could not be set back.*run EdgeFuse once more"
    with pytest.raises(ToolchainError, match=said), setting("maxn", tmp_path / "root"):
        break_it()
    with pytest.raises(ToolchainError, match="could not be set back"):
        restore_abandoned()
    with watched() as found:
        pass
    assert "could not be set back" in found["remarks"][0]
    nvpmodel(tmp_path / "tools", 2)
    assert restore_abandoned() == ["nvpmodel is 0 again"]


def test_a_journal_names_no_other_file_and_no_other_program(machine: Path, tmp_path: Path) -> None:
    tree(tmp_path, {"root/sys/devices/system/cpu/cpufreq/x/scaling_governor": "mine"})
    journal_folder().mkdir(parents=True)
    for number, knob in enumerate(["../cpufreq/x", "x", "policy0/../x"]):
        change = {"knob": knob, "was": "theirs", "now": "mine"}
        text = json.dumps({"boot": "first", "root": str(machine), "changes": [change]})
        (journal_folder() / f"{number}.json").write_text(text)
    (journal_folder() / "half.json").write_text('{"boot": "fir')
    (journal_folder() / "half.json.part").write_text("")
    assert restore_abandoned() == [] and journals() == []
    assert (machine / "sys/devices/system/cpu/cpufreq/x/scaling_governor").read_text() == "mine\n"


def test_nothing_is_set_where_nothing_can_be_written_down(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    said = r"(?s)cannot be written down.*XDG_STATE_HOME"
    with pytest.raises(ToolchainError, match=said), setting("performance", machine):
        raise AssertionError("not reached")
    assert governors(machine) == ["schedutil"] * 4


def test_reading_sets_nothing(machine: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in machine.rglob("*")}
    read_state(machine)
    assert {path: path.stat().st_mtime_ns for path in machine.rglob("*")} == before
