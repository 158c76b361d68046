"""A device on which the worker does not start, or another one does, says what it lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgefuse.errors import (
    MissingRuntimeError,
    ToolchainError,
    VersionMismatchError,
)
from edgefuse.remote import connect
from edgefuse.remote import link as link_module
from edgefuse.version import __version__
from edgefuse.worker.wire import MAGIC, PREFIX
from tests.remote.rig import Rig, eventually, fault


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("exit 3", MissingRuntimeError, "exit code 3"),
        ("echo 'Please change your password' >&2; exit 1", MissingRuntimeError, "change your password"),
        ("kill -SEGV $$", MissingRuntimeError, "killed by SIGSEGV"),
        ('exec PYTHON -S -E -I "$@"', MissingRuntimeError, "no module 'edgefuse'"),
        ('PYTHONPATH=ROOT exec PYTHON -S "$@"', MissingRuntimeError, "no module 'numpy'"),
        ("yes", MissingRuntimeError, "last said: y"),
        ("exec 1>&-; sleep 600", MissingRuntimeError, "does not answer"),
    ],
)
def test_a_device_without_a_runtime_says_what_it_lacks(rig: Rig, text: str, error: type[Exception], told: str) -> None:
    root = str(Path(__file__).resolve().parents[2])
    python = rig.script("broken", text.replace("PYTHON ", f"{sys.executable} ").replace("ROOT", root))
    with pytest.raises(error, match=told) as caught, connect(f"local?python={python}"):
        pass
    assert caught.value.hint  # type: ignore[attr-defined]
    assert eventually(lambda: not rig.processes())


def test_a_worker_that_never_greets_is_not_waited_for_for_ever(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "GREETING_S", 0.5)
    python = rig.script("silent", "exec sleep 600")
    with pytest.raises(MissingRuntimeError, match="does not answer"), connect(f"local?python={python}"):
        pass
    assert eventually(lambda: not rig.processes())


def test_a_greeting_of_the_login_shell_is_no_frame(rig: Rig) -> None:
    banner = rig.script(
        "banner", f"echo 'Welcome to Ubuntu \\033[1m'; head -c 3000 /dev/urandom | base64; exec {sys.executable} \"$@\""
    )
    with connect(f"local?python={banner}") as device:
        assert fault(device, "echo", value=1).value == 1


@pytest.mark.parametrize("hello", ['{"hello": {"protocol": 2, "edgefuse": "9.9"}}', '{"hello": 3}', "{}"])
def test_another_protocol_is_another_version_and_names_both(rig: Rig, hello: str) -> None:
    frame = PREFIX.pack(MAGIC, len(hello), 0) + hello.encode()
    python = rig.folder / "newer"
    python.write_text(f"#!{sys.executable}\nimport os\nos.write(1, {frame!r})\n")
    python.chmod(0o755)
    told = f"EdgeFuse {__version__} here speaks 1"
    with pytest.raises(VersionMismatchError, match=told) as caught, connect(f"local?python={python}"):
        pass
    assert f"edgefuse=={__version__}" in caught.value.hint


def test_a_path_is_relative_to_where_the_user_is(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rig.folder)
    with connect("local?python=./a python") as device:
        assert fault(device, "echo", value=1).value == 1


def test_a_device_whose_cache_cannot_be_written_says_where(rig: Rig) -> None:
    rig.cache.write_text("a file where a folder should be")
    with pytest.raises(ToolchainError, match="cache"), rig.connect():
        pass
    assert not rig.is_locked() and not rig.processes()
