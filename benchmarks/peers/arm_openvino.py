"""OpenVINO as it comes, and with NNCF's INT8: compiled with default hints, called as ``compiled(feed)``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from edgefuse.check import Comparison
from edgefuse.fidelity import Fidelity
from edgefuse.spec import Array, Feed
from peers.case import Case

os.environ.setdefault("NNCF_CI", "1")  # no telemetry


class OvRunner:
    def __init__(self, path: Path, case: Case, **config: str) -> None:
        self.compiled = ov.Core().compile_model(path, "CPU", config)
        self.outputs = case.spec.outputs

    def __call__(self, feed: Feed) -> dict[str, Array]:
        results = self.compiled(dict(feed))
        return {name: results[name] for name in self.outputs}


def open_f32(case: Case, folder: Path) -> OvRunner:
    return OvRunner(case.onnx, case, INFERENCE_PRECISION_HINT="f32")


def open_default(case: Case, folder: Path) -> OvRunner:
    return OvRunner(case.onnx, case)


def open_int8(case: Case, folder: Path) -> OvRunner:
    return OvRunner(folder / "int8.xml", case)


def build_int8(case: Case, folder: Path) -> None:
    _quantize(case, folder)


def build_transformer(case: Case, folder: Path) -> None:
    import nncf

    _quantize(case, folder, model_type=nncf.ModelType.TRANSFORMER)


def _quantize(case: Case, folder: Path, **settings: Any) -> None:
    import nncf

    model = ov.Core().read_model(case.onnx)
    ov.save_model(nncf.quantize(model, nncf.Dataset(case.feeds), **settings), folder / "int8.xml")


def build_controlled(case: Case, folder: Path) -> None:
    """``quantize_with_accuracy_control``, validated on the samples that calibrate, as EdgeFuse's search is.

    With a metric the limit is the recipe's. Without one it is the gate: NNCF asks for a figure that may *drop* by so
    much from the float model's, and the float model's SQNR to itself has no useful value, so the figure is the SQNR
    capped at the gate, min(SQNR, 30 dB). The float model has 30, a candidate that passes has 30 too, and the permitted
    drop is 0; below the gate the figure still tells better from worse.
    """
    import nncf

    model, limit = ov.Core().read_model(case.onnx), case.recipe.accuracy.max_drop
    labelled = case.judge.metric is not None
    validate = partial(_score, case) if labelled else partial(_capped_sqnr, case, folder / "reference.npz")
    if not labelled:
        _write_reference(case, folder / "reference.npz")
    quantized = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(case.feeds),
        nncf.Dataset(list(case.calibrate) if labelled else case.feeds, lambda item: getattr(item, "feed", item)),
        validate,
        max_drop=limit.value if labelled else 0.0,
        drop_type=nncf.DropType.RELATIVE if labelled and limit.relative else nncf.DropType.ABSOLUTE,
    )
    ov.save_model(quantized, folder / "int8.xml")


def _score(case: Case, compiled: Any, samples: Iterable[Any]) -> tuple[float, list[float]]:
    """The metric's mean, higher is better as NNCF wants it, and its value for each sample."""
    judge = case.judge
    assert judge.metric is not None
    sign = 1.0 if judge.metric.higher_is_better else -1.0
    scores = [sign * judge.metric.score(compiled(item.feed)[judge.output], item.label) for item in samples]
    return float(np.mean(scores)), scores


def _write_reference(case: Case, path: Path) -> None:
    runner = open_f32(case, path.parent)
    rows = [runner(feed) for feed in case.feeds]
    np.savez(path, **{name: np.stack([row[name] for row in rows]) for name in case.spec.outputs})


def _capped_sqnr(case: Case, path: Path, compiled: Any, feeds: Iterable[Feed]) -> tuple[float, list[list[Array]]]:
    """min(SQNR of the worst output, the gate) over all samples, and the outputs for each: NNCF ranks by those. It
    first tries one sample alone, in which case the figure is only looked at for its type."""
    found: list[list[Array]] = []
    with np.load(path) as archive:
        references = {name: archive[name] for name in case.spec.outputs}
    comparison = Comparison({}, {name: Fidelity(name) for name in references})
    for index, feed in enumerate(feeds):
        results = compiled(feed)
        found.append([results[name].copy() for name in references])
        for (name, expected), got in zip(references.items(), found[-1]):
            comparison.fidelities[name].add(expected[index], got)
    return min(comparison.worst_sqnr_db, case.recipe.accuracy.min_sqnr_db), found
