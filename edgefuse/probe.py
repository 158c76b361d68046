"""What must run in a child process: the vendor's compilation and a graph's first inference, which may crash.

Called by name through :mod:`edgefuse.child`; arguments and results are JSON. Numpy and one vendor library.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from edgefuse.backends import Settings, load_backend
from edgefuse.bundle import open_bundle
from edgefuse.golden import read_golden
from edgefuse.runtime import open_runner
from edgefuse.spec import ModelSpec

SAMPLES = 2


def compile_artifact(
    backend: str, onnx_path: str, out: str, golden: str, spec: dict[str, Any], settings: dict[str, Any]
) -> int:
    """Compile, open the result as a robot would, and run a few samples; returns how many."""
    vendor, model, how = load_backend(backend), ModelSpec.from_json(spec), Settings(**settings)
    vendor.compile(Path(onnx_path), Path(out), model, how)
    runner = vendor.open(Path(out), model, how)
    return sum(1 for sample in itertools.islice(read_golden(Path(golden)), SAMPLES) if runner(sample.feed))


def run_bundle_once(path: str) -> int:
    """Open a bundle and run a few of its golden samples; returns how many."""
    with open_bundle(Path(path)) as bundle:
        runner = open_runner(bundle)
        samples = itertools.islice(read_golden(bundle.path / "golden.npz"), SAMPLES)
        return sum(1 for sample in samples if runner(sample.feed))


def capabilities(backend: str) -> dict[str, Any]:
    """The backend's version, what its artifacts here are tied to, and what this machine can do with it."""
    vendor = load_backend(backend)
    return {"version": vendor.version(), "identity": vendor.identity(), **vendor.capabilities()}
