"""Which operations leave INT8 first."""

from __future__ import annotations

import pytest

from edgefuse.compile.planner.sensitivity import Loss, Unit
from edgefuse.compile.planner.variants import allowed_noises, distinct, keep_float


def loss(name, sqnr_db, macs=100):
    return Loss(Unit(name, "camera", (f"{name}.a", f"{name}.b"), macs), None, sqnr_db)


LOSSES = [loss("first", 30.0), loss("middle", 45.0, 1000), loss("last", 28.0, 10)]


def test_what_loses_most_for_its_work_leaves_first_and_no_more_than_needed():
    assert keep_float(LOSSES, 10**-2.8) == {"last.a", "last.b"}
    assert keep_float(LOSSES, 10**-3.5) == {"last.a", "last.b", "first.a", "first.b"}
    assert keep_float(LOSSES, 1.0) == frozenset()


def test_the_errors_of_bf16_leave_less_for_int8():
    alone, beside = allowed_noises(LOSSES, 30.0), allowed_noises(LOSSES, 30.0, 10**-3.3)
    assert all(less < more for less, more in zip(beside, alone))
    assert allowed_noises(LOSSES, 30.0, 10**-2.5) == []
    assert 10**-3.0 > alone[0] > alone[1]


def test_for_a_metric_there_is_no_floor_and_accuracy_grows_in_steps():
    whole = sum(item.noise for item in LOSSES)
    assert allowed_noises(LOSSES, None)[0] == pytest.approx(whole / 2, rel=0.01)


def test_what_leaves_nothing_or_all_in_int8_is_no_variant():
    everything = frozenset("abc")
    assert distinct([frozenset("a"), frozenset(), everything, frozenset("a")], everything) == [frozenset("a")]
