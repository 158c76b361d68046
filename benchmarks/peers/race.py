"""Latency of workers in turns, and what can be said of their ratios."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.cost import Failed
from peers.worker import TURN, Worker

PAUSE_S = 0.015
MIN_ROUNDS = 16
"""Of ``TURN`` calls: 64 are the least from which p90 is told."""
MAX_ROUNDS = 500
RESAMPLES = 2000


@dataclass(frozen=True)
class Times:
    """Milliseconds of one arm, (rounds, calls of a turn)."""

    ms: NDArray[np.float64]

    @property
    def p50(self) -> float:
        return float(np.percentile(self.ms, 50))

    @property
    def p90(self) -> float:
        return float(np.percentile(self.ms, 90))


def run_race(workers: Mapping[str, Worker], budget_s: float) -> tuple[dict[str, Times], dict[str, str]]:
    """Rounds of one turn each, in a fresh random order, for about *budget_s* seconds; and who died, and why."""
    taken: dict[str, list[list[float]]] = {name: [] for name in workers}
    failed: dict[str, str] = {}
    shuffle, rounds = random.Random(0), 0
    deadline = time.perf_counter() + budget_s
    while rounds < MIN_ROUNDS or (rounds < MAX_ROUNDS and time.perf_counter() < deadline):
        order = [name for name in workers if name not in failed]
        shuffle.shuffle(order)
        for name in order:
            time.sleep(PAUSE_S)
            try:
                taken[name].append(workers[name].turn(rounds * TURN))
            except Failed as error:
                failed[name] = str(error)
        rounds += 1
    return {name: Times(np.array(found)) for name, found in taken.items() if name not in failed}, failed


@dataclass(frozen=True)
class Ratio:
    """p50 of one arm over p50 of another, with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} … {self.high:.3f})"


def ratio_of(above: Times, below: Times) -> Ratio:
    """Paired percentile bootstrap over rounds: what disturbs a round disturbs both, so both are resampled alike."""
    generator, rounds = np.random.default_rng(0), len(above.ms)
    picked = generator.integers(0, rounds, (RESAMPLES, rounds))
    medians = [np.median(times.ms[picked].reshape(RESAMPLES, -1), axis=1) for times in (above, below)]
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    return Ratio(above.p50 / below.p50, float(low), float(high))


def busy_share(seconds: float = 1.0) -> float:
    """The share of the machine's processor time that is in use over the next *seconds*, by Linux's own account."""

    def read() -> NDArray[np.float64]:
        return np.array(Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9], np.float64)

    before = read()
    time.sleep(seconds)
    spent = read() - before
    return float(1 - (spent[3] + spent[4]) / max(spent.sum(), 1.0))  # idle, and waiting for a disk


def geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


@contextlib.contextmanager
def closing(workers: Mapping[str, Worker]) -> Iterator[None]:
    """*workers*, all of which are ended in any case."""
    try:
        yield
    finally:
        for worker in workers.values():
            worker.close()
