"""The history of benches: a plain file of JSON lines, one a bench, that only grows. Standard library only.

Several processes may append to one file: each takes the kernel's lock (``flock``), and a line is on disk when
:func:`append` returns. What a crash has cut off spoils its own line alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.errors import InputError
from edgefuse.json_shape import check_form
from edgefuse.verdict import Verdict

FORMAT = 1
BEGIN = b'{"format":'
"""Of every line, also of a first one that was cut off."""

LATENCY = {
    "p50_ms": float,
    "p90_ms": float,
    "p90_early_stopping_ms": (float, None),
    "p99_ms": (float, None),
    "max_ms": float,
    "runs": int,
    "quantiles_ms": [float],
}
FORM = {
    "format": int,
    "stamp": str,
    "bundle": str,
    "hash": str,
    "plan": str,
    "device_class": str,
    "environment": dict,
    "latency": LATENCY,
    "verdict": str,
    "comparison": {"kind": str, "p90_ratio": (float, None), "widened_ci95": ([float], None), "why": (str, None)},
    "canary": {"p90_ratio": float, "ci95": [float], "doubt": (str, None)},
    "max_slowdown": float,
    "remarks": [str],
}

Line = dict[str, Any]


@dataclass(frozen=True)
class History:
    """The lines that could be read, oldest first, and the numbers (from 1) of those that could not."""

    lines: tuple[Line, ...] = ()
    damaged: tuple[int, ...] = ()


def history_line(report: Mapping[str, Any], now_s: float) -> Line:
    """What is kept of a bench's *report*, which was made at *now_s* (seconds since 1970)."""
    subject, accuracy = report["candidate"], report["accuracy"]
    return {
        "format": FORMAT,
        "stamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s)),
        "bundle": subject["name"],
        "hash": subject["hash"],
        "plan": subject["plan"],
        "device_class": report["device_class"],
        "environment": report["environment"],
        "latency": subject["latency"],
        "verdict": report["verdict"],
        "comparison": {**report["comparison"], "baseline": _named(report["baseline"])},
        "canary": report["canary"],
        "max_slowdown": report["max_slowdown"],
        "power_mode": report["power_mode"],
        "accuracy": _brief(accuracy["candidate"]),
        "remarks": report["device_state"]["remarks"],
    }


def _named(baseline: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if baseline is None:
        return None
    latency = baseline["latency"]
    return {**{key: baseline[key] for key in ("name", "hash", "plan")}, **{k: latency[k] for k in ("p50_ms", "p90_ms")}}


def _brief(entry: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if entry is None else {key: entry[key] for key in ("metric", "candidate", "verdict", "samples")}


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add *line* to the file at *path*, which is made if it is not there. On disk when this returns."""
    text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    with open(descriptor, "r+b", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        size = stream.seek(0, os.SEEK_END)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a crash has cut the last line off
            text = b"\n" + text
        try:
            while text:
                text = text[os.write(descriptor, text) :]
        except OSError:
            os.ftruncate(descriptor, size)  # the disk is full: nothing half-written stays
            raise
        os.fsync(descriptor)


def read_history(path: Path) -> History:
    """All lines of the file at *path*; none where it is not there yet. Raises :class:`InputError` for a file that holds
    none that is a bench's."""
    if not path.exists():
        return History()
    content = path.read_bytes()
    parsed = [_parsed(text) for text in content.splitlines()]
    damaged = tuple(number for number, line in enumerate(parsed, 1) if line is None)
    if len(damaged) == len(parsed) > 0 and not (len(parsed) == 1 and content.startswith(BEGIN)):
        raise InputError(
            "is no history of edgefuse bench: no line of it is a bench's", where=str(path), hint="Name another file."
        )
    return History(tuple(line for line in parsed if line is not None), damaged)


def _parsed(text: bytes) -> Line | None:
    """None for a line that was cut off, or that another program or version has written."""
    try:
        line = json.loads(text)
        check_form(line, FORM)
        time.strptime(line["stamp"], "%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    known = line["format"] == FORMAT and line["verdict"] in [verdict.value for verdict in Verdict]
    return dict(line) if known and len(line["latency"]["quantiles_ms"]) == 101 else None


def lines_of(history: History, bundle: str, device_class: str) -> list[Line]:
    """The benches of one bundle, by its name, on one class of device."""
    return [line for line in history.lines if (line["bundle"], line["device_class"]) == (bundle, device_class)]


def damage_text(history: History, path: Path) -> str | None:
    """What could not be read, in words; None where all could."""
    if not history.damaged:
        return None
    count = len(history.damaged)
    shown = ", ".join(map(str, history.damaged[:5])) + (" …" if count > 5 else "")
    what = (
        "1 line could not be read and does not count"
        if count == 1
        else f"{count} lines could not be read and do not count"
    )
    return f"{path}: {what}: {shown}"
