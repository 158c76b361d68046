"""EdgeFuse as its users have it: the command line, and ``edgefuse.load``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import edgefuse
from edgefuse.runtime import Model
from peers.case import Case

EXIT_INCONCLUSIVE = 3
"""Up to here the bundle is written, whatever its verdict; beyond, the command has failed."""


def command(case: Case, folder: Path, *more: str) -> list[str]:
    """`edgefuse compile`, with the same samples and limit that every arm has."""
    given = [str(case.model), "--recipe", str(case.recipe_path), "--target", "host"]
    return [sys.executable, "-m", "edgefuse", "compile", *given, "--json", "-o", str(folder / "bundle.edgefuse"), *more]


def open_bundle(case: Case, folder: Path) -> Model:
    return edgefuse.load(folder / "bundle.edgefuse")


def describe(folder: Path) -> str:
    """The plan that was chosen, and EdgeFuse's own verdict."""
    report = json.loads((folder / "bundle.edgefuse" / "report.json").read_text())
    parts = [part["precision"] for part in report["plan"]["parts"]]
    plan = " + ".join(parts) if len(set(parts)) > 1 else report["plan"]["precision"]
    return f"{plan}, {report['plan']['threads']} threads; own verdict {report['verdict']}"
