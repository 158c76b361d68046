"""Our Q/DQ placement against NNCF's presets on OpenVINO: accuracy, fidelity, latency, tool time.

    python benchmarks/quantizers.py [RECIPE or MODEL …]

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

import models
import nncf
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from edgefuse.backends.openvino import ov
from edgefuse.calibration import CalibrationSet, open_calibration
from edgefuse.export import load_source
from edgefuse.fidelity import Fidelity
from edgefuse.latency import measure
from edgefuse.quantize import quantize_int8
from edgefuse.recipe import CalibrationSource, Recipe, read_recipe
from edgefuse.resources import shipped_names
from edgefuse.spec import Array, Feed

THREADS = 2


@dataclass
class Arm:
    """One way to make the model fast, compiled for this CPU."""

    request: Any
    tool_s: float

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return {"output": next(iter(self.request.infer(feed).values())).copy()}

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
    return np.concatenate([next(iter(run(feed).values())).reshape(1, -1) for feed in feeds])


@dataclass(frozen=True)
class Case:
    """A model to compare on: its recipe (untrained ones have no labels) and where its float model lies."""

    recipe: Recipe
    model: Path


def recipe_case(path: Path) -> Case:
    recipe = read_recipe(path)
    assert recipe.model.weights is not None
    return Case(recipe, recipe.model.weights)


def untrained_case(name: str, folder: Path) -> Case:
    example = {key: torch.from_numpy(array[0]) for key, array in models.samples(1).items()}
    torch.export.save(torch.export.export(models.build(name), (), example), folder / "model.pt2")
    np.savez(folder / "samples.npz", **models.samples(192))
    source = CalibrationSource(folder / "samples.npz", samples=64)
    return Case(Recipe(name, folder, calibration=source), folder / "model.pt2")


def compare(case: Case, folder: Path) -> Table:
    recipe = case.recipe
    source = load_source(case.model, recipe)
    samples = open_calibration(recipe.calibration, source.spec, recipe.accuracy.label)
    feeds, labels = [], []
    for sample in samples.golden:
        feeds.append(sample.feed)
        labels.append(-1 if sample.label is None else int(sample.label))
    source.export(folder / "float.onnx")
    arms = build_arms(folder / "float.onnx", folder, samples)
    reference = answers(source.runner, feeds)
    latency = measure(arms, feeds[:50], budget_s=20.0, max_runs=800)
    base = latency["OpenVINO f32"].percentile(50)
    title = f"{recipe.name}: {len(feeds)} held-out samples, {THREADS} threads"
    columns = ("", "top-1 %", "agree with float %", "SQNR dB", "mean-free dB", "p50 speed-up", "p90 ms", "tool s")
    table = Table(*columns, title=title)
    for label, arm in arms.items():
        found, fidelity = answers(arm, feeds), Fidelity("output")
        for expected, got in zip(reference, found):
            fidelity.add(expected, got)
        best = found.argmax(axis=1)
        labelled = recipe.accuracy.label is not None
        table.add_row(
            label,
            f"{100 * np.mean(best == np.array(labels)):.2f}" if labelled else "untrained",
            f"{100 * np.mean(best == reference.argmax(axis=1)):.2f}" if labelled else "untrained",
            f"{fidelity.sqnr_db:.1f}",
            f"{fidelity.sqnr_centered_db:.1f}",
            f"{base / latency[label].percentile(50):.2f}",
            f"{latency[label].percentile(90):.3f}",
            f"{arm.tool_s:.1f}",
        )
    return table


def main() -> None:
    logging.getLogger("nncf").setLevel(logging.ERROR)
    recipes = shipped_names("recipes", "*/recipe.toml")
    for name in sys.argv[1:] or [*recipes, *models.MODELS]:
        with tempfile.TemporaryDirectory() as folder:
            if name in recipes:
                case = recipe_case(recipes[name])
            elif name in models.MODELS:
                case = untrained_case(name, Path(folder))
            else:
                sys.exit(f"there is no model {name!r}; known: {', '.join([*recipes, *models.MODELS])}")
            Console(width=120).print(compare(case, Path(folder)))


if __name__ == "__main__":
    main()
