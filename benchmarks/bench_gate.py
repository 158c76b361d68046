"""How often ``edgefuse bench`` is wrong: latencies with known true ratios, on machines of many kinds, many seeds.

    python benchmarks/bench_gate.py [--rounds 400] [--only drift]

Prints the tables of docs/bench.md, by the gate's own functions: of each kind of noise and number of calls how often the
95 % interval misses the true ratio (by resampling calls one by one, and as the gate does), how often a true slowdown of
exactly the tolerance passes or fails (both are wrong), and how often an equal candidate and one that is twice too slow
are decided. Then the same against recorded runs. About 15 minutes on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgefuse.bench.ratio import Ratio, p90_ratios
from edgefuse.bench.recorded import recorded_ratio
from edgefuse.bench.verdict import MAX_SLOWDOWN, judge_ratio
from edgefuse.bootstrap import Z95
from edgefuse.latency import TURN

Values = NDArray[np.float64]
Arms = tuple[Values, Values, Values]

CALLS = (64, 256, 1000)
TRUE = {"equal": 1.0, "at the limit": 1 + MAX_SLOWDOWN, "twice beyond": 1 + 2 * MAX_SLOWDOWN}
RESAMPLES = 399


# ---- machines: baseline, candidate and canary (rounds, TURN) each, equally fast


def wave(rng: np.random.Generator, rounds: int, memory: float, size: float) -> Values:
    """(rounds, 1) of an autoregressive process with this *memory* per round and standard deviation *size*."""
    steps = rng.normal(0, size * math.sqrt(1 - memory**2), rounds)
    found = np.empty(rounds)
    found[0] = rng.normal(0, size)
    for index in range(1, rounds):
        found[index] = memory * found[index - 1] + steps[index]
    return found[:, np.newaxis]


def spells(rng: np.random.Generator, rounds: int, share: float, length: float) -> Values:
    """(rounds, 1) of 0 and 1: a state that holds for *length* rounds on average, a *share* of the time."""
    chance = rng.random(rounds)
    found = np.empty(rounds)
    found[0] = chance[0] < share
    for index in range(1, rounds):
        found[index] = chance[index] >= 1 / length if found[index - 1] else chance[index] < share / (1 - share) / length
    return found[:, np.newaxis]


def machine(
    each: Callable[[np.random.Generator, int], Values],
    shared: Callable[[np.random.Generator, int], Values] | None = None,
) -> Callable[[np.random.Generator, int], Arms]:
    """Noise of every call and round that is *each* arm's own, and what all arms of a round *shared*; 2 % beside."""

    def draw(rng: np.random.Generator, rounds: int) -> Arms:
        common = shared(rng, rounds) if shared else 0.0
        first, second, third = (
            np.exp(rng.normal(0, 0.02, (rounds, TURN)) + each(rng, rounds) + common) for _ in range(3)
        )
        return first, second, third

    return draw


def none(rng: np.random.Generator, rounds: int) -> Values:
    return np.zeros((rounds, TURN))


def share_of_calls(rng: np.random.Generator, rounds: int, share: float) -> Values:
    return (rng.random((rounds, TURN)) < share).astype(np.float64)


def step(rng: np.random.Generator, rounds: int) -> Values:
    return (np.arange(rounds) >= rng.integers(0, rounds)).astype(np.float64)[:, np.newaxis]


MACHINES = {
    "quiet: 2 % per call": machine(none),
    "jitter: 10 % per call, 1 call in 50 takes 3×": machine(
        lambda rng, n: rng.normal(0, 0.1, (n, TURN)) + math.log(3) * share_of_calls(rng, n, 0.02)
    ),
    "bimodal: 1 call in 10 takes 1.5×": machine(lambda rng, n: math.log(1.5) * share_of_calls(rng, n, 0.1)),
    "drift of all arms: 10 %, over 20 rounds": machine(none, lambda rng, n: wave(rng, n, 0.95, 0.1)),
    "load comes and stays: 1.8×": machine(none, lambda rng, n: math.log(1.8) * step(rng, n)),
    "spells of load: 2×, 30 % of the time, 10 rounds": machine(
        none, lambda rng, n: math.log(2) * spells(rng, n, 0.3, 10)
    ),
    "spells of load: 2×, 10 % of the time, 10 rounds": machine(
        none, lambda rng, n: math.log(2) * spells(rng, n, 0.1, 10)
    ),
    "each arm drifts alone: 3 %, over 5 rounds": machine(lambda rng, n: wave(rng, n, 0.8, 0.03)),
    "each arm drifts alone: 3 %, over 20 rounds": machine(lambda rng, n: wave(rng, n, 0.95, 0.03)),
    "each arm has spells alone: 1.5×, 30 %, 5 rounds": machine(lambda rng, n: math.log(1.5) * spells(rng, n, 0.3, 5)),
}


# ---- what the gate says


