"""Percentiles, the interleaving and the verdict, with clocks that do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.latency import MIN_RUNS, MIN_RUNS_P99, TURN, WARMUP_RUNS, Latency, canary_ratio, judge_p90, measure
from edgefuse.verdict import Verdict


class Recorder:
    """A runner that writes down the order in which it is called."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def __call__(self, feed):
        self.calls.append(self.name)
        return {}

    def close(self):
        pass


def test_runners_take_turns_in_changing_order_and_the_first_call_of_a_turn_is_not_counted():
    calls: list[str] = []
    found = measure({name: Recorder(name, calls) for name in "abc"}, [{}], budget_s=0.0, max_runs=500)
    turns = calls[3 * WARMUP_RUNS :: TURN + 1]
    rounds = ["".join(turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert all(sorted(item) == list("abc") for item in rounds) and len(set(rounds)) == 6
    assert len(calls) == 3 * (WARMUP_RUNS + MIN_RUNS // TURN * (TURN + 1))
    assert all(len(latency.samples_ms) == MIN_RUNS for latency in found.values())


def test_p99_needs_662_runs_and_says_so():
    few, many = Latency(np.arange(100.0), 20).to_json(), Latency(np.arange(float(MIN_RUNS_P99)), 20).to_json()
    assert few["p99_ms"] is None and "662" in few["p99_reason"]
    assert many["p99_ms"] == pytest.approx(0.99 * (MIN_RUNS_P99 - 1))


def test_quantiles_hold_the_distribution_from_least_to_most():
    found = Latency(np.linspace(1, 2, 1001), 0).to_json()["quantiles_ms"]
    assert len(found) == 101 and found[0] == 1.0 and found[50] == 1.5 and found[100] == 2.0
    assert found == sorted(found)
    assert Latency(np.array([0.123456789]), 0).quantiles_ms()[0] == 0.12346


def test_p90_interval_covers_the_truth_95_percent_of_the_time():
    rng = np.random.default_rng(0)
    truth = -np.log(0.1)  # the 90th percentile of the unit exponential distribution
    covered = 0
    for _ in range(1000):
        low, high = Latency(rng.exponential(1.0, 300), 0).p90_interval()
        covered += low <= truth <= high
    assert 0.93 <= covered / 1000 <= 0.98


def test_the_verdict_is_open_between_the_ends_of_the_interval_widened_by_the_machines_noise():
    latency = Latency(np.linspace(1, 2, 400), 0)
    low, high = latency.p90_interval()
    assert judge_p90(latency, high, 1.0) is Verdict.PASS
    assert judge_p90(latency, low - 0.01, 1.0) is Verdict.FAIL
    assert judge_p90(latency, (low + high) / 2, 1.0) is Verdict.INCONCLUSIVE
    for canary in (1.2, 1 / 1.2):
        assert judge_p90(latency, 1.1 * high, canary) is Verdict.INCONCLUSIVE
        assert judge_p90(latency, low / 1.1, canary) is Verdict.INCONCLUSIVE
        assert judge_p90(latency, 100.0, canary) is Verdict.PASS


def test_canary_of_a_runner_with_itself_is_one():
    latency = Latency(np.linspace(1, 2, 400), 0)
    assert canary_ratio(latency, latency) == 1.0
