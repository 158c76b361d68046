"""Which samples a failure names."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.comparison import make_judge
from edgefuse.golden import GoldenSample
from edgefuse.metrics import METRICS
from edgefuse.pytest_plugin.worst import SHOWN, tally
from edgefuse.recipe import Accuracy

RNG = np.random.default_rng(0)


def golden(outputs, labels=None):
    labels = [None] * len(outputs) if labels is None else map(np.asarray, labels)
    return [GoldenSample({}, {"y": output}, label, None) for output, label in zip(outputs, labels)]


def judge(metric, label="label"):
    return make_judge(Accuracy(metric=metric, label=label), METRICS.get(metric), ("y",))


def test_a_classifiers_flips_come_first_with_their_classes():
    outputs = np.eye(4, dtype=np.float32)[np.arange(40) % 4][:, np.newaxis]
    answers = outputs.copy()
    answers[7] = np.roll(answers[7], 1)
    answers[20] *= 10  # a larger error, and the same class
    found = tally(golden(outputs, np.arange(40) % 4), [{"y": row} for row in answers], judge("top1"))
    assert (found.samples, found.worse, found.better) == (40, 1, 0)
    first, second = found.worst
    assert (first.index, first.label, first.reference, first.device, first.loss) == (7, "3", "3", "0", 1.0)
    assert second.index == 20 and second.loss == 0.0 and second.error == pytest.approx(9.0)
    lines = found.lines(judge("top1"))
    assert lines[0] == "outputs: y float32 1x4"
    assert lines[1] == "40 samples: 1 worse than the float model, 0 better, 39 alike"
    assert lines[3].split() == ["sample", "label", "float", "device", "error"]


def test_an_error_in_the_labels_unit_is_a_loss_and_less_of_it_a_gain():
    outputs, labels = np.ones((3, 2), np.float32), np.full((3, 2), 2.0)
    answers = [outputs[0], outputs[1] + 0.5, outputs[2] - 0.25]
    found = tally(golden(outputs, labels), [{"y": row} for row in answers], judge("mae"))
    assert (found.worse, found.better) == (1, 1)
    assert found.worst[0].index == 2 and found.worst[0].loss == pytest.approx(0.25)
    assert found.worst[0].reference == "1 1" and found.worst[0].device == "0.75 0.75"


def test_nan_is_worse_than_any_error():
    outputs = RNG.normal(size=(30, 8)).astype(np.float32)
    answers = outputs + 100
    answers[11, 3] = np.nan
    found = tally(golden(outputs), [{"y": row} for row in answers], judge("sqnr", None))
    assert found.worst[0].index == 11 and found.worst[0].infinite and found.worst[0].to_json()["error"] is None
    assert len(found.worst) == SHOWN and "… (8)" in found.worst[0].reference
    assert "not a number" in "\n".join(found.lines(judge("sqnr", None)))


def test_of_thousands_only_the_worst_are_kept():
    outputs = np.zeros((2000, 1), np.float32)
    answers = [{"y": np.array([index], np.float32)} for index in RNG.permutation(2000)]
    found = tally(golden(outputs), answers, judge("sqnr", None))
    assert [row.error for row in found.worst] == [1999, 1998, 1997, 1996, 1995] and found.samples == 2000


def test_equal_answers_have_no_worst():
    outputs = RNG.normal(size=(5, 2)).astype(np.float32)
    found = tally(golden(outputs), [{"y": row} for row in outputs], judge("sqnr", None))
    assert not found.worst and found.lines(judge("sqnr", None)) == ["outputs: y float32 2"]
