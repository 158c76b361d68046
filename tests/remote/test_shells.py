"""What a login shell, a home folder and a user's SSH configuration may do to a worker behind a real OpenSSH server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from edgefuse.errors import MissingToolError, UnreachableError, UsageError
from edgefuse.remote import connect
from edgefuse.remote.doctor import examine_device
from tests.remote.rig import Rig, eventually, fault
from tests.remote.ssh_place import SshPlace


def test_a_path_with_a_space_and_one_below_the_home_are_found(openssh: SshPlace, rig: Rig) -> None:
    assert " " in str(rig.python)
    below = os.path.relpath(rig.python, Path.home())
    for python in (str(rig.python), f"~/{below}"):
        with connect(openssh.address(python=python)) as device:
            assert fault(device, "echo", value=1).value == 1
    rig.assert_clean()


def test_what_lies_in_the_home_is_not_imported(openssh: SshPlace, rig: Rig) -> None:
    home = rig.folder / "home"
    home.mkdir()
    for name in ("json", "numpy", "selectors", "errors"):
        (home / f"{name}.py").write_text("raise SystemExit('a file of the user')")
    python = rig.script("at home", f'cd {home}; exec {sys.executable} "$@"')
    with connect(openssh.address(python=str(python))) as device:
        assert fault(device, "echo", value=1).value == 1


def test_a_shell_that_greets_on_both_streams_is_listened_past(openssh: SshPlace, rig: Rig) -> None:
    python = rig.script("motd", f'echo Welcome; echo Warning >&2; exec {sys.executable} "$@"')
    with connect(openssh.address(python=str(python))) as device:
        assert fault(device, "echo", value=1).value == 1


def test_a_configuration_for_other_purposes_is_no_obstacle(openssh: SshPlace, rig: Rig) -> None:
    """Forwarded ports that are in use, a terminal, a command of the user's own."""
    config = openssh.folder / "config"
    extra = "    RequestTTY force\n    RemoteCommand tmux attach\n    ExitOnForwardFailure yes\n"
    config.write_text(config.read_text() + extra + f"    LocalForward {openssh.port} localhost:1\n")
    with connect(openssh.address(python=str(rig.python))) as device:
        assert fault(device, "echo", value=bytes(range(128)).decode()).value == bytes(range(128)).decode()


@pytest.mark.parametrize("ssh", ["/there/is/no/ssh -v", " "])
def test_no_client_is_a_missing_tool(openssh: SshPlace, monkeypatch: pytest.MonkeyPatch, ssh: str) -> None:
    monkeypatch.setenv("EDGEFUSE_SSH", ssh)
    with pytest.raises(MissingToolError, match="there is no") as caught, connect(openssh.address()):
        pass
    assert "openssh-client" in caught.value.hint


def test_a_client_that_is_no_command_is_the_user_s_mistake(openssh: SshPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFUSE_SSH", "ssh -F 'lab.config")
    with pytest.raises(UsageError, match="No closing quotation"), connect(openssh.address()):
        pass


def test_doctor_names_commands_for_the_user_s_own_client(openssh: SshPlace) -> None:
    found = {item.name: item for item in examine_device(openssh.address(python="/there/is/none"))}
    assert found["python"].ok and "Linux" in found["system"].text
    assert found["edgefuse"].cure.startswith(f"{openssh.ssh} -p {openssh.port} {openssh.user}@127.0.0.1 '")


def test_doctor_does_not_say_of_a_mute_shell_that_it_has_no_python(openssh: SshPlace) -> None:
    """An account that may not log in, say."""
    keys = openssh.folder / "authorized_keys"
    keys.write_text(f'command="exit 3" {keys.read_text()}')
    found = {item.name: item for item in examine_device(openssh.address())}
    assert "python" not in found and found["edgefuse"].ok is False
    assert found["edgefuse"].cure.endswith("127.0.0.1 uname")


def test_a_client_that_is_killed_is_a_broken_connection_and_the_device_is_clean(openssh: SshPlace, rig: Rig) -> None:
    address = openssh.address(python=str(rig.python))
    with connect(address) as device:
        fault(device, "pid")
        os.kill(device._link.process.pid, signal.SIGKILL)
        with pytest.raises(UnreachableError, match="the connection broke"):
            fault(device, "sleep", seconds=60)
    rig.assert_clean()
    with connect(address) as device:
        assert fault(device, "echo", value=1).value == 1


def test_a_hung_job_is_killed_behind_ssh_too(openssh: SshPlace, rig: Rig, tmp_path: Path) -> None:
    from edgefuse.errors import TimeLimitError

    with connect(openssh.address(python=str(rig.python))) as device:
        with pytest.raises(TimeLimitError):
            fault(device, "hang", timeout_s=2.0, pids=str(tmp_path / "pids"))
        assert eventually(lambda: len(rig.processes()) == 1), "the worker alone"
    rig.assert_clean()
