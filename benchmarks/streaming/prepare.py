"""The models' bundles, made unless they are there: trained by ``fusion_models.py``, compiled by EdgeFuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def prepare(name: str, cache: Path) -> Path:
    """The bundle of the model called *name* in the folder *cache*. OpenVINO alone: the bare calls are its."""
    import fusion_models

    folder = fusion_models.prepare(name, cache)
    bundle = folder / "stream.edgefuse"
    if not bundle.exists() or bundle.stat().st_mtime < (folder / "model.pt2").stat().st_mtime:
        print(f"{name}: compiling, about two minutes", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "edgefuse", "compile", str(folder), "--target", "host", "-o", str(bundle)]
        subprocess.run([*command, "--backend", "openvino", "--quiet"], check=True, stdout=sys.stderr)
    return bundle


def describe(bundle: Path) -> list[str]:
    """How the bundle's plan came out."""
    plan = json.loads((bundle / "report.json").read_text())["plan"]
    cut = plan["cut"]
    parts = ", ".join(f"{name} {threads}" for name, threads in cut["threads"].items())
    lanes = " and ".join("+".join(lane) for lane in cut["lanes"])
    return [
        f"Plan {plan['precision']}; threads: {parts}; " + (f"lanes {lanes}" if lanes else "one lane") + ".",
        f"The search measured whole {cut['whole_p50_ms']:.2f} ms, split {cut['split_p50_ms']:.2f} ms (p50).",
    ]
