"""The servers and the device that the other tests rely on do what they are said to do; by the OpenSSH client itself."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import time
from pathlib import Path

import asyncssh
import pytest

from tests.remote.asyncssh_server import AsyncsshServer
from tests.remote.ssh_place import HOST, SshPlace

Finished = subprocess.CompletedProcess[bytes]


@pytest.fixture(params=["openssh", "asyncssh_server"])
def server(request: pytest.FixtureRequest) -> SshPlace:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SshPlace)
    return found


def ssh(command: str, given: bytes = b"") -> Finished:
    """As EdgeFuse's transport calls it."""
    words = [*shlex.split(os.environ["EDGEFUSE_SSH"]), "-T", "-o", "BatchMode=yes", "device", command]
    return subprocess.run(words, input=given, capture_output=True, timeout=60, check=False)


def test_a_command_runs_with_binary_streams_and_its_exit_status(server: SshPlace) -> None:
    every_byte = bytes(range(256)) * 1000
    done = ssh("cat; echo gone wrong >&2; exit 7", every_byte)
    assert (done.returncode, done.stdout, done.stderr) == (7, every_byte, b"gone wrong\n")


def test_a_command_that_dies_of_a_signal_is_ssh_s_own_failure(server: SshPlace) -> None:
    assert ssh("kill -9 $$").returncode == 255


def test_the_device_has_a_cache_folder_of_its_own(server: SshPlace) -> None:
    assert ssh('printf "%s" "$XDG_CACHE_HOME"').stdout.decode() == str(server.folder / "cache")


def test_a_refused_key_and_a_changed_host_are_seen_and_set_right_again(server: SshPlace) -> None:
    server.refuse_keys()
    refused = ssh("true")
    assert refused.returncode == 255 and b"Permission denied" in refused.stderr
    server.accept_keys()
    server.take_for_another()
    changed = ssh("true")
    assert changed.returncode == 255 and b"Host key verification failed" in changed.stderr
    server.listens_at(server.port)
    assert ssh("true").returncode == 0


def test_a_connection_is_dropped_after_so_many_bytes_and_only_once(
    asyncssh_server: AsyncsshServer, tmp_path: Path
) -> None:
    received = tmp_path / "received"
    asyncssh_server.drop_after = 300_000
    done = ssh(f"cat > {received}; echo ended > {received}.end", bytes(5_000_000))
    assert done.returncode == 255
    assert ssh(f"while [ ! -e {received}.end ]; do sleep 0.02; done").returncode == 0, "the input's end was seen there"
    assert received.stat().st_size == 300_000
    assert ssh("wc -c", bytes(5_000_000)).stdout.split() == [b"5000000"]


def test_what_a_command_started_can_be_ended_as_a_group(server: SshPlace, tmp_path: Path) -> None:
    assert ssh(f"(sleep 1; touch {tmp_path}/left) & kill -TERM -$$; sleep 30").returncode == 255
    time.sleep(1.2)
    assert not (tmp_path / "left").exists()


def test_a_client_s_signal_reaches_the_command(asyncssh_server: AsyncsshServer) -> None:
    async def signalled() -> tuple[str, ...] | None:
        keys, known = [str(asyncssh_server.folder / "client_key")], str(asyncssh_server.folder / "known_hosts")
        where = {"host": HOST, "port": asyncssh_server.port, "client_keys": keys, "known_hosts": known, "config": None}
        async with asyncssh.connect(**where) as connection:
            process = await connection.create_process("echo ready; exec sleep 30")
            await process.stdout.readline()
            process.send_signal("INT")
            return (await process.wait(timeout=10)).exit_signal

    ended_by = asyncio.run(signalled())
    assert ended_by is not None and ended_by[0] == "INT"


def test_the_device_has_edgefuse_from_its_wheel_and_nothing_of_the_workstation(torch_free_python: Path) -> None:
    code = (
        "import importlib.util as u, json, edgefuse, numpy, openvino; names = 'torch onnx onnxruntime nncf pytest'\n"
        "print(json.dumps([edgefuse.__file__, [n for n in names.split() if u.find_spec(n)]]))"
    )
    done = subprocess.run([torch_free_python, "-c", code], capture_output=True, text=True, cwd="/", check=True)
    file, found = json.loads(done.stdout)
    assert Path(file).is_relative_to(torch_free_python.parent.parent) and found == []
