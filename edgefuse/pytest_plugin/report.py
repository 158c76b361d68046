"""What a run found, for people at its end and for machines in ``--edgefuse-report``."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefuse.pytest_plugin.outcome import ERROR, SKIPPED
from edgefuse.verdict import Verdict, combine
from edgefuse.version import __version__

if TYPE_CHECKING:
    from edgefuse.pytest_plugin.run import Run

FORMAT = 1
REMARKS = 4
"""On the device's state, in a terminal; all are in the report."""

STYLES = {"pass": "green", "fail": "red", "error": "red", "inconclusive": "yellow", "skipped": "yellow"}


def write_summary(terminal: Any, run: Run) -> None:
    """One line for each check that found something, and what is remarkable about the device."""
    if not run.found:
        return
    terminal.write_sep("=", "EdgeFuse")
    for record in run.devices[:1]:
        machine = record["environment"]
        said = [str(machine["cpu"]), f"{machine['cores']} cores", *_packages(machine)]
        terminal.write_line(f"on {record['address']}: {', '.join(said)}")
    remarks = [remark for record in run.devices for remark in record["device_state"].get("remarks", ())]
    for remark in list(dict.fromkeys(remarks))[:REMARKS]:
        terminal.write_line(f"note: {remark}")
    test = max(len(item["test"]) for item in run.found)
    for item in run.found:
        word = item["word"] or item["verdict"]
        extra = "" if item["test"].endswith(f"::{item['check']}") else f"{item['check']}: "
        terminal.write(f"{item['test']:<{test}}  ")
        terminal.write(f"{word:<12}", **{STYLES[item["verdict"]]: True})
        terminal.write_line(f"  {extra}{item['summary'].splitlines()[0]}")
        if item["verdict"] == SKIPPED and item["hint"]:
            terminal.write_line(f"{'':<{test + 2}}{item['hint']}")


def _packages(machine: dict[str, Any]) -> list[str]:
    names = ("openvino", "onnxruntime", "tensorrt")
    return [f"{name} {machine['packages'][name]}" for name in names if name in machine["packages"]]


def write_report(path: Path, run: Run) -> None:
    """Whole or not at all."""
    report = {
        "format": FORMAT,
        "edgefuse": __version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "verdict": verdict_of(run.found),
        "strict": run.settings.strict,
        "devices": run.devices,
        "bundles": run.bundles,
        "checks": run.found,
    }
    text = json.dumps(_finite(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as part:
        try:
            part.write(text)
            part.flush()
            os.chmod(part.name, 0o644)
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null in their place."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verdict_of(found: Sequence[dict[str, Any]]) -> str | None:
    """Of all checks that judged something; None where none did."""
    verdicts = [Verdict.FAIL if item["verdict"] == ERROR else item["verdict"] for item in found]
    judged = [Verdict(verdict) for verdict in verdicts if verdict != SKIPPED]
    return combine(judged).value if judged else None
