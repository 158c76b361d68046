"""NVIDIA's desktop and server GPUs, by ``nvidia-smi``: clocks, power, temperature, and what slows them down.

On a Jetson before Thor there is no ``nvidia-smi``, on Thor it leaves most out: :mod:`edgefuse.device_state.jetson`.
"""

from __future__ import annotations

import csv
import re
from typing import Any

from edgefuse.device_state.reading import Unreadable, known, run_tool

NUMBERS = {
    "temperature.gpu": "celsius",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "clocks.current.sm": "sm_mhz",
    "clocks.max.sm": "sm_max_mhz",
    "clocks.current.memory": "memory_mhz",
    "utilization.gpu": "busy_percent",
}
ALIASES = {"clocks.sm": "clocks.current.sm", "clocks.mem": "clocks.current.memory"}
TEXTS = {"name": "name", "driver_version": "driver", "pstate": "state"}
REASON_FIELDS = ("clocks_throttle_reasons.active", "clocks_event_reasons.active")
"""The second is its name since driver 535; drivers from then on know both, and print the newer one."""
REASONS = {
    0x2: "the application clocks are set lower",
    0x4: "the power limit",
    0x8: "the hardware slowdown (temperature, power brake or supply)",
    0x10: "synchronous boost with a slower GPU",
    0x20: "the temperature (by the driver)",
    0x40: "the temperature (by the hardware)",
    0x80: "the external power brake",
    0x100: "the display clocks",
}
"""``nvmlClocksThrottleReason…`` of nvml.h; 0x1, an idle GPU, is no reason to complain."""


def read_nvidia() -> dict[str, Any]:
    return known("nvidia", _query)


def _query() -> list[dict[str, Any]]:
    said = ""
    for field in REASON_FIELDS:
        fields = ",".join((*TEXTS, *NUMBERS, field))
        said = run_tool("nvidia-smi", f"--query-gpu={fields}", "--format=csv")
        if "not a valid field" not in said:
            return parse_query(said)
    raise Unreadable(f"nvidia-smi said: {said.strip()[:120]}")


def parse_query(text: str) -> list[dict[str, Any]]:
    """One row a GPU from ``--format=csv``, whose first line names the columns and their units."""
    header, *rows = csv.reader(text.splitlines(), skipinitialspace=True) if text.strip() else [[]]
    columns = [ALIASES.get(name.split(" [")[0], name.split(" [")[0]) for name in header]
    if not rows or not set(columns) & {*NUMBERS, *TEXTS, *REASON_FIELDS}:
        raise Unreadable(f"nvidia-smi said: {text.strip()[:120]}")
    return [_gpu(dict(zip(columns, row))) for row in rows if row]


def _gpu(row: dict[str, str]) -> dict[str, Any]:
    """A value that the GPU does not tell ("[N/A]", "[Not Supported]") is None."""
    mask = next((row[field] for field in REASON_FIELDS if field in row), "")
    return {
        **{key: row[field] for field, key in TEXTS.items() if field in row},
        **{key: _number(row[field]) for field, key in NUMBERS.items() if field in row},
        "slowed_by": reasons_of(int(mask, 16)) if re.fullmatch(r"0x[0-9a-fA-F]+", mask) else None,
    }


def _number(text: str) -> float | None:
    match = re.match(r"-?\d+(?:\.\d+)?", text)
    return float(match[0]) if match else None


def reasons_of(mask: int) -> list[str]:
    return [reason for bit, reason in REASONS.items() if mask & bit]
