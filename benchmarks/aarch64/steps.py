"""What is run, on which machine, and what each run left: exit code, seconds, its JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aarch64.system import VENV, System
from aarch64.wheels import CHECKOUT
from edgefuse.fidelity import Fidelity
from edgefuse.golden import read_golden

NO_LIMIT = "600s"
"""The recipe's limit on latency says nothing about an emulator."""

TIMEOUT_S = 3600


@dataclass(frozen=True)
class Step:
    """``found`` is None where the command failed before it had something to say."""

    name: str
    command: str
    exit_code: int
    seconds: float
    found: Any


def compile_portable(system: System, recipe: str, target: str) -> Step:
    """At the workstation: everything that needs torch and onnx."""
    out = system.root / "work" / "portable.edgefuse"
    out.parent.mkdir(exist_ok=True)
    words = ["edgefuse", "compile", recipe, "--target", target]
    command = [sys.executable, "-m", *words, "-o", str(out), "--json"]
    return _run("portable bundle", words, command)


def doctor(system: System) -> Step:
    return _inside(system, "doctor", ["doctor", "--json"])


def finish(system: System) -> Step:
    words = ["compile", "/work/portable.edgefuse", "--max-latency", NO_LIMIT, "-o", "/work/finished.edgefuse", "--json"]
    return _inside(system, "compile", words)


def check(system: System) -> Step:
    return _inside(system, "check", ["check", "/work/finished.edgefuse", "--json"])


def run_once(system: System) -> Step:
    """One golden sample through ``edgefuse run``; ``found`` is its fidelity to the float model, per output."""
    sample = next(read_golden(system.root / "work" / "finished.edgefuse" / "golden.npz"))
    np.savez(system.root / "work" / "feed.npz", **sample.feed)
    words = ["run", "/work/finished.edgefuse", "--input", "/work/feed.npz", "--json"]
    done = _inside(system, "run", words, parse=lambda text: [json.loads(line) for line in text.splitlines()])
    if done.exit_code != 0:
        return done
    return Step(**{**vars(done), "found": [_fidelity(item, sample.reference) for item in done.found]})


def _fidelity(told: dict[str, Any], reference: dict[str, np.ndarray]) -> dict[str, Any]:
    expected = reference[told["output"]]
    fidelity = Fidelity(told["output"])
    fidelity.add(expected, np.asarray(told["values"], expected.dtype).reshape(told["shape"]))
    return fidelity.to_json()


def check_connected(system: System) -> Step:
    """From the workstation: the worker runs there."""
    bundle, device = str(system.root / "work" / "finished.edgefuse"), f"local?python={system.python}"
    words = ["check", bundle, "--device", device, "--json"]
    shown = ["edgefuse", "check", "finished.edgefuse", "--device", "local?python=PYTHON", "--json"]
    return _run("check --device", shown, [sys.executable, "-m", "edgefuse", *words])


def pytest_connected(system: System, name: str, *asked: str) -> Step:
    """The plugin's ready-made tests; ``found`` is what each of them came to."""
    report, folder = system.folder / "pytest.json", system.folder / "empty"
    folder.mkdir(exist_ok=True)  # nothing is collected but the bundle
    report.unlink(missing_ok=True)
    bundle, device = str(system.root / "work" / "finished.edgefuse"), f"local?python={system.python}"
    plugin = ["--edgefuse-timeout", str(TIMEOUT_S), "--edgefuse-report", str(report)]
    words = ["-m", "pytest", "-q", "--edgefuse-bundle", bundle, "--edgefuse-device", device, *asked]
    shown = ["pytest", "--edgefuse-bundle", "finished.edgefuse", "--edgefuse-device", "local?python=PYTHON", *asked]
    done = _run(name, shown, [sys.executable, *words, *plugin], parse=str, cwd=folder)
    print(done.found, file=sys.stderr)
    checks = json.loads(report.read_text(encoding="utf-8"))["checks"] if report.exists() else None
    return Step(**{**vars(done), "found": checks and [_outcome(item, system) for item in checks]})


def _outcome(check: dict[str, Any], system: System) -> dict[str, str]:
    emulated = check["check"] == "latency" and check["verdict"] != "error"
    said = (
        "(the emulator's)"
        if emulated
        else str(check["summary"]).splitlines()[0].replace(str(system.folder), "build/aarch64")
    )
    return {"check": check["check"], "outcome": check["word"] or check["verdict"], "says": said}


def _inside(system: System, name: str, words: Sequence[str], parse: Any = json.loads) -> Step:
    return _run(name, ["edgefuse", *words], system.command(f"{VENV}/bin/edgefuse", *words), parse)


def _run(
    name: str, shown: Sequence[str], command: Sequence[str], parse: Any = json.loads, cwd: Path = CHECKOUT
) -> Step:
    print(f"--- {' '.join(shown)}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=cwd, timeout=TIMEOUT_S, check=False)
    seconds = round(time.perf_counter() - started, 1)
    try:
        found = parse(done.stdout.decode("utf-8"))
    except ValueError:
        found = None
    return Step(name, " ".join(shown), done.returncode, seconds, found)
