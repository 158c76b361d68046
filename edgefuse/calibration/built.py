"""What a set out of recordings says of itself: ``report.json`` beside its two folders. Standard library only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefuse.calibration.recorded import Order, Source
from edgefuse.noninferiority import MIN_SAMPLES, MIN_UNITS

FORMAT = 1
KIND = "edgefuse calibration set"
REPORT = "report.json"


def is_built_set(path: Path) -> bool:
    return read_report(path) is not None


def read_report(path: Path) -> dict[str, Any] | None:
    """What :func:`build_set` wrote of the set at *path*; None where it did not make it."""
    try:
        found = json.loads((path / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("kind") == KIND else None


def described(report: Mapping[str, Any]) -> str:
    """What a line says behind the numbers of samples: out of what, and what was left out."""
    names = [item["path"] for item in report["recordings"]]
    shown = names[0] if len(names) == 1 else f"{len(names)} recordings"
    dropped = report["dropped"]
    if not dropped:
        return f" from {shown}"
    reasons = next(iter(dropped)) if len(dropped) == 1 else ", ".join(f"{dropped[name]} {name}" for name in dropped)
    count = sum(dropped.values())
    return f" from {shown}; {count} instant{'' if count == 1 else 's'} dropped ({reasons})"


def dropped_instants(sources: Sequence[Source]) -> Counter[str]:
    """Reason to number of instants, of all sources."""
    found = Counter[str]()
    for source in sources:
        found.update(source.aligned.dropped)
        found.update(source.dropped)
    return found


def make_report(order: Order, sources: Sequence[Source], split: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON values; *split* are the facts about stretches and numbers of samples."""
    return {
        "format": FORMAT,
        "kind": KIND,
        "recordings": [source.to_json() for source in sources],
        "split": {"by": "stretches of time", "seed": order.seed, **split},
        "asked": {"calibrate": order.samples, "golden": order.golden},
        "dropped": dict(dropped_instants(sources).most_common()),
        "state": sorted(order.recorded.state),
        "notes": [*_shortcomings(order, split), *_damages(sources)],
    }


def _shortcomings(order: Order, split: Mapping[str, Any]) -> list[str]:
    """What a person should know before the set is relied on."""
    found, (calibrate, golden, groups) = [], (split[name] for name in ("calibrate", "golden", "golden_groups"))
    if calibrate < order.samples:
        found.append(f"{calibrate} samples calibrate; {order.samples} were asked for")
    if golden < min(order.golden, MIN_SAMPLES):
        found.append(f"{golden} samples are held out; a metric without bounds needs {MIN_SAMPLES} to pass")
    if groups < MIN_UNITS:
        found.append(f"they are of {groups} stretches of about a second; a verdict needs {MIN_UNITS}")
    if order.recorded.state:
        found.append(f"{', '.join(sorted(order.recorded.state))}: the model's state is zero, as a stream begins")
    return found


def _damages(sources: Sequence[Source]) -> list[str]:
    notes = [(source.path.name, (source.recording.damage, *source.recording.notes)) for source in sources]
    return [f"{name}: {note}" for name, given in notes for note in given if note]
