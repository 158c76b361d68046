"""A place in a real labgrid lab on loopback: coordinator, exporter and OpenSSH."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgefuse.errors import DeviceBusyError, UnreachableError
from edgefuse.remote import connect
from edgefuse.remote.lab import _resolved
from tests.remote.rig import Rig, eventually, fault
from tests.remote.ssh_place import SshPlace

PROGRAMS = Path(sys.executable).parent
EXPORTED = """board-group:
  NetworkService:
    address: 127.0.0.1
    username: {user}
    port: {port}
"""


class Lab:
    """A coordinator at ``coordinator``, which knows a place "board" that nobody has acquired."""

    def __init__(self, folder: Path, coordinator: str) -> None:
        self.folder, self.coordinator = folder, coordinator
        self.environment = {**os.environ, "LG_COORDINATOR": coordinator}

    def start(self, stack: ExitStack, program: str, *arguments: str) -> None:
        log = stack.enter_context((self.folder / f"{program}.log").open("wb"))
        command = [str(PROGRAMS / program), *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        stack.callback(process.wait)
        stack.callback(process.terminate)

    def client(self, *arguments: str) -> str:
        command = [str(PROGRAMS / "labgrid-client"), "-p", "board", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def has_the_board(self) -> bool:
        return "NetworkService" in self.client("resources")


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["direct", "through its exporter"])
def isolated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def lab(tmp_path: Path, openssh: SshPlace, isolated: bool) -> Iterator[Lab]:
    if not (PROGRAMS / "labgrid-coordinator").exists():
        pytest.skip("labgrid is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    lab = Lab(tmp_path, coordinator)
    (tmp_path / "exporter.yaml").write_text(EXPORTED.format(user=openssh.user, port=openssh.port))
    with ExitStack() as stack:
        lab.start(stack, "labgrid-coordinator", "-l", coordinator)
        assert eventually(lambda: _answers(lab), 20.0), _logs(tmp_path)
        flags = ["--hostname", "localhost", *(["--isolated"] if isolated else [])]
        lab.start(stack, "labgrid-exporter", "-c", coordinator, "-n", "desk", *flags, "exporter.yaml")
        assert eventually(lab.has_the_board, 20.0), _logs(tmp_path)
        lab.client("create")
        lab.client("add-match", "*/board-group/*")
        _resolved.cache_clear()
        yield lab


def _answers(lab: Lab) -> bool:
    host, _, port = lab.coordinator.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.glob("*.log"))


def test_a_place_is_a_device_once_it_is_ours(lab: Lab, rig: Rig, isolated: bool) -> None:
    address = f"labgrid:board?coordinator={lab.coordinator}&python={rig.python}"
    with pytest.raises(DeviceBusyError, match="not acquired") as caught, connect(address):
        pass
    assert "labgrid-client -p board acquire" in caught.value.hint
    with pytest.raises(UnreachableError, match="nowhere"), connect(address.replace("board", "nowhere")):
        pass
    lab.client("acquire")
    with connect(address) as device:
        assert fault(device, "echo", value=1).value == 1
        assert device.address.text == address
    words = lab_command(address)
    assert ("-J" in words) == isolated
    rig.assert_clean()
    lab.client("release")


def lab_command(address: str) -> list[str]:
    from edgefuse.remote import lab, parse_address

    return lab.command(parse_address(address), ("true",))[0]


def test_a_lab_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(UnreachableError) as caught, connect("labgrid:board?coordinator=127.0.0.1:1"):
        pass
    assert "labgrid-client places" in caught.value.hint
