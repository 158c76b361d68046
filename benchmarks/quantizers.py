"""Our Q/DQ placement against NNCF's presets on OpenVINO: accuracy, fidelity, latency, tool time.

    python benchmarks/quantizers.py [RECIPE …]

Same float graph, same 256 calibration samples, same held-out samples, latency in turns in one run.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nncf
import numpy as np
from rich.console import Console
from rich.table import Table

from edgefuse.backends.openvino import ov
from edgefuse.calibration import CalibrationSet, open_calibration
from edgefuse.export import load_source
from edgefuse.fidelity import Fidelity
from edgefuse.latency import measure
from edgefuse.quantize import quantize_int8
from edgefuse.recipe import find_recipe, read_recipe
from edgefuse.resources import shipped_names
from edgefuse.spec import Array, Feed

THREADS = 2


@dataclass
class Arm:
    """One way to make the model fast, compiled for this CPU."""

    request: Any
    tool_s: float

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return {"logits": next(iter(self.request.infer(feed).values())).copy()}

    def close(self) -> None:
        self.request = None


def compiled(model: Any, precision: str, tool_s: float) -> Arm:
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": precision}
    return Arm(ov.Core().compile_model(model, "CPU", config).create_infer_request(), tool_s)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def build_arms(float_onnx: Path, folder: Path, samples: CalibrationSet) -> dict[str, Arm]:
    core, feeds = ov.Core(), list(samples.calibrate.feeds())
    read: Callable[[], Any] = lambda: core.read_model(float_onnx)  # noqa: E731
    _, own_s = timed(lambda: quantize_int8(float_onnx, folder / "own.onnx", feeds))
    default, default_s = timed(lambda: nncf.quantize(read(), nncf.Dataset(feeds), subset_size=len(feeds)))
    transformer, transformer_s = timed(
        lambda: nncf.quantize(
            read(), nncf.Dataset(feeds), subset_size=len(feeds), model_type=nncf.ModelType.TRANSFORMER
        )
    )
    return {
        "OpenVINO f32": compiled(read(), "f32", 0.0),
        "OpenVINO bf16": compiled(read(), "bf16", 0.0),
        "NNCF default INT8": compiled(default, "f32", default_s),
        "NNCF transformer INT8": compiled(transformer, "f32", transformer_s),
        "EdgeFuse INT8": compiled(core.read_model(folder / "own.onnx"), "f32", own_s),
        "EdgeFuse INT8 + bf16": compiled(core.read_model(folder / "own.onnx"), "bf16", own_s),
    }


def answers(run: Callable[[Feed], dict[str, Array]], feeds: Iterable[Feed]) -> Array:
    return np.concatenate([np.asarray(run(feed)["logits"]).reshape(1, -1) for feed in feeds])


def compare(name: str, path: Path) -> Table:
    recipe = read_recipe(path)
    assert recipe.model.weights is not None
    source = load_source(recipe.model.weights, recipe)
    samples = open_calibration(recipe.calibration, source.spec, recipe.accuracy.label)
    golden = list(samples.golden)
    feeds, labels = [sample.feed for sample in golden], np.array([int(sample.label) for sample in golden])  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        source.export(Path(folder) / "float.onnx")
        arms = build_arms(Path(folder) / "float.onnx", Path(folder), samples)
    reference = answers(source.runner, feeds)
    latency = measure(arms, feeds[:50], budget_s=10.0, max_runs=800)
    base = latency["OpenVINO f32"].percentile(50)
    table = Table(
        "",
        "top-1 %",
        "agree with float %",
        "SQNR dB",
        "p50 speed-up",
        "p90 ms",
        "tool s",
        title=f"{name}: {len(golden)} held-out samples, {THREADS} threads",
    )
    for label, arm in arms.items():
        found, fidelity = answers(arm, feeds), Fidelity("logits")
        for expected, got in zip(reference, found):
            fidelity.add(expected, got)
        best = found.argmax(axis=1)
        table.add_row(
            label,
            f"{100 * np.mean(best == labels):.2f}",
            f"{100 * np.mean(best == reference.argmax(axis=1)):.2f}",
            f"{fidelity.sqnr_db:.1f}",
            f"{base / latency[label].percentile(50):.2f}",
            f"{latency[label].percentile(90):.3f}",
            f"{arm.tool_s:.1f}",
        )
    return table


def main() -> None:
    logging.getLogger("nncf").setLevel(logging.ERROR)
    for name in sys.argv[1:] or shipped_names("recipes", "*/recipe.toml"):
        path = find_recipe(name)
        if path is None:
            sys.exit(f"there is no recipe {name!r}")
        Console(width=110).print(compare(name, path))


if __name__ == "__main__":
    main()
