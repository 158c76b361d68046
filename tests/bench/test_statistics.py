"""Blocks, the ratio's interval and the verdict against known truth; ``benchmarks/bench_gate.py`` simulates more."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.bench_gate import MACHINES, missed, one_by_one, ratios, recorded_verdict, verdicts
from edgefuse.bench.blocks import block_length, resampled_rounds
from edgefuse.bench.ratio import Ratio, p90_ratios
from edgefuse.bench.verdict import canary_doubt, judge_ratio
from edgefuse.verdict import Verdict

ROUNDS = 150
CALLS = 256


def autoregressive(seed: int, rounds: int, memory: float) -> np.ndarray:
    rng, found = np.random.default_rng(seed), np.zeros(rounds + 100)
    for index in range(1, len(found)):
        found[index] = memory * found[index - 1] + rng.normal()
    return found[100:]


@pytest.mark.parametrize(("memory", "rounds"), [(0.6, 2500), (0.9, 2500), (0.9, 10_000)])
def test_block_length_is_that_of_theory(memory: float, rounds: int) -> None:
    """Politis & White: (2 (G / g(0))² n)^(1/3) / 2^(1/3), with G / g(0) = 2 φ / (1 − φ²) for a first-order process."""
    optimal = ((2 * memory / (1 - memory**2)) ** 2 * rounds) ** (1 / 3)
    found = np.median([block_length(autoregressive(seed, rounds, memory)) for seed in range(20)])
    assert 0.75 * optimal < found < 1.15 * optimal


def test_block_length_has_a_floor_and_a_ceiling() -> None:
    assert block_length(np.random.default_rng(0).normal(size=1000)) == pytest.approx(10)
    assert block_length(np.ones(27)) == pytest.approx(3)
    assert 8 < block_length(np.arange(64.0)) <= 16
    for rounds in (1, 2, 3, 5):
        assert 1 <= block_length(np.random.default_rng(0).normal(size=rounds)) <= max(rounds / 4, 1)


def test_resamples_are_blocks_of_neighbours_around_the_end() -> None:
    picked = np.concatenate(list(resampled_rounds(100, 8.0, 4, 3000)))
    assert picked.shape == (3000, 100) and picked.min() == 0 and picked.max() == 99
    follows = (np.diff(picked, axis=1) % 100 == 1).mean()
    assert follows == pytest.approx(1 - 1 / 8 + 1 / 800, abs=0.005), "a new block begins at one round in eight"
    assert np.bincount(picked.ravel(), minlength=100).std() / 3000 < 0.06, "no round is favoured"
    again = np.concatenate(list(resampled_rounds(100, 8.0, 4, 3000)))
    assert (picked == again).all(), "the same on every call"


def test_ratio_is_that_of_p90_and_the_interval_scales_with_it() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.lognormal(0, 0.05, (100, 4)), rng.lognormal(0, 0.05, (100, 4))
    one, three = (p90_ratios({"a": first, "b": factor * second}, "a", 399)["b"] for factor in (1.0, 3.0))
    assert one.value == pytest.approx(np.percentile(second, 90) / np.percentile(first, 90))
    assert (three.low, three.value, three.high) == pytest.approx((3 * one.low, 3 * one.value, 3 * one.high))
    assert one.low < one.value < one.high and one.rounds == 100


def test_what_slows_all_arms_alike_cancels() -> None:
    quiet = [ratios("quiet: 2 % per call", CALLS, seed)[0].width for seed in range(10)]
    drift = [ratios("drift of all arms: 10 %, over 20 rounds", CALLS, seed)[0].width for seed in range(10)]
    assert np.median(drift) < 4 * np.median(quiet), "ten per cent of drift, and 2 % per call"


@pytest.mark.parametrize("name", MACHINES)
def test_a_slowdown_of_just_the_tolerance_hardly_ever_passes_or_fails(name: str) -> None:
    found = [ratios(name, CALLS, 1000 + seed) for seed in range(ROUNDS)]
    decided = verdicts(found, 1.05, CALLS)
    allowed = 0.025 if "drifts alone: 3 %, over 20" not in name else 0.08  # which docs/bench.md admits
    for wrong in ("pass", "fail"):
        assert decided.count(wrong) / ROUNDS <= allowed + 3 * math.sqrt(allowed * (1 - allowed) / ROUNDS)
    assert "fail" not in verdicts(found, 1.0, CALLS), "an equal candidate never fails"
    assert "pass" not in verdicts(found, 1.1, CALLS), "one that is twice too slow never passes"


def test_calls_one_by_one_would_be_wrong_on_a_machine_whose_noise_comes_in_stretches() -> None:
    """The simulation finds out a bootstrap that takes the calls of a round for independent."""
    name = "each arm drifts alone: 3 %, over 5 rounds"
    naive = missed([one_by_one(name, CALLS, seed) for seed in range(ROUNDS)])
    ours = missed([(ratio.low, ratio.high) for ratio, _ in (ratios(name, CALLS, seed) for seed in range(ROUNDS))])
    assert naive > 30 and ours < naive / 2


def test_a_quiet_machine_is_decided() -> None:
    found = [ratios("quiet: 2 % per call", 64, seed) for seed in range(60)]
    assert verdicts(found, 1.0, 64).count("pass") >= 57 and verdicts(found, 1.1, 64).count("fail") >= 57


def test_verdict_follows_from_the_interval_widened_by_the_canary() -> None:
    still = Ratio(1.0, 0.99, 1.01, 64, 4)
    assert judge_ratio(Ratio(1.0, 0.96, 1.04, 64, 4), still, 0.05, 256).verdict is Verdict.PASS
    assert judge_ratio(Ratio(1.1, 1.06, 1.14, 64, 4), still, 0.05, 256).verdict is Verdict.FAIL
    between = judge_ratio(Ratio(1.03, 0.99, 1.07, 64, 4), still, 0.05, 256)
    assert between.verdict is Verdict.INCONCLUSIVE and "inside" in str(between.why)
    assert between.more_runs is not None and 256 < between.more_runs < 2560, (
        "half the distance needs four times as many"
    )
    apart = Ratio(1.009, 0.999, 1.019, 64, 4)
    assert judge_ratio(Ratio(1.0, 0.95, 1.045, 64, 4), apart, 0.05, 256).verdict is Verdict.INCONCLUSIVE
    assert judge_ratio(Ratio(1.1, 1.055, 1.14, 64, 4), apart, 0.05, 256).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("canary", "doubt", "more"),
    [
        (Ratio(1.0, 0.98, 1.02, 64, 4), None, None),
        (Ratio(1.008, 1.003, 1.009, 64, 4), None, None),
        (Ratio(1.02, 1.011, 1.03, 64, 4), "differs from itself", None),
        (Ratio(0.98, 0.97, 0.989, 64, 4), "differs from itself", None),
        (Ratio(1.0, 0.95, 1.05, 64, 4), "known only within", 3 * 256),
    ],
)
def test_a_canary_that_does_not_hold_still_makes_everything_inconclusive(
    canary: Ratio, doubt: str | None, more: int | None
) -> None:
    assert (doubt or "None") in str(canary_doubt(canary, 0.05))
    for ratio in (Ratio(0.5, 0.49, 0.51, 64, 4), Ratio(2.0, 1.9, 2.1, 64, 4)):
        found = judge_ratio(ratio, canary, 0.05, 256)
        assert (found.verdict is Verdict.INCONCLUSIVE) == (doubt is not None)
        assert found.more_runs == (pytest.approx(more, abs=1) if more else None)


@pytest.mark.parametrize("count", [5, 20])
@pytest.mark.parametrize("spread", [0.01, 0.03])
def test_against_recorded_runs_the_error_rates_hold(count: int, spread: float) -> None:
    rng = np.random.default_rng(count)
    found = [recorded_verdict(rng, count, spread, 1.05) for _ in range(1000)]
    for wrong in ("pass", "fail"):
        assert found.count(wrong) / 1000 <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)
