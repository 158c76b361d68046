"""nvpmodel, jetson_clocks, devfreq, and a whole Jetson made of recorded text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefuse.device_state import read_state, remarks
from edgefuse.device_state.jetson import read_jetson
from edgefuse.device_state.jetson.clocks import parse_clocks
from edgefuse.device_state.jetson.gpu import read_gpu
from edgefuse.device_state.jetson.nvpmodel import fastest_mode, parse_mode, parse_modes
from edgefuse.device_state.reading import Unreadable
from tests.device_state.machines import RECORDED, policies, printer, program, recorded, tree

MODES = {
    "nvpmodel-nano": ("MAXN", 0),
    "nvpmodel-xavier-nx": ("MODE_15W_2CORE", 0),
    "nvpmodel-agx-xavier-user": ("MODE_15W_DESKTOP", 7),
    "nvpmodel-orin-nano": ("15W", 0),
    "nvpmodel-orin-nano-verbose": ("25W", 1),
    "nvpmodel-thor": ("120W", 1),
}
CLOCKS = {
    "jetson_clocks-tx1-l4t28": (True, 4, 998.4),
    "jetson_clocks-nano-5w": (False, 2, 460.8),
    "jetson_clocks-orin-nano": (False, 6, 306.0),
    "jetson_clocks-orin-nano-snap": (False, 6, 306.0),
    "jetson_clocks-thor": (True, 2, 1575.0),
}


@pytest.mark.parametrize("name", sorted(MODES))
def test_the_power_mode_of_every_release_is_understood(name: str) -> None:
    assert tuple(parse_mode(recorded(name)).values()) == MODES[name]


def test_a_mode_without_its_number_or_name() -> None:
    assert parse_mode("NV Fan Mode:quiet\nNV Power Mode: MAXN\n") == {"name": "MAXN", "id": None}
    for text in ("NV Power Mode:\n", "nvpmodel: command failed"):
        with pytest.raises(Unreadable):
            parse_mode(text)


def test_the_fastest_mode_is_the_one_without_a_limit_or_of_the_most_watts() -> None:
    modes = parse_modes(recorded("nvpmodel-conf-orin-nano"))
    assert fastest_mode(modes) == {"name": "MAXN_SUPER", "id": 2} and len(modes) == 4
    assert fastest_mode(parse_modes(recorded("nvpmodel-conf-nano"))) == {"name": "MAXN", "id": 0}
    assert fastest_mode([{"name": "15W", "id": 0}, {"name": "7W", "id": 1}]) == {"name": "15W", "id": 0}
    nx = [{"name": f"MODE_15W_{cores}CORE", "id": cores} for cores in (2, 4, 6)]
    assert fastest_mode(nx) is None


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("jetson_clocks-*.txt")))
def test_the_clocks_of_every_release_are_understood(name: str) -> None:
    found, (held, online, gpu_mhz) = parse_clocks(recorded(name)), CLOCKS[name]
    assert (found["held"], sum(cpu["online"] for cpu in found["cpus"])) == (held, online)
    assert found["gpu"]["current_mhz"] == gpu_mhz and found["memory"]["max_mhz"] > 1500
    assert {cpu["governor"] for cpu in found["cpus"]} <= {"interactive", "schedutil", "ondemand"}


def test_jetson_clocks_without_root_says_so() -> None:
    with pytest.raises(Unreadable, match="run as root"):
        parse_clocks("Please run as root\n")


def test_the_gpus_clock_needs_no_root(tmp_path: Path) -> None:
    folder = "sys/class/devfreq/17000000.gpu"
    files = {"cur_freq": 306000000, "min_freq": 306000000, "max_freq": 612000000, "governor": "nvhost_podgov"}
    tree(tmp_path, {f"{folder}/{name}": value for name, value in files.items()})
    tree(tmp_path, {f"{folder}/available_frequencies": "306000000 612000000 918000000"})
    assert read_gpu(tmp_path)["limit_max_mhz"] == 612 and read_gpu(tmp_path)["max_mhz"] == 918


def orin_nano(root: Path, tools: Path) -> None:
    """An Orin Nano Super in 15W, as a user sees it."""
    release = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64"
    board = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"
    tree(root, {"proc/device-tree/model": board, "etc/nv_tegra_release": release})
    tree(root, {"etc/nvpmodel.conf": recorded("nvpmodel-conf-orin-nano")})
    policies(root, 6, scaling_max_freq=1344000, cpuinfo_max_freq=1728000, scaling_cur_freq=1344000)
    printer(tools, "nvpmodel", recorded("nvpmodel-orin-nano"))
    printer(tools, "jetson_clocks", recorded("jetson_clocks-orin-nano"))
    line = recorded("tegrastats-orin-nano-jetpack6").strip()
    program(tools, "tegrastats", f'while :; do echo "{line}"; sleep 0.1; done')


def test_a_whole_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orin_nano(tmp_path / "root", tmp_path / "tools")
    monkeypatch.setenv("PATH", str(tmp_path / "tools"), prepend=":")
    state = read_state(tmp_path / "root")
    assert state == json.loads(json.dumps(state))
    jetson = state["jetson"]
    assert (jetson["l4t"], jetson["jetpack"]) == ("36.4.3", "6.2")
    assert jetson["power_mode"] == {"name": "15W", "id": 0}
    assert jetson["tegrastats"]["total_mw"] == 4824 and jetson["gpu"] is None and jetson["gpu_reason"]
    said = remarks(state, state)
    assert said[0] == "Slow because of the power mode: 15W (mode 0), not MAXN_SUPER (mode 2)"
    assert "The CPU is limited to 1.3 of 1.7 GHz" in said
    assert any("jetson_clocks holds them" in sentence for sentence in said)


def test_a_jetsons_tools_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {"proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0"})
    monkeypatch.setenv("PATH", str(tmp_path))
    jetson = read_jetson(tmp_path)["jetson"]
    assert jetson["board"] == "NVIDIA Jetson AGX Thor Developer Kit"
    for name in ("l4t", "jetpack", "power_mode", "power_modes", "clocks", "gpu", "tegrastats"):
        assert jetson[name] is None and jetson[f"{name}_reason"]
