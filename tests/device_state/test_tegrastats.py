"""Lines of tegrastats of ten boards and releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgefuse.device_state.jetson.tegrastats import parse_line, read_tegrastats, total_power
from edgefuse.device_state.reading import Unreadable
from tests.device_state.machines import RECORDED, program, recorded

EVERY = sorted(path.stem for path in RECORDED.glob("tegrastats-*.txt"))
EXPECTED: dict[str, dict[str, Any]] = {
    "tegrastats-nano": {"gpu_mhz": 76, "total_mw": 1022, "total_of": ["POM_5V_IN"], "memory_mhz": 204},
    "tegrastats-tx1-l4t28": {"cores_percent": [17, 13, 29, 5], "gpu_percent": 3, "gpu_mhz": 76, "total_mw": None},
    "tegrastats-tx1": {"total_mw": 2532, "swap_used_mib": None, "memory_percent": 7},
    "tegrastats-tx2": {"total_mw": 3056, "cores_percent": [1, None, None, 1, 0, 2]},
    "tegrastats-agx-xavier": {"total_mw": 0 + 311 + 932 + 0 + 621 + 1482, "ram_total_mib": 31927},
    "tegrastats-xavier-nx": {"total_mw": 4067, "gpu_percent": 62, "gpu_mhz": 306},
    "tegrastats-orin-nx-jetpack5": {"total_mw": 5299, "cores_percent": [6, 9, 5, 16, None, None, None, None]},
    "tegrastats-agx-orin-jetpack6": {"total_mw": 3205 + 4405 + 4767, "gpu_mhz": 305, "swap_used_mib": 4915},
    "tegrastats-orin-nano-jetpack6": {"total_mw": 4824, "memory_percent": None, "gpu_mhz": None, "gpu_percent": 0},
    "tegrastats-thor": {"total_mw": 26686, "gpu_percent": None, "cores_percent": [12, 10, None, 33]},
}


def test_every_recording_has_an_expectation() -> None:
    assert sorted(EXPECTED) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_a_line_of_every_board_is_understood(name: str) -> None:
    found = parse_line(recorded(name))
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]
    assert found["total_mw"] is not None or found["total_mw_reason"]


def test_temperatures_in_either_spelling_and_none_of_a_sensor_that_is_off() -> None:
    assert parse_line(recorded("tegrastats-nano"))["celsius"]["CPU"] == 36.5
    assert parse_line(recorded("tegrastats-agx-orin-jetpack6"))["celsius"]["cpu"] == 53.062
    line = "RAM 1/2MB CPU [1%@1190] CV0@-256C GPU@49.2C"
    assert parse_line(line)["celsius"] == {"GPU": 49.2}


def test_only_rails_are_rails() -> None:
    assert parse_line(recorded("tegrastats-tx1"))["rails_mw"] == {"VDD_IN": 2532, "VDD_CPU": 76, "VDD_GPU": 19}
    assert parse_line(recorded("tegrastats-orin-nano-jetpack6"))["rails_mw"].keys() == {
        "VDD_IN",
        "VDD_CPU_GPU_CV",
        "VDD_SOC",
    }
    once = parse_line("RAM 1/2MB VDD_GPU_SOC 2171mW VIN_SYS_5V0 7000mW/6500mW/7100mW")["rails_mw"]
    assert once == {"VDD_GPU_SOC": 2171, "VIN_SYS_5V0": 7000}


def test_rails_that_are_fed_by_another_are_not_added_to_it() -> None:
    assert total_power({"VDD_IN": 5000.0, "VDD_SOC": 1400.0})["total_mw"] == 5000
    unknown = total_power({"VDD_CPU": 300.0})
    assert unknown["total_mw"] is None and "VDD_CPU" in unknown["total_mw_reason"]


def test_what_is_no_line_of_tegrastats_says_so() -> None:
    with pytest.raises(Unreadable, match="permission"):
        parse_line("tegrastats: permission denied")


def test_one_line_is_read_and_the_program_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = recorded("tegrastats-orin-nano-jetpack6").strip()
    program(
        tmp_path, "tegrastats", f'echo $$ > "$0.pid"; echo "$@" > "$0.said"; while :; do echo "{line}"; sleep 0.1; done'
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert read_tegrastats()["total_mw"] == 4824
    assert (tmp_path / "tegrastats.said").read_text() == "--interval 100\n"
    pid = int((tmp_path / "tegrastats.pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_a_tegrastats_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "tegrastats", "exec sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Unreadable, match="printed nothing"):
        read_tegrastats(timeout_s=0.3)
