"""What is said of two states, and that nothing is said where nothing is wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from edgefuse.device_state import read_state, remarks, watched
from tests.device_state.machines import policies, tree


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine about which there is nothing to say, with everything that can be known without a GPU."""
    monkeypatch.setenv("PATH", str(tmp_path))
    cpu, hwmon = "sys/devices/system/cpu", "sys/class/hwmon/hwmon0"
    policies(tmp_path, 4, scaling_max_freq=2201600, scaling_cur_freq=2188800)
    tree(tmp_path, {f"{cpu}/online": "0-3", f"{cpu}/present": "0-3", "proc/sys/kernel/random/boot_id": "one"})
    tree(tmp_path, {"proc/stat": "cpu 100 0 0 9 9 0 0 0", "proc/vmstat": "pswpin 5\npswpout 5\noom_kill 0"})
    tree(tmp_path, {"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB"})
    tree(tmp_path, {f"{hwmon}/name": "coretemp", f"{hwmon}/temp1_input": 61000, f"{hwmon}/temp1_crit": 100000})
    tree(tmp_path, {f"{cpu}/cpu0/thermal_throttle/core_throttle_count": 7})
    tree(tmp_path, {f"{cpu}/cpu0/thermal_throttle/package_throttle_count": 7})
    cooling = "sys/class/thermal/cooling_device0"
    tree(tmp_path, {f"{cooling}/type": "Processor", f"{cooling}/cur_state": 0, f"{cooling}/max_state": 10})
    tree(tmp_path, {"sys/class/power_supply/AC/type": "Mains", "sys/class/power_supply/AC/online": 1})
    state = read_state(tmp_path)
    state["time"] = {"clock_s": 100.0, "all_s": 50.0, "own_s": 20.0, "processors": 4}
    return state


def later(state: dict[str, Any]) -> dict[str, Any]:
    """The same machine ten seconds later, in which we used two of its four processors."""
    after = copy.deepcopy(state)
    after["time"] = {"clock_s": 110.0, "all_s": 71.0, "own_s": 40.0, "processors": 4}
    return after


def test_nothing_is_said_where_nothing_is_wrong(healthy: dict[str, Any]) -> None:
    assert remarks(healthy, later(healthy)) == []


def test_nothing_is_said_where_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    state = read_state(tmp_path)
    assert remarks(state, copy.deepcopy(state)) == []
    assert remarks({}, {}) == []


def set_all(state: dict[str, Any], **values: Any) -> None:
    for policy in state["cpu"]["policies"]:
        policy.update(values)


