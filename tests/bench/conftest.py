"""A bench's report and lines of a history, made up where no measurement is needed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgefuse.bench.history import history_line
from edgefuse.latency import Latency

Make = Callable[..., dict[str, Any]]

START_S = 1_790_000_000
"""In September 2026."""


@pytest.fixture
def report() -> Make:
    """``report(p90_ms=2.0, **changes)``: of one bundle, before it is judged; the canary is quiet."""

    def make(p90_ms: float = 2.0, **changes: Any) -> dict[str, Any]:
        samples = np.random.default_rng(0).lognormal(0, 0.02, 800)
        latency = Latency(samples * p90_ms / np.percentile(samples, 90), 20).to_json()
        found = {
            "format": 1,
            "verdict": None,
            "baseline": None,
            "candidate": {"name": "rover", "path": "rover.edgefuse", "hash": "a" * 64, "plan": "int8",
                          "latency": latency},
            "comparison": None,
            "canary": {"p90_ratio": 1.001, "ci95": [0.995, 1.007], "rounds": 200, "block_rounds": 6.0, "doubt": None},
            "accuracy": {"verdict": "pass", "baseline": None, "candidate": None, "paired": None, "reason": "none"},
            "max_slowdown": 0.05,
            "power_mode": None,
            "device_class": "aarch64-orin-1234",
            "environment": {"cpu": "Orin", "arch": "aarch64", "cores": 8, "os": "Linux", "python": "3.10",
                            "packages": {"tensorrt": "10.3"}},
            "device_state": {"before": {}, "after": {}, "remarks": []},
            "stages": [],
        }  # fmt: skip
        return copy.deepcopy({**found, **changes})

    return make


@pytest.fixture
def lines(report: Make) -> Callable[..., list[dict[str, Any]]]:
    """``lines(count, spread=0.01)``: one a day, with p90 of 2 ms give or take *spread*."""

    def make(count: int, spread: float = 0.01, **changes: Any) -> list[dict[str, Any]]:
        rng, found = np.random.default_rng(1), []
        for day in range(count):
            comparison = {"kind": "recorded", "p90_ratio": None, "widened_ci95": None, "why": "the first", "runs": day}
            whole = report(2.0 * math.exp(rng.normal(0, spread)), verdict="pass", comparison=comparison)
            found.append({**history_line(whole, START_S + 86_400 * day), **changes})
        return found

    return make
