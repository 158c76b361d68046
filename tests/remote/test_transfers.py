"""Files go there once and come back whole, in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgefuse.errors import (
    InputError,
    ToolchainError,
    UsageError,
)
from tests.remote.rig import Rig, fault

MIB = 1 << 20


def test_a_bundle_is_sent_once_and_found_as_it_was(rig: Rig, tiny_bundle: Path) -> None:
    names = {path.relative_to(tiny_bundle).as_posix() for path in tiny_bundle.rglob("*") if path.is_file()}
    sent: list[str] = []
    with rig.connect() as device:
        send, device._send = device._send, lambda digest, *rest: (sent.append(digest), send(digest, *rest))[1]  # type: ignore[method-assign]
        key = device.put_bundle(tiny_bundle)
        assert set(fault(device, "remember", key=key).value) == names
        first = len(sent)
        assert first > 2 and device.put_bundle(tiny_bundle) == key and len(sent) == first
    with rig.connect() as device:
        device._send = lambda *_: pytest.fail("it is there")  # type: ignore[method-assign]
        assert device.put_bundle(tiny_bundle) == key
    rig.assert_clean()


def test_a_folder_and_a_file_keep_their_names(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a b.mcap").write_bytes(b"1")
    (folder / "empty").write_bytes(b"")
    with rig.connect() as device:
        key = device.put_folder(folder)
        assert sorted(fault(device, "remember", key=key).value) == ["deep/a b.mcap", "empty"]
        key = device.put_folder(folder / "deep" / "a b.mcap")
        assert fault(device, "remember", key=key).value == ["a b.mcap"]
        with pytest.raises(InputError, match="no such"):
            device.put_folder(tmp_path / "nothing")


def test_what_a_job_made_comes_back(rig: Rig, tmp_path: Path) -> None:
    sizes = {"a": 0, "deep/b": 3 * MIB + 1}
    with rig.connect() as device:
        key = fault(device, "make", files=sizes).value
        device.fetch(key, tmp_path / "to")
        device.fetch(f"{key}/deep/b", tmp_path / "single")
        with pytest.raises(UsageError, match="no result"):
            device.fetch("made-99", tmp_path / "to")
        with pytest.raises(UsageError, match="outside"):
            device.fetch("../../files", tmp_path / "to")
    found = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*") if path.is_file()}
    assert found == set(sizes) and (tmp_path / "to" / "deep" / "b").stat().st_size == 3 * MIB + 1
    assert (tmp_path / "single").read_bytes() == (tmp_path / "to" / "deep" / "b").read_bytes()


def test_a_file_that_changes_or_shrinks_while_it_is_sent_is_refused(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * MIB))
    with rig.connect() as device:
        for change in (b"x" * 3 * MIB, b"short"):
            digest = "0" * 64
            path.write_bytes(change)
            with pytest.raises(ToolchainError, match="SHA-256 differs"):
                device._send(digest, 3 * MIB, path)
        assert fault(device, "echo", value=1).value == 1
        assert not list(rig.store.rglob("*.part"))


def test_large_files_need_little_memory_at_both_ends(rig: Rig, tmp_path: Path) -> None:
    _moves_in_little_memory(rig, tmp_path, 200)


def _moves_in_little_memory(rig: Rig, tmp_path: Path, megabytes: int) -> None:
    """The client is a process of its own, whose peak is its own too."""
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(megabytes * MIB)
    code = """if True:
        import pathlib, resource, sys
        from edgefuse.remote import connect
        def peak(pid):
            return int(pathlib.Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
        with connect(sys.argv[1]) as device:
            start = peak("self"), peak(device._link.hello["pid"])
            device.put_file(pathlib.Path(sys.argv[2]))
            print(peak("self") - start[0], peak(device._link.hello["pid"]) - start[1])
        """
    # no shell in between: the pid of the greeting is the worker's own
    environment = {**os.environ, **rig.environment}
    done = subprocess.run(
        [sys.executable, "-c", code, "local", str(path)], env=environment, capture_output=True, text=True, check=True
    )
    assert max(map(int, done.stdout.split())) < 30, done.stdout
    assert next((rig.store / "files").iterdir()).stat().st_size == megabytes * MIB
    rig.assert_clean()
