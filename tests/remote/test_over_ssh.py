"""EdgeFuse's ssh transport against real servers, and a device without torch behind them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgefuse.errors import (
    AuthenticationError,
    DeviceBusyError,
    MissingRuntimeError,
    UnreachableError,
    VersionMismatchError,
)
from edgefuse.remote import connect
from tests.remote.asyncssh_server import AsyncsshServer
from tests.remote.ssh_place import SshPlace

MIB = 1 << 20


@pytest.fixture(params=["openssh", "asyncssh_server"])
def server(request: pytest.FixtureRequest) -> SshPlace:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SshPlace)
    return found


def test_a_bundle_is_judged_on_a_device_without_torch(
    server: SshPlace, torch_free_python: Path, tiny_bundle: Path
) -> None:
    with connect(server.address(python=str(torch_free_python))) as device:
        packages = device.about["environment"]["packages"]
        assert "openvino" in packages and {"torch", "onnx"}.isdisjoint(packages)
        bundle = device.put_bundle(tiny_bundle)
        report = device.ask("check", {"bundle": bundle}).value
    assert report["accuracy"][0]["verdict"] == "pass" and report["accuracy"][0]["samples"] == 60
    assert report["environment"]["packages"] == packages


def test_what_is_there_is_not_sent_again(
    asyncssh_server: AsyncsshServer, torch_free_python: Path, tiny_bundle: Path
) -> None:
    address = asyncssh_server.address(python=str(torch_free_python))
    with connect(address) as device:
        first = device.put_bundle(tiny_bundle)
    asyncssh_server.drop_after = (tiny_bundle / "golden.npz").stat().st_size
    with connect(address) as device:
        assert device.put_bundle(tiny_bundle) == first
    assert asyncssh_server.drop_after is not None, "fewer bytes went there than the largest file has"


def test_a_dropped_upload_leaves_nothing_half_done_and_a_second_try_succeeds(
    asyncssh_server: AsyncsshServer, torch_free_python: Path, tmp_path: Path
) -> None:
    address = asyncssh_server.address(python=str(torch_free_python))
    large = tmp_path / "large.bin"
    large.write_bytes(np.random.default_rng(0).bytes(8 * MIB))
    asyncssh_server.drop_after = 3 * MIB
    with pytest.raises(UnreachableError, match="the connection broke"), connect(address) as device:
        device.put_file(large)
    store = asyncssh_server.folder / "cache" / "edgefuse" / "worker"
    assert _soon_gone(store / "work") and list((store / "files").iterdir()) == []
    with connect(address) as device:
        digest = device.put_file(large)
        assert (store / "files" / digest).read_bytes() == large.read_bytes()


def _soon_gone(folder: Path) -> bool:
    """The worker sees the end of its input, and cleans up behind itself."""
    end = time.monotonic() + 10.0
    while any(folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(folder.iterdir())


def test_a_refused_key_and_another_host_key_are_errors_of_authentication(server: SshPlace) -> None:
    server.refuse_keys()
    with pytest.raises(AuthenticationError, match="Permission denied"), connect(server.address()):
        pass
    server.accept_keys()
    server.take_for_another()
    with (
        pytest.raises(AuthenticationError, match=r"Host key verification failed|HAS CHANGED"),
        connect(server.address()),
    ):
        pass


def test_a_device_that_is_off_is_unreachable(openssh: SshPlace) -> None:
    nobody = openssh.address().replace(f":{openssh.port}", ":1")
    with pytest.raises(UnreachableError, match="refused"), connect(nobody):
        pass


@pytest.mark.parametrize(
    ("python", "error", "told"),
    [
        ("/there/is/none", MissingRuntimeError, "there is no /there/is/none"),
        ("/bin/false", MissingRuntimeError, "exit code 1"),
        ("/usr/bin/python3 -S -I", MissingRuntimeError, "there is no"),  # one word, never a piece of shell
    ],
)
def test_a_device_without_edgefuse_says_what_is_missing(
    server: SshPlace, python: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told), connect(server.address(python=python)):
        pass


def test_an_interpreter_without_edgefuse_is_told_from_an_old_edgefuse(openssh: SshPlace, tmp_path: Path) -> None:
    bare, old = tmp_path / "bare", tmp_path / "old"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    (tmp_path / "edgefuse").mkdir()
    (tmp_path / "edgefuse" / "__init__.py").touch()
    old.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} -S "$@"\n')
    for script in (bare, old):
        script.chmod(0o755)
    with pytest.raises(MissingRuntimeError, match="no module 'edgefuse'"), connect(openssh.address(python=str(bare))):
        pass
    with pytest.raises(VersionMismatchError, match="older"), connect(openssh.address(python=str(old))):
        pass


def test_two_users_at_once_the_second_is_told_who_has_it(openssh: SshPlace, torch_free_python: Path) -> None:
    address = openssh.address(python=str(torch_free_python))
    with (
        connect(address, owner="first@here"),
        pytest.raises(DeviceBusyError, match="first@here"),
        connect(address, owner="second@here"),
    ):
        pass
    with connect(address, owner="second@here") as device:
        assert device.about["pid"]
