"""The jobs ``state`` and ``power_mode``, by a real worker of this machine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgefuse.errors import UsageError
from edgefuse.remote import connect
from tests.device_state.machines import nvpmodel


def test_the_state_of_a_connected_machine() -> None:
    with connect("local") as device:
        state = device.ask("state", {}).value
    assert state["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_connection_that_ends_sets_the_power_mode_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path / "tools"), prepend=":")
    mode = nvpmodel(tmp_path / "tools", 0)
    with connect("local") as device:
        changes = device.ask("power_mode", {"power_mode": "2"}).value
        assert changes == [{"knob": "nvpmodel", "was": "0", "now": "2"}] and mode.read_text() == "2\n"
        assert device.ask("power_mode", {"power_mode": None}).value == [] and mode.read_text() == "0\n"
        with pytest.raises(UsageError, match="'turbo'"):
            device.ask("power_mode", {"power_mode": "turbo"})
        device.ask("power_mode", {"power_mode": "1"})
        assert mode.read_text() == "1\n"
    end = time.monotonic() + 20
    while mode.read_text() != "0\n":
        assert time.monotonic() < end
        time.sleep(0.05)
