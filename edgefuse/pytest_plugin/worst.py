"""The samples on which the device's answers are worst, as a person looks them up. Numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgefuse.comparison import Judge, score_sample
from edgefuse.golden import GoldenSample
from edgefuse.spec import Array, shape_text

SHOWN = 5
VALUES = 4


@dataclass(frozen=True)
class WorstSample:
    """``loss`` is in the metric (positive: worse than the float model), None where there is none; ``error`` the largest
    difference of an element of ``output``; ``infinite`` where that is NaN or infinity against a number."""

    index: int
    label: str
    reference: str
    device: str
    output: str
    loss: float | None
    error: float
    infinite: bool

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "error": None if self.infinite else self.error}


@dataclass(frozen=True)
class Tally:
    """``samples`` by what became of them in the metric, and the worst ones."""

    samples: int
    worse: int
    better: int
    worst: Sequence[WorstSample]
    shapes: Sequence[str]

    def lines(self, judge: Judge) -> list[str]:
        same = self.samples - self.worse - self.better
        counts = f"samples: {self.worse} worse than the float model, {self.better} better, {same} alike"
        lines = [f"outputs: {', '.join(self.shapes)}"]
        if judge.metric is not None:
            lines.append(f"{self.samples} {counts}")
        return [*lines, *_table(self.worst)]


def tally(golden: Iterable[GoldenSample], answers: Iterable[Mapping[str, Array]], judge: Judge) -> Tally:
    """Both in the order of the golden samples."""
    rows: list[WorstSample] = []
    shapes: list[str] = []
    worse = better = index = 0
    for index, (sample, answer) in enumerate(zip(golden, answers)):
        if not shapes:
            shapes = [f"{name} {array.dtype} {shape_text(array.shape)}" for name, array in answer.items()]
        row = _compare(index, sample, answer, judge)
        worse += bool(row.loss and row.loss > 0)
        better += bool(row.loss and row.loss < 0)
        rows.append(row)
        if len(rows) > 4 * SHOWN:
            rows = sorted(rows, key=_badness)[:SHOWN]
    total = index + 1 if shapes else 0
    return Tally(total, worse, better, [row for row in sorted(rows, key=_badness)[:SHOWN] if _is_bad(row)], shapes)


def _compare(index: int, sample: GoldenSample, answer: Mapping[str, Array], judge: Judge) -> WorstSample:
    names = [judge.output] if judge.metric is not None else list(sample.reference)
    errors = {name: _error(sample.reference[name], answer[name]) for name in names}
    output = max(errors, key=lambda name: errors[name][1])
    error, share = errors[output]
    return WorstSample(
        index,
        "" if sample.label is None else _values(np.asarray(sample.label)),
        _answer(sample.reference[output], judge),
        _answer(answer[output], judge),
        output,
        _loss(sample, answer, judge),
        error,
        bool(np.isinf(share)),
    )


def _error(expected: Array, got: Array) -> tuple[float, float]:
    """The largest difference, and that as a share of the output's root mean square; infinite where one is no number."""
    a, b = expected.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if (~finite & ~((a == b) | (np.isnan(a) & np.isnan(b)))).any():
        return 0.0, float("inf")
    a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    error, size = float(np.max(np.abs(a - b), initial=0.0)), float(np.sqrt(np.mean(a**2))) if a.size else 0.0
    return error, error / size if size else error


def _loss(sample: GoldenSample, answer: Mapping[str, Array], judge: Judge) -> float | None:
    if judge.metric is None:
        return None
    drop = score_sample(judge, sample, sample.reference) - score_sample(judge, sample, answer)
    return drop if judge.metric.higher_is_better else -drop


def _badness(row: WorstSample) -> tuple[bool, float, float]:
    return not row.infinite, -(row.loss if row.loss is not None and np.isfinite(row.loss) else 0.0), -row.error


def _is_bad(row: WorstSample) -> bool:
    return row.infinite or row.error > 0 or bool(row.loss)


def _answer(output: Array, judge: Judge) -> str:
    """Of a classifier the class, else the first values."""
    if judge.metric is not None and judge.metric.name.startswith("top"):
        return _values(output.argmax(axis=-1))
    return _values(output)


def _values(array: Array) -> str:
    flat = array.reshape(-1)
    more = f" … ({flat.size})" if flat.size > VALUES else ""
    return " ".join(f"{value:.4g}" if flat.dtype.kind == "f" else str(value) for value in flat[:VALUES]) + more


def _table(rows: Sequence[WorstSample]) -> list[str]:
    if not rows:
        return []
    cells = [["sample", "label", "float", "device", "error"]]
    for row in rows:
        error = "not a number" if row.infinite else f"{row.error:.3g}"
        cells.append([str(row.index), row.label or "–", row.reference, row.device, error])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return [
        "worst samples:",
        *("  " + "  ".join(text.ljust(w) for text, w in zip(line, widths)).rstrip() for line in cells),
    ]