def ratios(name: str, calls: int, seed: int) -> tuple[Ratio, Ratio]:
    """Candidate over baseline, whose true ratio is 1, and the canary."""
    first, second, again = MACHINES[name](np.random.default_rng([seed, calls]), calls // TURN)
    found = p90_ratios({"baseline": first, "candidate": second, "again": again}, "baseline", RESAMPLES)
    return found["candidate"], found["again"]


def one_by_one(name: str, calls: int, seed: int) -> tuple[float, float]:
    """The ordinary percentile bootstrap, which takes all calls for independent: for comparison."""
    first, second, _ = MACHINES[name](np.random.default_rng([seed, calls]), calls // TURN)
    rng = np.random.default_rng(0)
    p90 = [
        np.percentile(arm.ravel()[rng.integers(0, arm.size, (RESAMPLES, arm.size))], 90, axis=1)
        for arm in (second, first)
    ]
    low, high = np.quantile(p90[0] / p90[1], (0.025, 0.975))
    return float(low), float(high)


def scaled(found: Ratio, true: float) -> Ratio:
    """As if the candidate were *true* times as slow: exactly that, since a slowdown multiplies every call."""
    return Ratio(found.value * true, found.low * true, found.high * true, found.rounds, found.block)


def verdicts(found: Sequence[tuple[Ratio, Ratio]], true: float, calls: int) -> list[str]:
    return [judge_ratio(scaled(ratio, true), canary, MAX_SLOWDOWN, calls).verdict.value for ratio, canary in found]


def rates(found: Sequence[str]) -> tuple[float, float]:
    """Per cent of passes and of fails."""
    return 100 * found.count("pass") / len(found), 100 * found.count("fail") / len(found)


def missed(ends: Sequence[tuple[float, float]]) -> float:
    """Per cent of intervals without the true ratio, 1; 5 are meant."""
    return 100 * sum(low > 1 or high < 1 for low, high in ends) / len(ends)


def table(names: Sequence[str], rounds: int) -> Iterator[str]:
    yield (
        "| machine | calls | missed: calls one by one | missed | missed, widened | false pass | false fail | "
        "equal: pass | equal: fail | 10 % slower: pass | 10 % slower: fail |"
    )
    yield "|" + "---|" * 11
    for name in names:
        for calls in CALLS:
            found = [ratios(name, calls, seed) for seed in range(rounds)]
            naive = missed([one_by_one(name, calls, seed) for seed in range(rounds)])
            plain = missed([(ratio.low, ratio.high) for ratio, _ in found])
            wide = missed([_widened(*pair) for pair in found])
            decided = [rate for true in (1.05, 1.0, 1.1) for rate in rates(verdicts(found, true, calls))]
            shown = " | ".join(f"{rate:.1f}" for rate in decided)
            yield f"| {name} | {calls} | {naive:.1f} | {plain:.1f} | {wide:.1f} | {shown} |"


def _widened(ratio: Ratio, canary: Ratio) -> tuple[float, float]:
    noise = max(canary.value, 1 / canary.value)
    return ratio.low / noise, ratio.high * noise


# ---- against recorded runs

RECORDED = (5, 10, 20)
SPREADS = (0.005, 0.01, 0.02, 0.05)


def recorded_verdict(rng: np.random.Generator, count: int, spread: float, true: float) -> str:
    """Runs whose p90 differ by a lognormal *spread*; a canary of 1 % and the noise that goes with it."""
    canary_error = 0.005
    recorded = np.exp(rng.normal(0, spread, count))
    canary = math.exp(rng.normal(0, canary_error))
    half = math.exp(Z95 * canary_error)
    found = recorded_ratio(
        recorded.tolist(), true * math.exp(rng.normal(0, spread)), Ratio(canary, canary / half, canary * half, 64, 1)
    )
    return judge_ratio(found, Ratio(canary, canary / half, canary * half, 64, 1), MAX_SLOWDOWN, 1000).verdict.value


def recorded_table(rounds: int) -> Iterator[str]:
    yield (
        "| recorded runs | they differ by | false pass | false fail | equal: pass | equal: fail | 10 % slower: pass | "
        "10 % slower: fail |"
    )
    yield "|" + "---|" * 8
    for spread in SPREADS:
        for count in RECORDED:
            rng = np.random.default_rng([count, round(spread * 1000)])
            decided = []
            for true in (1.05, 1.0, 1.1):
                decided += rates([recorded_verdict(rng, count, spread, true) for _ in range(rounds)])
            yield f"| {count} | {100 * spread:g} % | " + " | ".join(f"{rate:.1f}" for rate in decided) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--only", default="", help="machines whose name holds this text")
    asked = parser.parse_args()
    for line in table([name for name in MACHINES if asked.only in name], asked.rounds):
        print(line, flush=True)
    print()
    for line in recorded_table(5 * asked.rounds):
        print(line, flush=True)
