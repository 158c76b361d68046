"""A small robot whose models are numpy, so that what a corruption does to them can be computed by hand: two sensors, a
linear classifier, a bundle's folder with golden samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgefuse.bundle import Bundle
from edgefuse.check import make_judge
from edgefuse.errors import ToolchainError
from edgefuse.metrics import METRICS
from edgefuse.parts import Part, Partition
from edgefuse.progress import Steps
from edgefuse.recipe import Accuracy, Limit
from edgefuse.robustness import measure_robustness
from edgefuse.robustness.cases import Options
from edgefuse.samples import SampleWriter
from edgefuse.spec import ModelSpec, TensorSpec

CLASSES = 4
SPEC = ModelSpec(
    (
        TensorSpec("image", (1, 1, 4, 4), "float32", "image", "camera", 10.0),
        TensorSpec("motion", (1, 12, 3), "float32", "imu", "imu", 50.0),
    ),
    ("logits",),
)
RNG = np.random.default_rng(3)
WEIGHTS = {"image": RNG.standard_normal((16, CLASSES)), "motion": 0.4 * RNG.standard_normal((36, CLASSES))}


def unit(array):
    return array.reshape(1, -1) / max(np.linalg.norm(array), 1e-9)


class Linear:
    """logits = Σ weights·x/|x|, x what *change* makes of each input: a runner that no gain disturbs."""

    def __init__(self, change=lambda name, array: array, weights=None):
        self.change, self.weights, self.calls, self.closed = change, weights or WEIGHTS, 0, False

    def __call__(self, feed):
        self.calls += 1
        changed = {name: np.asarray(self.change(name, feed[name]), np.float64) for name in self.weights}
        logits = sum(unit(array) @ self.weights[name] for name, array in changed.items())
        return {"logits": logits.astype(np.float32)}

    def close(self):
        self.closed = True


class Regression(Linear):
    """One number, the sum of each input's mean."""

    def __call__(self, feed):
        means = [np.asarray(self.change(name, array), np.float64).mean() for name, array in feed.items()]
        return {"logits": np.array([[sum(means)]], np.float32)}


class Fails(Linear):
    """A vendor's library that refuses what is far out."""

    def __call__(self, feed):
        if np.abs(feed["image"]).max() > 50:
            raise ToolchainError("illegal value")
        return super().__call__(feed)


def clipped(kind=Linear):
    """A compiled model whose input range is the calibrated one."""
    return kind(lambda name, array: np.clip(array, -2.5, 2.5))


def make_feeds(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {
            "image": np.clip(rng.standard_normal((1, 1, 4, 4)), -2.5, 2.5).astype(np.float32),
            "motion": np.clip(rng.standard_normal((1, 12, 3)), -2.5, 2.5).astype(np.float32),
        }


def make_bundle(folder: Path, count=400, model=None, groups=None, stamps_ns=None, label=None, streams=None, seed=0):
    """Golden samples labelled by the model itself, sure of nothing."""
    model = model or Linear()
    with SampleWriter(folder / "golden.npz") as writer:
        for index, feed in enumerate(make_feeds(count, seed)):
            logits = model(feed)["logits"]
            row = {f"inputs.{name}": array for name, array in feed.items()} | {"reference.logits": logits}
            row["label"] = np.asarray(
                logits.argmax() if label is None else label(logits), logits.dtype if label else int
            )
            if groups is not None:
                row["group"] = np.asarray(groups[index], np.int64)
            if stamps_ns is not None:
                row["stamp_ns"] = np.asarray(stamps_ns[index], np.int64)
            writer.write(row)
    whole = Part("whole", ("camera", "imu"), SPEC.names, SPEC.outputs)
    manifest = {
        "model": SPEC.to_json(),
        "partition": Partition((whole,)).to_json(),
        "streams": streams or {},
        "artifact": {"parts": []},
    }
    return Bundle(folder, manifest, folder)


def judge(metric="top1", limit="5%", label="label"):
    value = Limit(float(limit.rstrip("%pt")) / 100, True) if limit.endswith("%") else Limit(float(limit), False)
    accuracy = Accuracy(metric=metric, output=None, label=label if metric != "sqnr" else None, max_drop=value)
    return make_judge(accuracy, METRICS.get(metric), SPEC.outputs)


def measure(bundle, compiled, reference=None, judged=None, **options):
    return measure_robustness(
        bundle, judged or judge(), reference or Linear(), compiled, Steps(quiet=True), Options(**options)
    )


def cases_of(found, **wanted):
    return [case for case in found["cases"] if all(case[key] == value for key, value in wanted.items())]
