"""The command line's verbs on a connected device, each as the function of the same name does it on this machine."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgefuse.bundle import open_bundle
from edgefuse.bundle_writer import new_bundle, write_manifest
from edgefuse.errors import RecordingError
from edgefuse.manifest import MANIFEST, REPORT_HTML
from edgefuse.progress import Steps
from edgefuse.recipe import Limit
from edgefuse.recompile import Rerun
from edgefuse.remote.connected import RemoteDevice
from edgefuse.robustness.cases import Options as RobustnessOptions
from edgefuse.spec import Array

LONG_S = 7200.0
"""A robustness check of a large model, or a replay in real time, on a slow board."""

BUILDS_S = 8 * 3600.0
"""Several engines, each of which may take half an hour on an Orin Nano."""


def check_bundle(
    device: RemoteDevice,
    path: Path,
    steps: Steps,
    *,
    max_drop: Limit | None = None,
    p90_ms: float | None = None,
    metrics_folder: Path | None = None,
    robustness: RobustnessOptions | None = None,
) -> dict[str, Any]:
    """As :func:`edgefuse.recheck.check_bundle`, of the bundle at *path*."""
    arguments = {
        "bundle": device.put_bundle(path),
        "max_drop": asdict(max_drop) if max_drop else None,
        "p90_ms": p90_ms,
        "metric": metric_argument(device, path, metrics_folder),
        "robustness": asdict(robustness) if robustness else None,
    }
    report: dict[str, Any] = device.ask(
        "check", arguments, steps=steps, timeout_s=LONG_S, what="Checking the bundle"
    ).value
    return report


def compile_bundle(device: RemoteDevice, path: Path, asked: Rerun, steps: Steps) -> dict[str, Any]:
    """As :func:`edgefuse.recompile.compile_bundle`, of the bundle at *path*. The page for people is written here, where
    the packages for it are."""
    arguments = {
        "bundle": device.put_bundle(path),
        "shown": str(path),
        "target": asked.target,
        "precision": asked.precision,
        "max_drop": asdict(asked.max_drop) if asked.max_drop else None,
        "p90_ms": asked.p90_ms,
        "budget_s": asked.budget_s if math.isfinite(asked.budget_s) else None,
        "metric": metric_argument(device, path, asked.metrics_folder),
    }
    made = device.ask("compile", arguments, steps=steps, timeout_s=BUILDS_S, what="Compiling the bundle").value
    with open_bundle(path) as bundle, new_bundle(asked.out) as folder:
        known = {item["sha256"]: bundle.path / name for name, item in bundle.manifest["files"].items()}
        device.fetch(made["key"], folder, known)
        if asked.render is not None:
            asked.render(folder / REPORT_HTML, made["report"])
            write_manifest(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    report: dict[str, Any] = made["report"]
    return report


def bench_bundles(
    device: RemoteDevice, candidate: Path, baseline: Path | None, options: Mapping[str, Any], steps: Steps
) -> dict[str, Any]:
    """As :func:`edgefuse.bench.bench_bundles`; *options* are the fields of its ``Options``."""
    arguments = {
        "candidate": device.put_bundle(candidate),
        "baseline": device.put_bundle(baseline) if baseline is not None else None,
        "options": dict(options),
    }
    timeout_s = LONG_S + options["budget_s"]
    report: dict[str, Any] = device.ask(
        "bench", arguments, steps=steps, timeout_s=timeout_s, what="Measuring the bundles in turns"
    ).value
    for name, path in (("candidate", candidate), ("baseline", baseline)):
        if path is not None:
            report[name]["path"] = str(path)
    return report


def run_once(device: RemoteDevice, path: Path, feed: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of the bundle at *path* for one *feed*."""
    answer = device.ask("run", {"bundle": device.put_bundle(path)}, arrays=feed, what="Running the bundle once")
    return dict(answer.arrays)


def replay_bundle(
    device: RemoteDevice,
    path: Path,
    recording: Path,
    steps: Steps,
    options: Mapping[str, Any],
    metrics_folder: Path | None = None,
) -> dict[str, Any]:
    """As :func:`edgefuse.replay.replay_bundle`; *options* as the job ``replay`` takes them."""
    if not recording.exists():
        raise RecordingError("there is no such recording", where=str(recording))
    arguments = {
        **options,
        "bundle": device.put_bundle(path),
        "recording": device.put_folder(recording),
        "name": recording.name if recording.is_file() else "",
        "metric": metric_argument(device, path, metrics_folder),
    }
    answer = device.ask("replay", arguments, steps=steps, timeout_s=LONG_S, what="Replaying the recording")
    found: dict[str, Any] = answer.value
    return found


def metric_argument(device: RemoteDevice, path: Path, folder: Path | None) -> dict[str, str] | None:
    """The file of the bundle's custom metric ("metrics.py:mine"), sent there from the recipe's *folder*; None where it
    has none or no folder is given."""
    with open_bundle(path, hashes=False) as bundle:
        file, separator, _ = str(bundle.manifest["limits"]["accuracy"]["metric"]).rpartition(":")
    if folder is None or not separator:
        return None
    return {"file": device.put_file(folder / file), "name": file}