def jetson(state: dict[str, Any], name: str, number: int, modes: list[str], **known: Any) -> None:
    listed = [{"name": mode, "id": index} for index, mode in enumerate(modes)] or None
    state["jetson"] = {"power_mode": {"name": name, "id": number}, "power_modes": listed, **known}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: jetson(s, "15W", 2, ["MAXN", "10W", "15W"]),
            "Slow because of the power mode: 15W (mode 2), not MAXN (mode 0)",
        ),
        (lambda s: jetson(s, "7W", 1, ["15W", "7W"]), "Slow because of the power mode: 7W (mode 1), not 15W (mode 0)"),
        (
            lambda s: jetson(s, "MODE_10W_2CORE", 2, ["MODE_15W_2CORE", "MODE_15W_4CORE", "MODE_10W_2CORE"]),
            "Slow because of the power mode: MODE_10W_2CORE (mode 2); others have 15 W",
        ),
        (lambda s: jetson(s, "MODE_15W_4CORE", 1, ["MODE_15W_2CORE", "MODE_15W_4CORE"]), None),
        (lambda s: jetson(s, "MAXN", 0, []), None),
        (
            lambda s: jetson(s, "15W", 0, []),
            "The power mode is 15W (mode 0); whether there is a faster one is not known here",
        ),
        (
            lambda s: jetson(s, "MAXN", 0, [], clocks={"held": False}),
            "Less steady because the clocks may change with the load; sudo jetson_clocks holds them",
        ),
        (
            lambda s: jetson(s, "MAXN", 0, [], gpu={"limit_max_mhz": 612.0, "max_mhz": 918.0}),
            "The GPU is limited to 612 of 918 MHz",
        ),
        (
            lambda s: set_all(s, governor="powersave"),
            "Slow because the CPU governor is powersave: it holds the lowest frequency",
        ),
        (lambda s: set_all(s, governor="powersave", driver="intel_pstate", preference="balance_performance"), None),
        (
            lambda s: set_all(s, governor="powersave", driver="intel_pstate", preference="power"),
            "Slow because the CPU prefers saving power (energy_performance_preference)",
        ),
        (lambda s: set_all(s, limit_max_mhz=1200.0, current_mhz=1200.0), "The CPU is limited to 1.2 of 2.2 GHz"),
        (
            lambda s: s["cpu"]["policies"][0].update(limit_max_mhz=1200.0),
            "The CPU is limited to 1.2 of 2.2 GHz on 1 of 4 frequency domains",
        ),
        (lambda s: set_all(s, current_mhz=1200.0), "The CPU ran at 1.2 of 2.2 GHz"),
        (lambda s: s["cpu"]["policies"][0].update(current_mhz=800.0), None),
        (lambda s: s["cpu"].update(online="0,2-3"), "1 of 4 processors are switched off"),
        (
            lambda s: s["thermal"]["throttled"].update(cores=12),
            "The CPU slowed itself down 5 times meanwhile: it was too hot",
        ),
        (
            lambda s: s["thermal"].update(slowed_by=[{"name": "Processor", "state": 2, "max_state": 10}]),
            "The kernel holds clocks down because of the temperature (Processor)",
        ),
        (lambda s: s["thermal"]["zones"][0].update(celsius=96.0), "coretemp temp1 is at 96 °C, its limit is 100 °C"),
        (
            lambda s: s["thermal"]["zones"].append({"name": "PMIC-Die", "celsius": 100.0, "limit_celsius": 100.0}),
            None,
        ),
        (lambda s: s["time"].update(all_s=83.0), "Others used 32% of the processors meanwhile"),
        (
            lambda s: s["swapping"].update(swapped_out_pages=5 + 512),
            "Slow because of swapping: 2.0 MiB went to or from the disk meanwhile",
        ),
        (lambda s: s["swapping"].update(killed=1), "The kernel ended 1 process meanwhile for want of memory"),
        (lambda s: s["memory"].update(available_mib=80.0), "Memory is nearly full: 80 of 7812 MiB are left"),
        (
            lambda s: s.update(nvidia=[{"name": "T4", "sm_mhz": 900.0, "sm_max_mhz": 1590.0, "slowed_by": ["heat"]}]),
            "The GPU (T4) is slowed down at 900 of 1590 MHz by heat",
        ),
        (lambda s: s.update(nvidia=[{"name": "T4", "slowed_by": []}]), None),
        (
            lambda s: s.update(supply={"mains": False, "battery": {"status": "Discharging", "percent": 40}}),
            "It runs on its battery (40 %)",
        ),
    ],
)
def test_what_is_wrong_is_said(healthy: dict[str, Any], change: Any, said: str | None) -> None:
    after = later(healthy)
    change(after)
    assert remarks(healthy, after) == ([said] if said else [])


def test_a_jetsons_over_current_is_said_by_its_kind(healthy: dict[str, Any]) -> None:
    healthy["thermal"]["over_current"] = {"under-voltage": 0, "average over-current": 3}
    after = later(healthy)
    after["thermal"]["over_current"] = {"under-voltage": 0, "average over-current": 4}
    assert remarks(healthy, after) == ["The board slowed itself down once meanwhile: average over-current"]


def test_counters_of_another_boot_are_not_compared(healthy: dict[str, Any]) -> None:
    after = later(healthy)
    after["thermal"]["throttled"] = {"cores": 99, "packages": 99}
    after["boot_id"] = "two"
    assert remarks(healthy, after) == []


def test_a_changed_power_mode_is_said(healthy: dict[str, Any]) -> None:
    jetson(healthy, "15W", 1, ["MAXN", "15W"])
    after = later(healthy)
    jetson(after, "MAXN", 0, ["MAXN", "15W"])
    assert remarks(healthy, after) == ["The power mode changed meanwhile, from 15W to MAXN"]


def test_others_work_is_told_apart_from_ours() -> None:
    with watched() as alone:
        sum(number * number for number in range(3_000_000))
    own = alone["after"]["time"]["own_s"] - alone["before"]["time"]["own_s"]
    assert own > 0.05 and set(alone) == {"before", "after", "remarks"}


def test_another_machines_state_is_read_by_what_is_given() -> None:
    asked = iter([{"boot_id": "x", "swapping": {"killed": 0}}, {"boot_id": "x", "swapping": {"killed": 2}}])
    with watched(lambda: next(asked)) as found:
        assert set(found) == {"before"}
    assert found["remarks"] == ["The kernel ended 2 processes meanwhile for want of memory"]
