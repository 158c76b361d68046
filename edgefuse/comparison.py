"""Two runners over the same samples: what each scores, and how close their outputs are. Numpy only.

Knows neither torch nor which backend runs the models; :mod:`edgefuse.check` judges what is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgefuse.backends import Runner
from edgefuse.errors import CalibrationError, RecipeError
from edgefuse.fidelity import Fidelity, worst_db
from edgefuse.golden import GoldenSample
from edgefuse.metrics import Metric
from edgefuse.recipe import Accuracy
from edgefuse.spec import Array

REFERENCE = "reference"


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
        scores = {name: score_sample(judge, sample, arrays) for name, arrays in outputs.items()}
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


def score_sample(judge: Judge, sample: GoldenSample, outputs: Mapping[str, Array]) -> float:
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
    scores = np.array([score_sample(judge, sample, sample.reference) for sample in samples])
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
