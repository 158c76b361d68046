"""MLPerf's early-stopping estimate: a percentile of latency that 99 of 100 short runs do not understate. Numpy only.

The empirical p90 of few calls is often too low by chance. LoadGen therefore reports a higher order statistic: how many
of *n* independent calls exceed the true percentile p is binomial, Bin(n, 1 − p); *t* of them are *allowed* while
P(Bin(n, 1 − p) ≤ t) < 1 %, and the t-th greatest latency is the estimate, the t − 1 above it are discarded. It needs
64 calls for p90 and 662 for p99.

Source: MLCommons, inference, ``loadgen/early_stopping.cc`` (``odds``, ``MinPassingQueriesFinder``) and
``loadgen/results.cc`` (``PerformanceSummary::EarlyStopping``, single stream); the rules say it in words: MLPerf
Inference Rules, appendix "Early Stopping Criterion". ``tests/test_early_stopping.py`` compares with LoadGen itself.

The calls of one run are not independent (a machine drifts): then it is less sure than it says (docs/bench.md).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.99


def allowed_above(runs: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """How many of *runs* latencies, the estimate among them, may lie above the true *percentile* (0 to 1, exclusive):
    the greatest t with P(Bin(runs, 1 − percentile) ≤ t) < 1 − confidence; 0 where there are too few runs."""
    most = math.ceil(runs * (1 - percentile))  # the median: above it the probability is a half
    beyond = np.arange(most + 1, dtype=np.float64)
    # log C(n, k) is the sum of log((n − k + 1) / k): no factorial, so that a million runs do not overflow
    steps = np.log((runs - beyond[1:] + 1) / beyond[1:])
    choose = np.concatenate([[0.0], np.cumsum(steps)])
    logs = choose + beyond * math.log(1 - percentile) + (runs - beyond) * math.log(percentile)
    return max(int((np.cumsum(np.exp(logs)) < 1 - confidence).sum()) - 1, 0)


def early_stopping(
    samples: NDArray[np.float64], percentile: float, confidence: float = CONFIDENCE
) -> tuple[float, int] | None:
    """The estimate of *percentile* (0.9 for p90) in the unit of *samples* (n,), and how many greater ones were
    discarded; None for fewer than :func:`runs_needed`."""
    allowed = allowed_above(len(samples), percentile, confidence)
    if allowed < 1:
        return None
    ordered = np.partition(samples, len(samples) - allowed)
    return float(ordered[-allowed]), allowed - 1


def runs_needed(percentile: float, confidence: float = CONFIDENCE) -> int:
    """The fewest runs that give an estimate: 64 for p90, 662 for p99."""
    runs = 2
    while runs * percentile ** (runs - 1) * (1 - percentile) + percentile**runs >= 1 - confidence:
        runs += 1
    return runs
