"""What must run in a child process: the vendor's compilation and a graph's first inference, which may crash.

Called by name through :mod:`edgefuse.child`; arguments and results are JSON. Numpy and one vendor library.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends import Backend, Settings, load_backend
from edgefuse.bundle import open_bundle
from edgefuse.golden import read_golden
from edgefuse.parts import Partition
from edgefuse.runtime import open_runner
from edgefuse.spec import ModelSpec

SAMPLES = 2


def compile_artifact(
    backend: str, onnx_path: str, out: str, golden: str, spec: dict[str, Any], settings: list[dict[str, Any]]
) -> int:
    """Compile unless it is there already, open the result as a robot would with each of *settings*, and run a few
    samples; returns how many."""
    vendor, model, ways = load_backend(backend), ModelSpec.from_json(spec), [Settings(**item) for item in settings]
    if not Path(out).exists():
        _compile_whole(vendor, Path(onnx_path), Path(out), model, ways[0])
    runs = 0
    for how in ways:
        runner = vendor.open(Path(out), model, how)
        samples = itertools.islice(read_golden(Path(golden)), SAMPLES)
        runs += sum(1 for sample in samples if runner(sample.feed))
        runner.close()
    return runs


def _compile_whole(vendor: Backend, onnx_path: Path, out: Path, spec: ModelSpec, settings: Settings) -> None:
    """All of the artifact or nothing: it is renamed to *out* when it is done."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    vendor.compile(onnx_path, part, spec, settings)
    part.rename(out)


def compile_parts(
    backend: str,
    onnx_paths: dict[str, str],
    out: str,
    golden: str,
    spec: dict[str, Any],
    partition: dict[str, Any],
    settings: list[dict[str, Any]],
) -> int:
    """Compile every part into a folder of its own below *out* ("0", "1" …, in the partition's order), and run all of
    them one after another on a few samples with each of *settings*; returns how many."""
    vendor, model, cut = load_backend(backend), ModelSpec.from_json(spec), Partition.from_json(partition)
    folders = {part.name: Path(out) / str(index) for index, part in enumerate(cut.parts)}
    specs = {part.name: part_spec(part, cut, model) for part in cut.parts}
    for name, folder in folders.items():
        folder.mkdir()
        vendor.compile(Path(onnx_paths[name]), folder, specs[name], Settings(**settings[0]))
    runs = 0
    for how in settings:
        runners = {name: vendor.open(folders[name], specs[name], Settings(**how)) for name in folders}
        whole = Assembled(cut, runners, model)
        samples = itertools.islice(read_golden(Path(golden)), SAMPLES)
        runs += sum(1 for sample in samples if whole(sample.feed))
        whole.close()
    return runs


def run_bundle_once(path: str) -> int:
    """Open a bundle and run a few of its golden samples; returns how many."""
    with open_bundle(Path(path)) as bundle:
        runner = open_runner(bundle)
        samples = itertools.islice(read_golden(bundle.path / "golden.npz"), SAMPLES)
        return sum(1 for sample in samples if runner(sample.feed))


def capabilities(backend: str) -> dict[str, Any]:
    """The backend's version, what its artifacts here are tied to, and what this machine can do with it."""
    vendor = load_backend(backend)
    known = {"version": vendor.version(), "identity": vendor.identity(), "one_artifact": vendor.ONE_ARTIFACT}
    return {**known, **vendor.capabilities()}
