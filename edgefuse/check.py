"""The gates: is what came out of an arrow still as good as what went in, and fast enough?

Everything here compares runners over the golden samples and knows neither torch nor which backend runs them, so the
same code judges a bundle at the workstation and on the robot. Numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgefuse.backends import Runner
from edgefuse.errors import CalibrationError, ModelError, RecipeError
from edgefuse.fidelity import Fidelity, worst_db
from edgefuse.golden import GoldenSample
from edgefuse.latency import Latency, canary_ratio, judge_p90
from edgefuse.metrics import Metric
from edgefuse.noninferiority import NonInferiority, compare_scores
from edgefuse.recipe import Accuracy
from edgefuse.spec import Array
from edgefuse.verdict import Verdict

REFERENCE = "reference"
EXPORT_MIN_SQNR_DB = 60.0
"""Float against float differs by rounding only (90 dB and more); bf16 lies at 40 dB. Below 60 dB the graph differs."""

MIN_SQNR_SAMPLES = 16
"""One example is no parity check, and from one the mean-free figure cannot be had at all."""


@dataclass(frozen=True)
class Judge:
    """How answers are scored: the recipe's accuracy section with its metric loaded (None for "sqnr")."""

    accuracy: Accuracy
    metric: Metric | None
    output: str

    @property
    def labelled(self) -> bool:
        return self.accuracy.label is not None


@dataclass
class Comparison:
    """Two runners over the same samples: scores of both, and the fidelity of each output."""

    scores: dict[str, list[float]]
    fidelities: dict[str, Fidelity]
    groups: list[int] = field(default_factory=list)

    @property
    def worst_sqnr_db(self) -> float:
        """Plain or mean-free, whichever is lower."""
        return worst_db(self.fidelities.values())

    @property
    def sqnr_db(self) -> float:
        """Plain, of the worst output."""
        return min(item.sqnr_db for item in self.fidelities.values())

    @property
    def nonfinite(self) -> int:
        """How many elements are finite in one model and NaN or infinite in the other."""
        return sum(item.nonfinite_mismatches for item in self.fidelities.values())


def make_judge(accuracy: Accuracy, metric: Metric | None, outputs: tuple[str, ...]) -> Judge:
    """Settle what the recipe leaves open; raises :class:`RecipeError` where it cannot be settled."""
    if metric is not None and accuracy.output is None and len(outputs) > 1:
        raise RecipeError(
            f"the model has {len(outputs)} outputs and accuracy.output names none",
            hint=f'Add output = "…" to [accuracy]: one of {", ".join(outputs)}.',
        )
    if metric is not None and accuracy.label is None and not metric.name.startswith("top"):
        raise RecipeError(
            f"the metric {metric.name!r} needs labels, and accuracy.label names no array",
            hint='Add label = "…" to [accuracy], or use metric = "sqnr", which needs none.',
        )
    return Judge(accuracy, metric, accuracy.output or outputs[0])


def compare_stages(
    samples: Iterable[GoldenSample], stages: Mapping[str, Runner], judge: Judge, pairs: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Comparison]:
    """Run every stage once per sample and compare each pair ``(earlier, later)``; "reference" is in the samples."""
    found = {pair: Comparison({name: [] for name in pair}, {}) for pair in pairs}
    for sample in samples:
        outputs: dict[str, Mapping[str, Array]] = {REFERENCE: sample.reference}
        outputs |= {name: runner(sample.feed) for name, runner in stages.items()}
        scores = {name: _score(judge, sample, arrays) for name, arrays in outputs.items()}
        for (earlier, later), comparison in found.items():
            _add(comparison, outputs[earlier], outputs[later])
            comparison.scores[earlier].append(scores[earlier])
            comparison.scores[later].append(scores[later])
            if sample.group is not None:
                comparison.groups.append(sample.group)
    return found


def _add(comparison: Comparison, earlier: Mapping[str, Array], later: Mapping[str, Array]) -> None:
    for output, array in earlier.items():
        comparison.fidelities.setdefault(output, Fidelity(output)).add(array, later[output])


def _score(judge: Judge, sample: GoldenSample, outputs: Mapping[str, Array]) -> float:
    if judge.metric is None:
        return 0.0
    array = outputs[judge.output]
    if judge.labelled and sample.label is None:
        raise CalibrationError("the held-out samples have no labels, and the metric needs them")
    # Without labels the float model's own choice is the label: agreement.
    label = np.asarray(sample.label if judge.labelled else sample.reference[judge.output].argmax(axis=-1))
    try:
        return float(judge.metric.score(array, label))
    except (ValueError, TypeError, IndexError) as error:
        raise RecipeError(
            f"the metric {judge.metric.name!r} failed on output {judge.output!r} "
            f"(shape {array.shape}) and a label of shape {label.shape}: {error}"
        ) from error


