"""The ratio of two p90 latencies that were measured in turns, with a 95 % interval. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.bench.blocks import block_length, resampled_rounds
from edgefuse.bootstrap import Z95, student_quantile

RESAMPLES = 1999

Rounds = NDArray[np.float64]
"""(rounds, calls) milliseconds of one arm."""


@dataclass(frozen=True)
class Ratio:
    """Of p90, with its 95 % interval; from so many rounds, in blocks of so many."""

    value: float
    low: float
    high: float
    rounds: int
    block: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def to_json(self) -> dict[str, Any]:
        return {
            "p90_ratio": self.value,
            "ci95": [self.low, self.high],
            "rounds": self.rounds,
            "block_rounds": self.block,
        }


def p90_ratios(arms: Mapping[str, Rounds], below: str, resamples: int = RESAMPLES) -> dict[str, Ratio]:
    """The p90 of each other arm over that of *below*; all of *arms* are (rounds, calls) of the same rounds.

    Whole rounds are resampled, every arm of a round together: what slowed the machine for a while slowed all, and
    cancels. The interval is that of the resamples' logarithms, wider by Student's quantile at as many degrees of
    freedom as there are blocks, less one.
    """
    others = {name: rounds for name, rounds in arms.items() if name != below}
    block = max(block_length(_leaning(rounds, arms[below])) for rounds in others.values())
    count, calls = arms[below].shape
    found: dict[str, list[Rounds]] = {name: [] for name in arms}
    for picked in resampled_rounds(count, block, calls, resamples):
        for name, rounds in arms.items():
            found[name].append(np.percentile(rounds[picked].reshape(len(picked), -1), 90, axis=1))
    p90 = {name: np.concatenate(parts) for name, parts in found.items()}
    return {
        name: _ratio(_p90(rounds) / _p90(arms[below]), p90[name] / p90[below], count, block)
        for name, rounds in others.items()
    }


def _p90(rounds: Rounds) -> float:
    return float(np.percentile(rounds, 90))


def _leaning(top: Rounds, bottom: Rounds) -> Rounds:
    """(rounds,): by how many more of *top*'s calls than of *bottom*'s lie above their own p90, which is what moves the
    ratio; its autocorrelation is the one that matters."""
    return np.asarray((top > _p90(top)).mean(axis=1) - (bottom > _p90(bottom)).mean(axis=1))


def _ratio(value: float, resamples: Rounds, rounds: int, block: float) -> Ratio:
    ordered, middle = np.sort(np.log(resamples)), math.log(value)
    rank = round(0.025 * (len(resamples) + 1))
    wider = student_quantile(max(round(rounds / block) - 1, 1)) / Z95
    low, high = (middle + wider * (float(end) - middle) for end in (ordered[rank - 1], ordered[-rank]))
    return Ratio(value, math.exp(min(low, middle)), math.exp(max(high, middle)), rounds, block)
