"""The search over runners with known speed and accuracy: what is judged, what is chosen, what is kept."""

from __future__ import annotations

import time
from contextlib import contextmanager

import numpy as np
import pytest

from edgefuse.backends import Settings
from edgefuse.calibration import Sample
from edgefuse.check import make_judge
from edgefuse.errors import ToolchainError
from edgefuse.golden import write_golden
from edgefuse.journal import Journal
from edgefuse.places.here import Here
from edgefuse.plan import Candidate
from edgefuse.precision import PRECISIONS
from edgefuse.recipe import Accuracy
from edgefuse.search import GLANCE, Search


class Timed:
    """Answers after *ms* milliseconds with an error of *noise* of the signal's size, or not at all."""

    def __init__(self, ms, noise=0.0, fails=False):
        self.ms, self.noise, self.fails, self.calls = ms, noise, fails, 0

    def __call__(self, feed):
        if self.fails:
            raise ToolchainError("explodes")
        self.calls += 1
        until = time.perf_counter() + self.ms / 1e3
        while time.perf_counter() < until:
            pass
        random = np.random.default_rng(int(abs(feed["x"][0, 0]) * 1e6))
        return {"y": feed["x"] + self.noise * random.normal(size=feed["x"].shape).astype(np.float32)}

    def close(self):
        pass


class Workshop:
    """In place of a Builder: the runners are there already."""

    place = Here()

    def __init__(self, runners, folder):
        self.runners, self.folder = runners, folder

    @contextmanager
    def opened(self, candidates, failed=None):
        yield {name: self.runners[name] for name in candidates}

    def key(self, candidate):
        return candidate.name

    def other_threads(self, candidates, failed):
        return {}

    def candidates(self, *names):
        made = [
            Candidate("openvino", name, PRECISIONS[name][0], self.folder, self.folder, Settings()) for name in names
        ]
        return {item.name: item for item in made}


@pytest.fixture
def start(tmp_path):
    random = np.random.default_rng(0)
    samples = [Sample({"x": random.normal(size=(1, 16)).astype(np.float32)}) for _ in range(80)]
    write_golden(tmp_path / "search.npz", samples, Timed(0.0))

    def make(runners, **options):
        workshop = Workshop(runners, tmp_path)
        judge = make_judge(Accuracy(), None, ("y",))
        return Search(workshop, tmp_path / "search.npz", judge, **options), workshop

    return make


def chosen(search, workshop, *names):
    search.add(workshop.candidates(*names))
    return search.choose()


def test_the_fastest_within_the_limit_wins_and_one_beyond_it_does_not(start):
    search, workshop = start({"float": Timed(3), "bf16": Timed(1.5, 0.005), "int8": Timed(0.6, 0.2)})
    choice = chosen(search, workshop, "float", "bf16", "int8")
    assert choice.name == "bf16" and "fastest of 3" in choice.reason
    rows = {row["name"]: row for row in choice.candidates}
    assert rows["bf16"]["complete"] and rows["bf16"]["samples"] == 80 and rows["bf16"]["p90_ms"] is not None
    assert not rows["int8"]["passes"] and rows["int8"]["sqnr_db"] < 20


def test_what_cannot_win_is_judged_at_a_glance(start):
    search, workshop = start({"float": Timed(3), "bf16": Timed(2, 0.005), "int8": Timed(0.6, 0.001)})
    rows = {row["name"]: row for row in chosen(search, workshop, "float", "bf16", "int8").candidates}
    assert rows["int8"]["complete"] and rows["int8"]["samples"] == 80
    assert not rows["bf16"]["complete"] and rows["bf16"]["samples"] == GLANCE


def test_of_two_that_are_as_fast_the_more_accurate_wins(start):
    search, workshop = start({"float": Timed(3), "int8": Timed(1.0, 0.01), "int8+bf16": Timed(1.0, 0.002)})
    assert chosen(search, workshop, "float", "int8", "int8+bf16").name == "int8+bf16"


def test_one_that_fails_is_recorded_with_its_reason_and_the_search_goes_on(start):
    search, workshop = start({"float": Timed(2), "bf16": Timed(1, fails=True), "int8": Timed(0.5, 0.001)})
    choice = chosen(search, workshop, "float", "bf16", "int8")
    failed = next(row for row in choice.candidates if row["name"] == "bf16")
    assert choice.name == "int8" and "explodes" in failed["failed"] and not failed["passes"]


def test_where_everything_is_beyond_the_limit_float_is_chosen(start):
    search, workshop = start({"float": Timed(2), "int8": Timed(0.5, 0.3)})
    choice = chosen(search, workshop, "float", "int8")
    assert choice.name == "float" and "no other precision" in choice.reason


def test_where_nothing_runs_every_reason_is_given(start):
    search, workshop = start({"float": Timed(1, fails=True), "int8": Timed(1, fails=True)})
    with pytest.raises(ToolchainError, match=r"float: .*explodes; int8: .*explodes"):
        chosen(search, workshop, "float", "int8")


def test_a_later_round_is_compared_through_the_float_plan(start):
    search, workshop = start({"float": Timed(2), "bf16": Timed(1, 0.001), "int8": Timed(0.5, 0.001)})
    search.add(workshop.candidates("float", "bf16"))
    workshop.runners["float"].ms = 4  # as if the machine had become half as fast
    workshop.runners["bf16"].ms, workshop.runners["int8"].ms = 2, 1
    search.add(workshop.candidates("int8"))
    assert search.rough_ms["int8"] == pytest.approx(0.5, rel=0.2)
    assert search.choose().name == "int8"


def test_a_spent_time_budget_ends_the_search_with_the_best_so_far_and_says_so(start):
    search, workshop = start({"float": Timed(2), "int8": Timed(0.5, 0.001)}, budget_s=0.0)
    choice = chosen(search, workshop, "float", "int8")
    assert choice.ended_early and "time budget" in choice.reason


def test_verdicts_of_an_interrupted_search_are_not_computed_again(start, tmp_path):
    runners = {"float": Timed(2), "int8": Timed(0.5, 0.001)}
    search, workshop = start(runners, journal=Journal(tmp_path))
    search.add(workshop.candidates("float", "int8"))
    calls = runners["int8"].calls
    again = Journal(tmp_path)
    again.read()
    search, workshop = start(runners, journal=again)
    search.add(workshop.candidates("float", "int8"))
    assert runners["int8"].calls - calls < 40 and search.rows["int8"]["samples"] == 80
