"""The device's state in reports: remarks as rows, a table of before and after, the energy where it is known."""

from __future__ import annotations

import copy
from typing import Any

from edgefuse.report.device import device_facts, device_rows
from edgefuse.report.html import render
from tests.report.page import Page

ZONES = [{"name": "PMIC-Die", "celsius": 100.0, "limit_celsius": None}, {"name": "cpu", "celsius": 61.2}]
BEFORE: dict[str, Any] = {
    "kernel": "5.15.148-tegra",
    "load": [0.5, 0.25, 0.1],
    "memory": {"total_mib": 7620.0, "available_mib": 4100.4},
    "cpu": {"policies": [{"governor": "schedutil", "current_mhz": 729.6, "limit_max_mhz": 1344.0}]},
    "thermal": {"zones": [{**zone, "limit_celsius": 99.0} for zone in ZONES]},
    "nvidia": None,
    "jetson": {"power_mode": {"name": "15W", "id": 0}, "tegrastats": {"total_mw": 4824.0}},
}


def measured(*remarks: str, **more: Any) -> dict[str, Any]:
    after = copy.deepcopy(BEFORE)
    after["cpu"]["policies"][0]["current_mhz"] = 1344.0
    return {"device_state": {"before": BEFORE, "after": after, "remarks": list(remarks), **more}, "latency": {}}


def test_remarks_are_rows() -> None:
    said = "Slow because of the power mode: 15W (mode 0), not MAXN_SUPER (mode 2)"
    assert device_rows(measured(said)) == [("device", said)]
    assert device_rows(measured()) == [] and device_rows({"device_state": None}) == [] and device_rows({}) == []


def test_a_busy_machine_is_said_once() -> None:
    busy = measured("Others used 31% of the processors meanwhile", "It runs on its battery")
    assert len(device_rows(busy)) == 2
    busy["latency"] = {"notes": ["others used 30% of this machine while latency was measured"]}
    assert device_rows(busy) == [("device", "It runs on its battery")]


def test_energy_is_a_row_where_it_is_known() -> None:
    energy = {"joules": 0.00123, "watts": 5.5, "runs": 900, "source": "tegrastats, VDD_IN"}
    ((name, text),) = device_rows(measured(energy=energy))
    assert (
        name == "energy" and text.startswith("1.23 mJ an inference, idle power included (5.50 W") and "VDD_IN" in text
    )
    assert device_rows(measured(energy={"joules": None, "joules_reason": "no RAPL here"})) == []


def test_the_table_tells_before_and_after_of_what_is_known() -> None:
    facts = {name: (before, after) for name, before, after in device_facts(measured())}
    assert facts == {
        "power mode": ("15W", "15W"),
        "CPU governor": ("schedutil", "schedutil"),
        "fastest core": ("730 of 1344 MHz", "1344 of 1344 MHz"),
        "hottest": ("61 of 99 °C (cpu)", "61 of 99 °C (cpu)"),
        "load (1, 5, 15 min)": ("0.50, 0.25, 0.10", "0.50, 0.25, 0.10"),
        "memory left": ("4100 of 7620 MiB", "4100 of 7620 MiB"),
        "power": ("4.8 W", "4.8 W"),
        "kernel": ("5.15.148-tegra", "5.15.148-tegra"),
    }
    assert device_facts({}) == []


def test_the_page_has_the_remarks_and_the_table(report: dict[str, Any]) -> None:
    state = measured("The GPU (<T4>) is slowed down", energy=None)["device_state"]
    page = Page(render(report | {"device_state": state})).text
    assert page.count("The GPU (<T4>) is slowed down") == 2, "in the summary and beside the table"
    assert "The device while it was measured" in page and "1344 of 1344 MHz" in page and "15W" in page
    assert "The device while it was measured" not in Page(render(report | {"device_state": None})).text
