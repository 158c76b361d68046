"""What made a machine slow or unsteady while it was measured, in plain sentences. What is not known is not remarked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from edgefuse.device_state.jetson.nvpmodel import fastest_mode, watts_of

State = dict[str, Any]
BUSY = 0.1
"""Share of the processors that others may use before it is said."""
NEAR_C = 5.0
"""So many degrees below its limit a temperature is near it."""
LIMITED = 0.95
"""A limit below this share of what the hardware can do is a limit."""
SLOW_CLOCK = 0.8
"""A processor at less than this share of its limit was not at full speed; between its steps it may be."""
NEARLY_FULL = 0.05
"""Share of memory."""
CHOOSING = ("intel_pstate", "amd-pstate-epp")
"""Drivers that choose the frequency themselves (docs.kernel.org/admin-guide/pm/intel_pstate.html, active mode)."""
PAGE_MIB = 4096 / 2**20
PLACEHOLDER_ZONES = re.compile("pmic", re.IGNORECASE)
"""The Jetsons' PMIC-Die always says 50 or 100 °C."""


def remarks(before: State, after: State) -> list[str]:
    """Sentences on the time between two states of one machine; none where nothing is wrong or nothing is known."""
    return [sentence for remark in REMARKS for sentence in remark(before, after)]


def _at(state: Any, *keys: str) -> Any:
    """The value at that path, or None as soon as a part of it is not known."""
    for key in keys:
        state = state.get(key) if isinstance(state, dict) else None
    return state


def _grown(before: State, after: State, *keys: str) -> int:
    """By how much a counter since boot has grown; 0 where it is not known, or began again."""
    if _at(before, "boot_id") != _at(after, "boot_id"):
        return 0
    first, last = _at(before, *keys), _at(after, *keys)
    return max(int(last - first), 0) if first is not None and last is not None else 0


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _power_mode(before: State, after: State) -> Iterator[str]:
    mode, modes = _at(after, "jetson", "power_mode"), _at(after, "jetson", "power_modes")
    if mode is None or mode["name"].upper().startswith("MAXN"):
        return
    best = fastest_mode(modes) if modes else None
    this = mode["name"] if mode["id"] is None else f"{mode['name']} (mode {mode['id']})"
    if best is not None and best["name"] != mode["name"]:
        yield f"Slow because of the power mode: {this}, not {best['name']} (mode {best['id']})"
    elif modes and watts_of(mode["name"]) < (most := max(watts_of(other["name"]) for other in modes)):
        yield f"Slow because of the power mode: {this}; others have {most:g} W"
    elif not modes:
        yield f"The power mode is {this}; whether there is a faster one is not known here"


def _changed_mode(before: State, after: State) -> Iterator[str]:
    first, last = (_at(state, "jetson", "power_mode", "name") for state in (before, after))
    if first and last and first != last:
        yield f"The power mode changed meanwhile, from {first} to {last}"


def _governor(before: State, after: State) -> Iterator[str]:
    """Where the driver itself chooses the frequency, "powersave" is its ordinary governor."""
    policies = _at(after, "cpu", "policies") or []
    held = [policy for policy in policies if policy["governor"] == "powersave" and policy["driver"] not in CHOOSING]
    if held:
        yield f"Slow because the CPU governor is powersave{_which(held, policies)}: it holds the lowest frequency"
    saving = [policy for policy in policies if policy["preference"] == "power"]
    if saving:
        yield f"Slow because the CPU prefers saving power{_which(saving, policies)} (energy_performance_preference)"


def _which(some: list[Any], every: list[Any]) -> str:
    return "" if len(some) == len(every) else f" on {len(some)} of {len(every)} frequency domains"


def _limits(before: State, after: State) -> Iterator[str]:
    """Of every kind of core the fastest: that one domain is limited to little is the power mode's business."""
    policies = _at(after, "cpu", "policies") or []
    known = [item for item in policies if item["limit_max_mhz"] and item["max_mhz"]]
    limited = [item for item in known if item["limit_max_mhz"] < LIMITED * item["max_mhz"]]
    if limited:
        worst = min(limited, key=lambda item: float(item["limit_max_mhz"] / item["max_mhz"]))
        yield f"The CPU is limited to {_of_ghz(worst['limit_max_mhz'], worst['max_mhz'])}{_which(limited, policies)}"
    gpu = _at(after, "jetson", "gpu") or {}
    limit, most = gpu.get("limit_max_mhz"), gpu.get("max_mhz")
    if limit and most and limit < LIMITED * most:
        yield f"The GPU is limited to {limit:.0f} of {most:.0f} MHz"


def _of_ghz(part_mhz: float, whole_mhz: float) -> str:
    return f"{part_mhz / 1000:.1f} of {whole_mhz / 1000:.1f} GHz"


