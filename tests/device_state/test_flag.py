"""``edgefuse check`` with the device's state, in the machine's own power mode and in another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.device_state.machines import nvpmodel


def test_a_check_tells_the_state_before_and_after_and_the_energy_or_why_not(cli: Any, tiny_bundle: Path) -> None:
    report = json.loads(cli("check", tiny_bundle, "--json", "-q").out)
    state = report["device_state"]
    before, after = state["before"], state["after"]
    assert before["boot_id"] == after["boot_id"] and after["time"]["clock_s"] > before["time"]["clock_s"]
    assert state["energy"]["joules"] is not None or state["energy"]["joules_reason"]


def test_a_compiled_bundle_tells_it_too(tiny_bundle: Path) -> None:
    report = json.loads((tiny_bundle / "report.json").read_text())
    assert set(report["device_state"]) == {"before", "after", "remarks"}
    assert "The device while it was measured" in (tiny_bundle / "report.html").read_text()


def test_the_flag_sets_the_mode_while_it_measures_and_sets_it_back(
    cli: Any, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = nvpmodel(tmp_path / "tools", 0)
    monkeypatch.setenv("PATH", str(tmp_path / "tools"), prepend=":")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    seen: list[str] = []
    monkeypatch.setattr("edgefuse.recheck.measure_energy", lambda call: seen.append(mode.read_text()))
    found = cli("check", tiny_bundle, "--power-mode", "2", "-q")
    assert found.code == 0 and seen == ["2\n"] and mode.read_text() == "0\n", found.err
    assert list((tmp_path / "state/edgefuse/power-modes").iterdir()) == []


def test_a_machine_without_that_mode_is_told_before_anything_is_measured(cli: Any, tiny_bundle: Path) -> None:
    found = cli("check", tiny_bundle, "--power-mode", "turbo", "-q")
    assert found.code == 2 and "power mode" in found.err and found.out == ""
