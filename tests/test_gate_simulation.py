"""The gate against known truth: whoever loses as much as the limit, or more, must hardly ever pass.

Run with -s for the power curves. ``benchmarks/gate.py`` simulates more scenarios, more often: see docs/gate.md.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.gate import Scenario, answers, energies, grouped_answers, grouped_losses, losses
from edgefuse.fidelity import Fidelity
from edgefuse.noninferiority import compare_scores
from edgefuse.sqnr import judge_floor
from edgefuse.verdict import Verdict

ROUNDS, ROUGH = 400, 80
ALLOWED = 0.05

SCENARIOS = [
    answers(0.5, 0.1, 0.1, 100),
    answers(0.9, 0.02, 0.05, 300),
    answers(0.9, 0.1, 0.05, 1000),
    answers(0.98, 0.01, 0.01, 1000),
    grouped_answers(0.1, 0.05, 200, whole=0.5),
    grouped_answers(0.3, 0.2, 60),
    losses("shifted", 300),
    losses("grown", 300),
    losses("squares", 300),
    losses("outliers", 100),
    losses("outliers", 300),
    grouped_losses(1.0, 30),
    grouped_losses(0.5, 60),
    energies(1.0, 30),
    energies(1.5, 100),
]


def rate(scenario: Scenario, drop: float, rounds: int = ROUGH) -> float:
    return float(scenario.passes(np.random.default_rng(11), drop, rounds)[0].mean())


def assert_sound(scenario: Scenario) -> float:
    """At the limit at most 5 % pass, but for three standard errors of the simulation; at twice the limit none."""
    slack = 3 * math.sqrt(ALLOWED * (1 - ALLOWED) / ROUNDS)
    found = rate(scenario, 1.0, ROUNDS)
    assert found <= ALLOWED + slack, f"{scenario.name}, {scenario.size}: {found:.1%} false passes"
    assert rate(scenario, 2.0) <= slack
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.name}, {scenario.size}")
def test_false_passes_stay_below_5_percent(scenario):
    curve = {1.0: assert_sound(scenario)} | {drop: rate(scenario, drop) for drop in (0.5, 0.25, 0.0)}
    print(f"\n{scenario.name}, {scenario.size} | true drop in limits: passes in %")
    print(" | ".join(f"{drop:g}: {100 * passed:.1f}" for drop, passed in curve.items()))
    assert curve[0.0] >= curve[0.5] >= curve[1.0] - 0.05, "the less is lost, the more pass"


@pytest.mark.parametrize(
    ("scenario", "power"),
    [(answers(0.9, 0.02, 0.05, 300), 0.95), (losses("grown", 300), 0.95), (energies(1.0, 100), 0.95),
     (grouped_losses(0.5, 60), 0.95), (grouped_answers(0.1, 0.05, 200), 0.9)],
    ids=lambda value: getattr(value, "name", ""),
)  # fmt: skip
def test_what_loses_nothing_passes(scenario, power):
    """A gate that never passes is no gate."""
    assert rate(scenario, 0.0) >= power


def by_means(rng: np.random.Generator, drop: float, rounds: int):
    """The gate of those who compare two means: within the limit or not."""
    loss = drop * np.exp(rng.normal(size=(300, rounds)) - 0.5)
    return loss.mean(axis=0) <= 1.0, loss.mean(axis=0) <= 1.0


def test_a_gate_that_compares_means_is_found_out():
    with pytest.raises(AssertionError, match="false passes"):
        assert_sound(Scenario("means", "300", by_means))


def test_the_percentile_bootstrap_that_was_here_is_found_out():
    old = losses("squares", 300)
    with pytest.raises(AssertionError, match="false passes"):
        assert_sound(Scenario("percentile", "300", lambda *arguments: old.passes(*arguments)[::-1]))


def test_the_simulated_gate_is_the_one_that_judges():
    """The simulation computes many intervals at once; one by one the public functions say the same."""
    rounds = 8
    fast = losses("grown", 300).passes(np.random.default_rng(5), 0.75, rounds)[0]
    normal = np.random.default_rng(5).normal(size=(300, rounds))
    lost = 0.75 * np.exp(normal - 0.5)
    slow = [compare_scores(column * 0, -column, 1.0, higher_is_better=True, binary=False).verdict for column in lost.T]
    assert [verdict is Verdict.PASS for verdict in slow] == fast.tolist()
    assert 0 < sum(fast) < rounds, "both answers occur"


def test_the_simulated_floor_is_the_one_that_judges():
    rounds = 12
    fast = energies(1.0, 100).passes(np.random.default_rng(5), 0.75, rounds)[0]
    rng = np.random.default_rng(5)
    noise = 0.75 * np.exp(rng.normal(size=(100, rounds)) - 0.5)
    signal = np.exp(0.5 * rng.normal(size=(100, rounds)) - 0.125)
    slow = [
        judge_floor([Fidelity("y", list(signal[:, k]), list(noise[:, k]), [0.0] * 100)], 0.0).verdict
        for k in range(rounds)
    ]
    assert [verdict is Verdict.PASS for verdict in slow] == fast.tolist()
    assert 0 < sum(fast) < rounds, "both answers occur"
