"""The state of the device in a report: what made it slow, and a table of before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgefuse.report.units import significant

Rows = list[tuple[str, str]]
State = Mapping[str, Any]


def device_rows(report: Mapping[str, Any]) -> Rows:
    """Remarks, and the energy of one inference where it is known. A busy machine is said once: latency's own note
    knows better what is ours."""
    state = report.get("device_state")
    if not state:
        return []
    noted = any("others used" in note for note in report.get("latency", {}).get("notes", ()))
    remarks = [text for text in state["remarks"] if not (noted and text.startswith("Others used"))]
    energy = state.get("energy") or {}
    rows = [("device", remark) for remark in remarks]
    return [*rows, ("energy", energy_text(energy))] if energy.get("joules") is not None else rows


def energy_text(energy: Mapping[str, Any]) -> str:
    millijoules = significant(energy["joules"] * 1e3)
    mean = f"{significant(energy['watts'])} W on the mean of {energy['runs']} inferences"
    return f"{millijoules} mJ an inference, idle power included ({mean}; {energy['source']})"


def device_facts(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, before, after, of what is known of either."""
    state = report.get("device_state")
    if not state:
        return []
    rows = [(name, fact(state["before"]) or "", fact(state["after"]) or "") for name, fact in FACTS.items()]
    return [row for row in rows if row[1] or row[2]]


def _power_mode(state: State) -> str | None:
    mode = ((state.get("jetson") or {}).get("power_mode")) or {}
    return mode.get("name")


def _policies(state: State) -> list[Mapping[str, Any]]:
    return (state.get("cpu") or {}).get("policies") or []


def _governor(state: State) -> str:
    return ", ".join(sorted({item["governor"] for item in _policies(state) if item["governor"]}))


def _frequency(state: State) -> str | None:
    """The fastest core, and what the fastest may."""
    now = max((item["current_mhz"] or 0 for item in _policies(state)), default=0)
    limit = max((item["limit_max_mhz"] or 0 for item in _policies(state)), default=0)
    return f"{now:.0f} of {limit:.0f} MHz" if now and limit else None


def _temperature(state: State) -> str | None:
    zones = (state.get("thermal") or {}).get("zones") or []
    named = [zone for zone in zones if "pmic" not in zone["name"].lower()]
    if not named:
        return None
    hottest = max(named, key=lambda zone: float(zone["celsius"]))
    limit = "" if hottest["limit_celsius"] is None else f" of {hottest['limit_celsius']:.0f}"
    return f"{hottest['celsius']:.0f}{limit} °C ({hottest['name']})"


def _load(state: State) -> str | None:
    load = state.get("load")
    return f"{load[0]:.2f}, {load[1]:.2f}, {load[2]:.2f}" if load else None


def _memory(state: State) -> str | None:
    memory = state.get("memory") or {}
    known = memory.get("available_mib") is not None and memory.get("total_mib") is not None
    return f"{memory['available_mib']:.0f} of {memory['total_mib']:.0f} MiB" if known else None


def _power(state: State) -> str | None:
    rails = (state.get("jetson") or {}).get("tegrastats") or {}
    gpus = [gpu["power_w"] for gpu in state.get("nvidia") or [] if gpu.get("power_w") is not None]
    if rails.get("total_mw") is not None:
        return f"{rails['total_mw'] / 1000:.1f} W"
    return f"{sum(gpus):.1f} W (GPU)" if gpus else None


FACTS: dict[str, Callable[[State], str | None]] = {
    "power mode": _power_mode,
    "CPU governor": _governor,
    "fastest core": _frequency,
    "hottest": _temperature,
    "load (1, 5, 15 min)": _load,
    "memory left": _memory,
    "power": _power,
    "kernel": lambda state: state.get("kernel"),
}