def _frequency(before: State, after: State) -> Iterator[str]:
    """The fastest core at the moment after the work: it is the one that worked."""
    policies = _at(after, "cpu", "policies") or []
    known = [item for item in policies if item["current_mhz"] and item["limit_max_mhz"]]
    if known and all(item["current_mhz"] < SLOW_CLOCK * item["limit_max_mhz"] for item in known):
        best = max(known, key=lambda item: float(item["current_mhz"]))
        yield f"The CPU ran at {_of_ghz(best['current_mhz'], best['limit_max_mhz'])}"


def _not_held(before: State, after: State) -> Iterator[str]:
    clocks = _at(after, "jetson", "clocks")
    if clocks is not None and not clocks["held"]:
        yield "Less steady because the clocks may change with the load; sudo jetson_clocks holds them"


def _offline(before: State, after: State) -> Iterator[str]:
    online, present = (_count_cpus(_at(after, "cpu", key)) for key in ("online", "present"))
    if online and present and online < present:
        yield f"{present - online} of {present} processors are switched off"


def _count_cpus(text: str | None) -> int:
    """4 for "0-2,5"."""
    ranges = [word.partition("-") for word in (text or "").split(",") if word]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


def _throttled(before: State, after: State) -> Iterator[str]:
    cores, packages = (_grown(before, after, "thermal", "throttled", key) for key in ("cores", "packages"))
    if count := max(cores, packages):
        yield f"The CPU slowed itself down {_times(count)} meanwhile: it was too hot"
    for what in _at(after, "thermal", "over_current") or {}:
        if count := _grown(before, after, "thermal", "over_current", what):
            yield f"The board slowed itself down {_times(count)} meanwhile: {what}"
    slowed = [item["name"] for item in _at(after, "thermal", "slowed_by") or [] if (item["state"] or 0) > 0]
    if slowed:
        yield f"The kernel holds clocks down because of the temperature ({', '.join(sorted(set(slowed)))})"


def _temperature(before: State, after: State) -> Iterator[str]:
    zones = [*(_at(before, "thermal", "zones") or []), *(_at(after, "thermal", "zones") or [])]
    near = [
        zone
        for zone in zones
        if zone["limit_celsius"] is not None
        and not PLACEHOLDER_ZONES.search(zone["name"])
        and zone["celsius"] >= zone["limit_celsius"] - NEAR_C
    ]
    if near:
        worst = max(near, key=lambda zone: float(zone["celsius"] - zone["limit_celsius"]))
        yield f"{worst['name']} is at {worst['celsius']:.0f} °C, its limit is {worst['limit_celsius']:.0f} °C"


def _others(before: State, after: State) -> Iterator[str]:
    """One process is measured: what it used itself is known, the rest of the processors' work is others'."""
    every, own, clock = (_difference(before, after, key) for key in ("all_s", "own_s", "clock_s"))
    if every is None or own is None or not clock:
        return
    share = min(max((every - own) / (clock * after["time"]["processors"]), 0.0), 1.0)
    if share > BUSY:
        yield f"Others used {share:.0%} of the processors meanwhile"


def _difference(before: State, after: State, key: str) -> float | None:
    first, last = _at(before, "time", key), _at(after, "time", key)
    return None if first is None or last is None else float(last - first)


def _memory(before: State, after: State) -> Iterator[str]:
    moved = sum(_grown(before, after, "swapping", key) for key in ("swapped_in_pages", "swapped_out_pages"))
    if moved:
        yield f"Slow because of swapping: {moved * PAGE_MIB:.1f} MiB went to or from the disk meanwhile"
    if killed := _grown(before, after, "swapping", "killed"):
        yield f"The kernel ended {killed} process{'es' if killed > 1 else ''} meanwhile for want of memory"
    total, free = _at(after, "memory", "total_mib"), _at(after, "memory", "available_mib")
    if total and free is not None and free < NEARLY_FULL * total:
        yield f"Memory is nearly full: {free:.0f} of {total:.0f} MiB are left"


def _gpu_slowed(before: State, after: State) -> Iterator[str]:
    for gpu in _at(after, "nvidia") or []:
        if gpu["slowed_by"]:
            clocks = gpu.get("sm_mhz"), gpu.get("sm_max_mhz")
            at = f" at {clocks[0]:.0f} of {clocks[1]:.0f} MHz" if None not in clocks else ""
            yield f"The GPU ({gpu.get('name', 'NVIDIA')}) is slowed down{at} by {', '.join(gpu['slowed_by'])}"


def _battery(before: State, after: State) -> Iterator[str]:
    supply = _at(after, "supply")
    if supply and (supply["mains"] is False or _at(supply, "battery", "status") == "Discharging"):
        percent = _at(supply, "battery", "percent")
        yield "It runs on its battery" + ("" if percent is None else f" ({percent} %)")


REMARKS: Iterable[Callable[[State, State], Iterator[str]]] = (
    _power_mode,
    _changed_mode,
    _governor,
    _limits,
    _frequency,
    _not_held,
    _offline,
    _throttled,
    _temperature,
    _others,
    _memory,
    _gpu_slowed,
    _battery,
)
"""What weighs most comes first."""
