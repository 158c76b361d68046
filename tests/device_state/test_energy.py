"""Energy of one inference, by RAPL and by a Jetson's rails."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edgefuse.device_state import PowerSampler, energy, measure_energy
from tests.device_state.machines import program, recorded, tree

RANGE_UJ = 262143328850


def state(clock_s: float, *packages_uj: int, boot: str = "one") -> dict[str, Any]:
    zones = [
        {"zone": f"intel-rapl:{number}", "name": f"package-{number}", "energy_uj": value, "range_uj": RANGE_UJ}
        for number, value in enumerate(packages_uj)
    ]
    known = {"rapl": zones} if zones else {"rapl": None, "rapl_reason": "no RAPL here"}
    return {"boot_id": boot, "time": {"clock_s": clock_s}, **known}


def test_every_package_counts_and_a_counter_may_begin_again() -> None:
    found = energy(state(10.0, RANGE_UJ - 5_000_000, 0), state(20.0, 15_000_000, 40_000_000), 200)
    assert found["joules"] == pytest.approx((20 + 40) / 200)
    assert found["watts"] == pytest.approx(6) and found["source"] == "RAPL, package-0 + package-1"


def test_psys_is_not_added_to_the_packages_that_it_holds() -> None:
    before, after = state(0.0, 0, 0), state(2.0, 4_000_000, 9_000_000)
    for found in (before, after):
        found["rapl"][1]["name"] = "psys"
    assert energy(before, after, 2)["joules"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("before", "after", "runs", "reason"),
    [
        (state(0.0), state(5.0), 10, "no RAPL here"),
        (state(0.0, 1), state(0.5, 2), 10, "too few"),
        (state(0.0, 1), state(5.0, 2), 0, "too few"),
        (state(0.0, 9), state(5.0, 2, boot="two"), 5, "started again"),
    ],
)
def test_what_is_not_known_has_a_reason(before: Any, after: Any, runs: int, reason: str) -> None:
    found = energy(before, after, runs)
    assert found["joules"] is None and reason in found["joules_reason"]


def fake_tegrastats(folder: Path, lines: list[str]) -> None:
    """Prints *lines* in turn, every twentieth of a second, until it is killed."""
    echoes = "; ".join(f'echo "{line}"; sleep 0.05' for line in lines)
    program(folder, "tegrastats", f'echo $$ > "$0.pid"; while :; do {echoes}; done')


def test_rails_are_averaged_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = "GR3D_FREQ 40% cpu@50C"
    fake_tegrastats(tmp_path, [f"RAM 1/2MB {rest} VDD_IN {mw}mW/9mW VDD_SOC 1000mW/9mW" for mw in (4000, 6000)])
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with PowerSampler() as power:
        time.sleep(1.5)
    found = power.result()
    assert found is not None and found["samples"] >= 10
    assert found["total_of"] == ["VDD_IN"] and found["rails_mw"]["VDD_SOC"] == 1000
    assert found["total_mw"] == pytest.approx(5000, rel=0.15), (
        "an odd number of lines leaves the mean off by one of them"
    )
    assert not Path(f"/proc/{(tmp_path / 'tegrastats.pid').read_text().strip()}").exists()
    each = energy(state(0.0), state(99.0), 100, found)
    assert each["joules"] == pytest.approx(found["total_mw"] / 1000 * found["seconds"] / 100)
    assert each["source"] == "tegrastats, VDD_IN"


def test_a_board_of_two_supplies_is_their_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tegrastats(tmp_path, [recorded("tegrastats-agx-orin-jetpack6").strip()])
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = measure_energy(lambda: time.sleep(0.01), seconds=1.2)
    assert found["watts"] == pytest.approx(3.205 + 4.405 + 4.767)
    assert found["source"] == "tegrastats, VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    assert found["joules"] == pytest.approx(found["watts"] * found["seconds"] / found["runs"])


def test_too_few_lines_are_no_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "tegrastats", 'echo "RAM 1/2MB VDD_IN 4000mW/4000mW"; exec sleep 60')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = measure_energy(lambda: time.sleep(0.01), seconds=1.1)
    assert found["joules"] is None and "1 lines" in found["joules_reason"]


def test_without_a_source_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    calls: list[int] = []
    found = measure_energy(lambda: calls.append(1), root=tree(tmp_path, {}))
    assert found["joules"] is None and "RAPL" in found["joules_reason"] and calls == []
