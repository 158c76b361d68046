"""What the search's rule is worth: how often does the plan that it chose pass on samples that it did not see?

    python benchmarks/gate_search.py [--rounds 1000]

A search over ``PLANS`` plans, the faster the lossier, on the *calibrate* split; the fastest whose drop plus so many
standard errors is within the limit is chosen (float, which loses nothing, if none is) and judged on the golden split by
the gate itself. Prints, for each number of standard errors, the verdicts and how much of the possible gain is left: a
plan's place among them over that of the fastest that is truly within the limit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edgefuse.bootstrap import ratio_errors
from edgefuse.fidelity import Fidelity
from edgefuse.noninferiority import compare_scores
from edgefuse.sqnr import judge_floor
from edgefuse.verdict import Verdict

Values = NDArray[np.float64]
PLANS, SEARCH = 16, 256
SHRINKS = (0.0, 0.5, 1.0, 1.5, 2.0)
Round = tuple[Values, Values, Values, Callable[[int], Verdict]]
"""Estimate and standard error of each plan's loss in limits, its true loss, and its verdict on the golden split."""


def top1_round(rng: np.random.Generator, golden: int, limit: float = 0.01) -> Round:
    """Drops from a hundredth of the *limit* to three of it; half as many answers again change for the better."""
    drops = limit * np.geomspace(0.01, 3.0, PLANS) * rng.lognormal(0, 0.3, PLANS)
    worse, better = 1.5 * drops, 0.5 * drops
    side = rng.random((SEARCH + golden, 1))  # the same samples are hard for all plans
    side = np.where(rng.random((SEARCH + golden, PLANS)) < 0.5, side, rng.random((SEARCH + golden, PLANS)))
    loss = (side < worse).astype(float) - (side > 1 - better)
    estimate, error = ratio_errors(loss[:SEARCH], np.ones((SEARCH, PLANS)))

    def judge(plan: int) -> Verdict:
        lost = loss[SEARCH:, plan] if plan >= 0 else np.zeros(golden)
        right = np.where(lost < 0, 0.0, 1.0)
        return compare_scores(right, right - lost, limit, higher_is_better=True, binary=True).verdict

    return estimate / limit, error / limit, drops / limit, judge


def sqnr_round(rng: np.random.Generator, golden: int) -> Round:
    """SQNR from 20 dB above the floor to 5 dB below it; lognormal noise (4.3 dB a sample)."""
    ratios = 10 ** (-np.linspace(20, -5, PLANS) / 10) * rng.lognormal(0, 0.3, PLANS)
    sample = rng.normal(size=(SEARCH + golden, 1))
    noise = ratios * np.exp(0.7 * sample + 0.7 * rng.normal(size=(SEARCH + golden, PLANS)) - 0.49)
    estimate, error = ratio_errors(noise[:SEARCH], np.ones((SEARCH, PLANS)))

    def judge(plan: int) -> Verdict:
        energies = noise[SEARCH:, plan] if plan >= 0 else np.zeros(golden)
        return judge_floor([Fidelity("y", [1.0] * golden, list(energies), [0.0] * golden)], 0.0).verdict

    return estimate, error, ratios, judge


def table(rounds: int) -> Iterator[str]:
    yield "| metric | golden | standard errors | pass | inconclusive | fail | truly beyond the limit | gain kept |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, once in (("top-1, limit 1 pt", top1_round), ("SQNR", sqnr_round)):
        for golden in (300, 1000):
            yield from _rows(name, once, golden, rounds)


def _rows(name: str, once: Callable[..., Round], golden: int, rounds: int) -> Iterator[str]:
    seen = {shrink: dict.fromkeys((*(item.value for item in Verdict), "beyond", "gain"), 0.0) for shrink in SHRINKS}
    for seed in range(rounds):
        estimate, error, true, judge = once(np.random.default_rng(seed), golden)
        best = _last(true <= 1)
        for shrink, count in seen.items():
            plan = _last(estimate + shrink * error <= 1)
            count[judge(plan).value] += 1
            count["beyond"] += bool(plan >= 0 and true[plan] > 1)
            count["gain"] += (plan + 1) / (best + 1)
    for shrink, count in seen.items():
        shares = [count[key] / rounds for key in ("pass", "inconclusive", "fail", "beyond", "gain")]
        yield f"| {name} | {golden} | {shrink:g} | " + " | ".join(f"{100 * share:.0f} %" for share in shares) + " |"


def _last(within: NDArray[np.bool_]) -> int:
    """The fastest plan of those *within* the limit; −1 (float) where there is none."""
    return int(np.flatnonzero(within).max(initial=-1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    for line in table(parser.parse_args().rounds):
        print(line, flush=True)