def check_labels(samples: Iterable[GoldenSample], judge: Judge) -> None:
    """Score the float model, before any vendor's tool is started: a metric that cannot be computed, or labels that
    fit nothing, are the user's to mend."""
    if judge.metric is None:
        return
    scores = np.array([_score(judge, sample, sample.reference) for sample in samples])
    if not np.isfinite(scores).all():
        raise CalibrationError(
            f"the metric {judge.metric.name!r} of the float model is not finite for held-out sample "
            f"{int(np.argmin(np.isfinite(scores)))}",
            hint="Check that sample's label, or the metric.",
        )
    if judge.metric.binary and not scores.any():
        raise CalibrationError(
            f"the float model scores 0 in {judge.metric.name!r} on all {len(scores)} held-out samples",
            where=f"label {judge.accuracy.label!r}, output {judge.output!r}",
            hint="Do the labels fit this output, and the weights this model?",
        )


def judge_accuracy(comparison: Comparison, pair: tuple[str, str], judge: Judge) -> dict[str, Any]:
    """The ``accuracy`` entry of the report: non-inferiority in the metric, or the SQNR floor where there is none."""
    if judge.metric is None:
        return _judge_sqnr(comparison, judge)
    scores = np.array([comparison.scores[name] for name in pair])
    kept = np.isfinite(scores).all(axis=0)
    if not kept.any():
        raise ModelError(f"every answer of the {pair[1]} model is NaN or infinite", hint="Try another --precision.")
    earlier, later = scores[:, kept]
    limit = judge.accuracy.max_drop.absolute(float(earlier.mean()))
    groups = np.array(comparison.groups, np.int64)[kept] if comparison.groups else None
    binary = judge.metric.binary and bool(np.isin(scores[:, kept], (0.0, 1.0)).all())
    found = compare_scores(
        earlier, later, limit, higher_is_better=judge.metric.higher_is_better, binary=binary, groups=groups
    )
    if comparison.nonfinite:  # whatever the metric says of the other samples
        method = f"failed: {comparison.nonfinite} output elements became NaN or infinite"
        found = replace(found, verdict=Verdict.FAIL, more_samples=None, method=method)
    return _accuracy_json(found, judge)


def _accuracy_json(found: NonInferiority, judge: Judge) -> dict[str, Any]:
    assert judge.metric is not None
    return {
        "metric": judge.metric.name,
        "output": judge.output,
        "labels": judge.labelled,
        "reference": found.reference,
        "candidate": found.candidate,
        "drop": found.drop,
        "ci95": list(found.ci95),
        "limit": found.limit,
        "limit_text": str(judge.accuracy.max_drop),
        "samples": found.samples,
        "verdict": found.verdict.value,
        "more_samples": found.more_samples,
        "mcnemar_p": found.mcnemar_p,
        "method": found.method,
    }


def _judge_sqnr(comparison: Comparison, judge: Judge) -> dict[str, Any]:
    worst, floor = comparison.worst_sqnr_db, judge.accuracy.min_sqnr_db
    samples = len(next(iter(comparison.fidelities.values())).signal)
    verdict = Verdict.PASS if worst >= floor else Verdict.FAIL
    if samples < MIN_SQNR_SAMPLES and verdict is Verdict.PASS:
        verdict = Verdict.INCONCLUSIVE
    return {
        "metric": "sqnr",
        "output": None,
        "labels": False,
        "reference": None,
        "candidate": worst,
        "drop": None,
        "ci95": None,
        "limit": floor,
        "limit_text": f"at least {floor:g} dB",
        "samples": samples,
        "verdict": verdict.value,
        "more_samples": MIN_SQNR_SAMPLES - samples if verdict is Verdict.INCONCLUSIVE else None,
        "mcnemar_p": None,
        "method": "SQNR of the worst output, plain or mean-free, whichever is lower",
    }


def judge_parity(comparison: Comparison, minimum_db: float = EXPORT_MIN_SQNR_DB) -> Verdict:
    """Float against float: the worst output's SQNR must show nothing but rounding."""
    return Verdict.PASS if comparison.sqnr_db >= minimum_db and not comparison.nonfinite else Verdict.FAIL


def latency_json(found: Mapping[str, Latency], limit_ms: float | None) -> dict[str, Any]:
    """The report's ``latency`` from the arms "compiled", "again" (A/A) and, where there is one, "float"."""
    compiled = found["compiled"]
    canary = canary_ratio(compiled, found["again"])
    result: dict[str, Any] = {
        "float": None,
        "compiled": compiled.to_json(),
        "speedup": None,
        "canary_p90_ratio": canary,
        "limit_p90_ms": limit_ms,
        "p90_ci95_ms": list(compiled.p90_interval()),
        "verdict": judge_p90(compiled, limit_ms, canary).value if limit_ms is not None else None,
    }
    if "float" not in found:
        return {**result, "float_reason": "the bundle holds no float graph", "speedup_reason": "no float latency"}
    return {
        **result,
        "float": found["float"].to_json(),
        "speedup": found["float"].percentile(50) / compiled.percentile(50),
    }
