"""The verdict on memory: what leaks, what only steps, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.memory_growth import judge_growth, resident_bytes, theil_sen, watch_memory
from edgefuse.verdict import Verdict

PAGE = 4096
CALLS = np.arange(0, 2049, 32)


def pages(memory):
    """As the kernel counts: whole pages, on 100 MiB."""
    return (100 << 20) + (np.asarray(memory, np.float64) // PAGE * PAGE).astype(np.int64)


def pages_after(call, size):
    """*size* bytes more from *call* on."""
    return (call <= CALLS) * size


def verdict(memory):
    return judge_growth(CALLS, pages(memory)).verdict


def test_flat_memory_passes():
    found = judge_growth(CALLS, pages(np.zeros(len(CALLS))))
    assert found.verdict is Verdict.PASS and found.slope == 0 and found.ci95 == (0, 0) and found.calls == 2048


@pytest.mark.parametrize("rate", [100, 1_000, 1_000_000])
def test_a_leak_of_so_many_bytes_a_call_fails(rate):
    found = judge_growth(CALLS, pages(CALLS * rate))
    assert found.verdict is Verdict.FAIL and found.slope == pytest.approx(rate, rel=0.05)


@pytest.mark.parametrize("rate", [0, 5, 20, 40])
def test_growth_below_the_limit_passes(rate):
    assert verdict(CALLS * rate) is Verdict.PASS


@pytest.mark.parametrize("step", [PAGE, 64 << 10, 1 << 20, 64 << 20])
def test_a_single_step_never_fails_wherever_it_is(step):
    found = {verdict(pages_after(at, step)) for at in CALLS[1:]}
    assert Verdict.FAIL not in found
    assert Verdict.PASS not in found or step <= 64 * 2048


@pytest.mark.parametrize("steps", [2, 3])
def test_a_few_steps_never_fail_and_large_ones_do_not_pass(steps):
    rng = np.random.default_rng(steps)
    for _ in range(200):
        at = rng.choice(CALLS[1:], steps, replace=False)
        memory = sum(pages_after(place, 1 << 20) for place in at)
        assert verdict(memory) is Verdict.INCONCLUSIVE


def test_a_leak_in_large_lumps_is_not_passed():
    """1 MiB every 400 calls: the median of the differences between neighbours is zero."""
    assert verdict(CALLS // 400 * (1 << 20)) in (Verdict.FAIL, Verdict.INCONCLUSIVE)


def test_memory_that_goes_up_and_down_passes():
    rng = np.random.default_rng(3)
    assert verdict(rng.integers(0, 8, len(CALLS)) * PAGE) is Verdict.PASS


def test_a_random_walk_seldom_fails():
    """Its points are not independent; a quarter of a megabyte a step is far more than a healthy process shows."""
    rng = np.random.default_rng(4)
    found = [verdict(np.cumsum(rng.choice([0, 0, 0, 1, -1], len(CALLS))) * 8 * PAGE + (8 << 20)) for _ in range(400)]
    assert sum(item is Verdict.FAIL for item in found) <= 20  # 5 %


def test_few_points_tell_nothing():
    found = judge_growth(CALLS[:6], pages(CALLS[:6] * 1e6))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.to_json()["early_ci95"] == [None, None]


def test_the_slope_and_its_interval_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    memory = (1000 * CALLS + rng.normal(0, 200_000, len(CALLS))).astype(np.int64)
    slope, (low, high) = theil_sen(CALLS, memory)
    expected = stats.theilslopes(memory, CALLS, 0.95)
    assert slope == pytest.approx(expected.slope)
    assert low == pytest.approx(expected.low_slope, rel=0.01) and high == pytest.approx(expected.high_slope, rel=0.01)


class Runner:
    """Keeps *leak* bytes of every call."""

    def __init__(self, leak):
        self.leak, self.kept = leak, []

    def __call__(self, feed):
        if self.leak:
            self.kept.append(np.ones(self.leak, np.uint8))
        return {}

    def close(self):
        self.kept.clear()


@pytest.mark.skipif(resident_bytes() is None, reason="the system does not say how much memory a process uses")
@pytest.mark.parametrize(("leak", "expected"), [(0, Verdict.PASS), (20_000, Verdict.FAIL)])
def test_a_real_process(leak, expected):
    watch_memory(Runner(leak), [{}], 512, 16, 5.0)
    calls, memory = watch_memory(Runner(leak), [{}], 2048, 64, 30.0)
    assert len(calls) == 65 and calls[-1] == 2048
    assert judge_growth(calls, memory).verdict is expected


def test_the_time_limit_ends_it_early():
    calls, memory = watch_memory(Runner(0), [{}], 1 << 24, 1 << 12, 0.02)
    assert len(calls) == len(memory) and 1 < len(calls) < 1 << 12
