"""What a call costs beyond the vendor's own, and what importing costs.

    python benchmarks/overhead.py

Interleaved in one run; prints medians and their difference. Not a timed test: read the table.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

import edgefuse
from edgefuse.backends.openvino import ov
from edgefuse.bundle import open_bundle
from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.golden import read_golden
from edgefuse.latency import measure
from edgefuse.progress import Steps
from edgefuse.recipe import CalibrationSource, Recipe, find_recipe, read_recipe

ROUNDS = 3000
IMPORTS = ("import numpy", "import edgefuse", "import edgefuse.cli", "import openvino", "import torch")


def compile_digits(out: Path) -> None:
    found = find_recipe("digits")
    assert found is not None
    recipe = read_recipe(found)
    recipe = replace(recipe, calibration=replace(recipe.calibration, golden=64))
    assert recipe.model.weights is not None
    compile_model(Request(recipe.model.weights, recipe, load_device("host"), out, "int8"), Steps(quiet=True))


def compile_add(out: Path) -> None:
    """y = a + b on four numbers: nearly all of a call is what surrounds the inference."""
    graph = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]>
        add (float[1, 4] a, float[1, 4] b) => (float[1, 4] y) { y = Add(a, b) }""")
    onnx.save(graph, out.with_name("add.onnx"))
    values = np.random.default_rng(0).normal(size=(2, 100, 4)).astype(np.float32)
    np.savez(out.with_name("add.npz"), a=values[0], b=values[1])
    recipe = Recipe("add", out.parent, calibration=CalibrationSource(out.with_name("add.npz")))
    compile_model(Request(out.with_name("add.onnx"), recipe, load_device("host"), out, "float"), Steps(quiet=True))


def measure_calls(path: Path, title: str) -> None:
    with open_bundle(path) as bundle:
        feeds = [sample.feed for sample in itertools.islice(read_golden(path / "golden.npz"), 16)]
        core, settings = ov.Core(), bundle.settings
        compiled = core.compile_model(
            core.read_model(bundle.artifact / "model.xml"),
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": settings.threads,
                "INFERENCE_PRECISION_HINT": settings.inference_precision,
            },
        )
        request = compiled.create_infer_request()
        with edgefuse.load(path) as model:
            found = measure(
                {
                    "request.infer(feed)": request.infer,
                    "compiled(feed)": compiled,  # type: ignore[dict-item]
                    "edgefuse model(feed)": model,
                },
                feeds,
                budget_s=15,
                max_runs=ROUNDS,
            )
    base = found["request.infer(feed)"].percentile(50) * 1e3
    table = Table("call", "p50 µs", "beyond request.infer(feed), µs", "ratio", title=f"{title}, same arrays")
    for name, latency in found.items():
        median = latency.percentile(50) * 1e3
        table.add_row(name, f"{median:.1f}", f"{median - base:+.1f}", f"{median / base:.3f}")
    Console().print(table)


def measure_imports() -> None:
    taken: dict[str, list[float]] = {text: [] for text in IMPORTS}
    for _ in range(5):
        for text in IMPORTS:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", text], check=True)
            taken[text].append(time.perf_counter() - start)
    base = statistics.median(taken["import numpy"])
    table = Table("fresh interpreter", "p50 s", "of import numpy", title="start-up")
    for text, values in taken.items():
        table.add_row(text, f"{statistics.median(values):.3f}", f"{statistics.median(values) / base:.2f}")
    Console().print(table)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.edgefuse"
        compile_digits(path)
        measure_calls(path, "digits, INT8")
        path = Path(folder) / "add.edgefuse"
        compile_add(path)
        measure_calls(path, "y = a + b")
    measure_imports()


if __name__ == "__main__":
    main()
