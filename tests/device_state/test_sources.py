"""Files of sysfs and procfs, nvidia-smi, and the state of this very machine."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from edgefuse.device_state import read_state
from edgefuse.device_state.cpu import read_cpu
from edgefuse.device_state.memory import parse_meminfo, parse_vmstat
from edgefuse.device_state.nvidia import parse_query, read_nvidia, reasons_of
from edgefuse.device_state.rapl import read_rapl, used_uj
from edgefuse.device_state.reading import Unreadable
from edgefuse.device_state.supply import read_supply
from edgefuse.device_state.system import parse_stat
from edgefuse.device_state.thermal import read_thermal
from tests.device_state.machines import policies, printer, program, recorded, tree

CPU = "sys/devices/system/cpu"
THERMAL = "sys/class/thermal"


def reasons_missing(state: object, where: str = "") -> list[str]:
    """Paths of null values that have no reason beside them."""
    if isinstance(state, list):
        return [found for item in state for found in reasons_missing(item, f"{where}[]")]
    if not isinstance(state, dict):
        return []
    bare = [f"{where}.{key}" for key, value in state.items() if value is None and not state.get(f"{key}_reason")]
    return bare + [found for key, value in state.items() for found in reasons_missing(value, f"{where}.{key}")]


def test_this_machine_is_read_quickly_and_says_why_it_cannot_tell_something() -> None:
    start = time.perf_counter()
    state = read_state()
    if state["nvidia"] is None and state["jetson"] is None:
        assert time.perf_counter() - start < 0.3
    assert state == json.loads(json.dumps(state))
    assert state["kernel"] == os.uname().release and state["uptime_s"] > 0
    assert 0 < state["memory"]["available_mib"] <= state["memory"]["total_mib"]
    assert state["time"]["all_s"] > 0
    groups = {key: value for key, value in state.items() if key not in ("cpu", "thermal")}
    assert reasons_missing(groups) == []


def test_an_empty_machine_is_all_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    state = read_state(tmp_path)
    assert reasons_missing(state) == []
    for name in ("kernel", "boot_id", "memory", "rapl", "supply", "nvidia", "jetson"):
        assert state[name] is None
    assert state["nvidia_reason"] == "nvidia-smi is not installed"
    assert state["cpu"]["policies"] is None and "no frequency scaling here" in state["cpu"]["policies_reason"]


def test_what_reads_otherwise_is_a_reason_too(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/uptime": "", "proc/loadavg": "a b c", "proc/stat": "intr 1", "proc/meminfo": "?"})
    state = read_state(tmp_path)
    for found, name in ((state, "uptime_s"), (state, "load"), (state["time"], "all_s"), (state, "memory")):
        assert found[name] is None and found[f"{name}_reason"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_for_root_alone_says_so(tmp_path: Path) -> None:
    rapl(tmp_path, "intel-rapl:0", "package-0", 1)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0)
    assert "root only" in read_rapl(tmp_path)["rapl_reason"]


def test_the_time_of_processors_at_work_leaves_idle_disks_and_the_hypervisor_out() -> None:
    assert parse_stat("cpu  100 20 30 4000 500 6 7 800 90 10\ncpu0 1 1 1 1 1 1 1\n") == 100 + 20 + 30 + 6 + 7


def test_memory_is_told_in_mib() -> None:
    swap = "SwapTotal: 2048 kB\nSwapFree: 1024 kB"
    found = parse_meminfo(f"MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\n{swap}")
    assert found == {"total_mib": 8192, "available_mib": 4096, "swap_total_mib": 2, "swap_used_mib": 1}
    assert parse_vmstat("pgpgin 9\npswpin 3\npswpout 4\n") == {"swapped_in_pages": 3, "swapped_out_pages": 4}


def test_frequencies_and_their_limits(tmp_path: Path) -> None:
    policies(tmp_path, 11, governor="powersave", scaling_max_freq=1200000)
    (tmp_path / CPU / "cpufreq/policy3/scaling_governor").unlink()
    found = read_cpu(tmp_path)["policies"]
    assert [item["policy"] for item in found] == [f"policy{number}" for number in range(11)]
    assert (found[0]["limit_max_mhz"], found[0]["max_mhz"], found[0]["current_mhz"]) == (1200, 2201.6, 2188.8)
    assert found[3]["governor"] is None and "scaling_governor" in found[3]["governor_reason"]


def test_the_limit_of_a_temperature_is_where_something_is_slowed_down(tmp_path: Path) -> None:
    zone = f"{THERMAL}/thermal_zone0"
    tree(tmp_path, {f"{zone}/type": "cpu-thermal", f"{zone}/temp": 71500})
    trips = [("active", 50000), ("passive", 99000), ("critical", 104500), ("passive", 0), ("hot", -273000)]
    for number, (kind, millidegrees) in enumerate(trips):
        tree(tmp_path, {f"{zone}/trip_point_{number}_type": kind, f"{zone}/trip_point_{number}_temp": millidegrees})
    tree(tmp_path, {f"{THERMAL}/thermal_zone1/type": "cv0-thermal"})  # powered down: it has no temp that reads
    hwmon = "sys/class/hwmon/hwmon2"
    tree(tmp_path, {f"{hwmon}/name": "coretemp", f"{hwmon}/temp1_input": 88000, f"{hwmon}/temp1_crit": 100000})
    tree(tmp_path, {f"{hwmon}/temp1_label": "Package id 0", "sys/class/hwmon/hwmon1/name": "nvme"})
    assert read_thermal(tmp_path)["zones"] == [
        {"name": "cpu-thermal", "celsius": 71.5, "limit_celsius": 99.0},
        {"name": "coretemp Package id 0", "celsius": 88.0, "limit_celsius": 100.0},
    ]


def test_a_throttling_counter_is_counted_once_a_core_and_once_a_package(tmp_path: Path) -> None:
    for cpu, core in enumerate((0, 1, 0, 1)):  # two cores of two threads
        files = {"topology/physical_package_id": 0, "topology/core_id": core}
        counts = {"thermal_throttle/core_throttle_count": 5 + core, "thermal_throttle/package_throttle_count": 9}
        tree(tmp_path, {f"{CPU}/cpu{cpu}/{name}": value for name, value in {**files, **counts}.items()})
    assert read_thermal(tmp_path)["throttled"] == {"cores": 5 + 6, "packages": 9}


def test_what_the_kernel_slows_down_and_a_jetsons_over_current(tmp_path: Path) -> None:
    for number, (kind, state) in enumerate([("pwm-fan", 3), ("gpu-throttle-alert", 1), ("devfreq-gpu-gpc-0", 0)]):
        folder = f"{THERMAL}/cooling_device{number}"
        tree(tmp_path, {f"{folder}/type": kind, f"{folder}/cur_state": state, f"{folder}/max_state": 5})
    hwmon = "sys/class/hwmon/hwmon3"
    tree(tmp_path, {f"{hwmon}/name": "soctherm_oc", f"{hwmon}/oc1_event_cnt": 0})
    tree(tmp_path, {f"{hwmon}/oc2_event_cnt": 15, f"{hwmon}/oc3_event_cnt": 37})
    found = read_thermal(tmp_path)
    assert [(item["name"], item["state"]) for item in found["slowed_by"]] == [
        ("gpu-throttle-alert", 1),
        ("devfreq-gpu-gpc-0", 0),
    ]
    counted = {"under-voltage": 0, "average over-current": 15, "instantaneous over-current": 37}
    assert found["over_current"] == counted


def rapl(root: Path, zone: str, name: str, energy_uj: int, range_uj: int = 262143328850) -> None:
    folder = f"sys/class/powercap/{zone}"
    tree(root, {f"{folder}/name": name, f"{folder}/energy_uj": energy_uj, f"{folder}/max_energy_range_uj": range_uj})


def test_rapl_counts_packages_and_not_their_parts(tmp_path: Path) -> None:
    rapl(tmp_path, "intel-rapl:0", "package-0", 123)
    rapl(tmp_path, "intel-rapl:0:0", "core", 45)
    rapl(tmp_path, "intel-rapl:1", "psys", 678)
    assert [(zone["name"], zone["energy_uj"]) for zone in read_rapl(tmp_path)["rapl"]] == [
        ("package-0", 123),
        ("psys", 678),
    ]


def test_a_counter_that_began_again() -> None:
    before = {"energy_uj": 900, "range_uj": 1000}
    assert used_uj(before, {"energy_uj": 950}) == 50 and used_uj(before, {"energy_uj": 30}) == 130


def test_mains_and_battery(tmp_path: Path) -> None:
    supply = "sys/class/power_supply"
    tree(tmp_path, {f"{supply}/hidpp_battery_0/type": "Battery", f"{supply}/hidpp_battery_0/scope": "Device"})
    assert read_supply(tmp_path)["supply"] is None, "a mouse's battery is not the machine's"
    tree(tmp_path, {f"{supply}/AC/type": "Mains", f"{supply}/AC/online": 0, f"{supply}/BAT0/type": "Battery"})
    tree(tmp_path, {f"{supply}/BAT0/status": "Discharging", f"{supply}/BAT0/capacity": 61})
    assert read_supply(tmp_path)["supply"] == {"mains": False, "battery": {"status": "Discharging", "percent": 61}}


def test_a_gpu_at_its_power_limit() -> None:
    (gpu,) = parse_query(recorded("nvidia-smi-power-cap"))
    clocks = {"sm_mhz": 1590, "sm_max_mhz": 1980}
    assert gpu == {"celsius": 71, "power_w": 699.8, **clocks, "slowed_by": ["the power limit"]}


def test_a_driver_that_renamed_the_reasons() -> None:
    gpus = parse_query(recorded("nvidia-smi-renamed"))
    assert [gpu["slowed_by"] for gpu in gpus] == [["the power limit"]] * 2
    assert gpus[0]["name"] == "NVIDIA RTX PRO 6000 Blackwell Server Edition"


def test_values_that_a_gpu_does_not_tell_are_none_and_an_idle_one_is_not_slowed_down() -> None:
    header = "name, power.draw [W], utilization.gpu [%], clocks_throttle_reasons.active"
    (gpu,) = parse_query(f"{header}\nThor, [N/A], [Not Supported], [N/A]\n")
    assert gpu == {"name": "Thor", "power_w": None, "busy_percent": None, "slowed_by": None}
    assert reasons_of(0x1) == [] and len(reasons_of(0x60)) == 2


def test_nvidia_smi_without_a_driver_says_what_it_said() -> None:
    with pytest.raises(Unreadable, match="couldn't communicate"):
        parse_query("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")


def test_the_newer_name_is_asked_for_where_the_older_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printer(tmp_path, "smi", recorded("nvidia-smi-renamed"))
    gone = 'echo "Field \\"clocks_throttle_reasons.active\\" is not a valid field to query."'
    program(tmp_path, "nvidia-smi", f'case "$1" in *event_reasons*) smi;; *) {gone}; exit 2;; esac')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert len(read_nvidia()["nvidia"]) == 2
