"""MLPerf's early-stopping estimate against LoadGen itself, against scipy's binomial, and against known truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from edgefuse.early_stopping import allowed_above, early_stopping, runs_needed
from edgefuse.latency import MIN_RUNS, MIN_RUNS_P99, Latency

SINGLE_STREAM = '''
"""LoadGen's SingleStream over a system whose latencies are lognormal; its logs in the folder sys.argv[2]."""
import sys, time
import numpy as np
import mlperf_loadgen as loadgen

runs, folder = int(sys.argv[1]), sys.argv[2]
seconds = iter(np.random.default_rng(runs).lognormal(-10.5, 0.5, runs))

def issue(queries):
    end = time.perf_counter() + next(seconds)
    while time.perf_counter() < end:
        pass
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries])

settings = loadgen.TestSettings()
settings.scenario, settings.mode = loadgen.TestScenario.SingleStream, loadgen.TestMode.PerformanceOnly
settings.single_stream_expected_latency_ns, settings.min_duration_ms = 1000, 0
settings.min_query_count = settings.max_query_count = runs
output = loadgen.LogOutputSettings()
output.outdir, output.copy_summary_to_stdout = folder, False
logs = loadgen.LogSettings()
logs.log_output, logs.enable_trace = output, True  # the trace holds every latency
system = loadgen.ConstructSUT(issue, lambda: None)
samples = loadgen.ConstructQSL(8, 8, lambda _: None, lambda _: None)
loadgen.StartTestWithLogSettings(system, samples, settings, logs)
'''


class LoadGen:
    """One run of LoadGen: the latencies that it recorded, in ns, and what it says of them."""

    def __init__(self, runs: int, folder: Path) -> None:
        command = [sys.executable, "-c", SINGLE_STREAM, str(runs), str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        trace = (folder / "mlperf_log_trace.json").read_text()  # whose strings are not always escaped: no JSON
        self.latencies = np.array(re.findall(r'"issue_start_ns":0,"complete_ns":(\d+)', trace), float)
        self.text = (folder / "mlperf_log_summary.txt").read_text()

    def _number(self, pattern: str) -> int | None:
        found = re.search(pattern, self.text)
        return int(found[1]) if found else None

    @property
    def discarded(self) -> int | None:
        return self._number(r"Would discard (\d+) highest latency queries")

    @property
    def floor(self) -> int | None:
        return self._number(r"(?:Processed|Need to process) at least (\d+) queries")

    def estimate(self, percentile: int) -> int | None:
        return self._number(rf"Early stopping {percentile}\.0th percentile estimate: (\d+)")


@pytest.mark.parametrize("runs", [40, 63, 64, 65, 100, 101, 257, 661, 662, 1000, 5000])
def test_estimate_and_discards_are_loadgens_own(runs: int, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen", reason="mlcommons-loadgen has wheels from Python 3.11 on")
    oracle = LoadGen(runs, tmp_path)
    assert len(oracle.latencies) == runs and oracle.floor == 64
    for percentile in (90, 99):
        found = early_stopping(oracle.latencies, percentile / 100)
        assert (found[0] if found else None) == oracle.estimate(percentile)
        if percentile == 90:
            assert (found[1] if found else None) == oracle.discarded
    assert (oracle.discarded is None) == (runs < 64) and (oracle.estimate(99) is None) == (runs < 662)


def test_floors_are_mlperfs_and_those_of_the_reports() -> None:
    assert runs_needed(0.9) == MIN_RUNS == 64
    assert runs_needed(0.99) == MIN_RUNS_P99 == 662
    for percentile, floor in ((0.9, 64), (0.99, 662)):
        assert allowed_above(floor - 1, percentile) == 0 and allowed_above(floor, percentile) == 1
        assert early_stopping(np.arange(floor - 1.0), percentile) is None
        assert early_stopping(np.arange(float(floor)), percentile) == (floor - 1, 0), "the greatest of all"


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("runs", [10, 64, 663, 20_000, 1_000_000])
def test_allowed_number_is_scipys_binomial(runs: int, percentile: float) -> None:
    found = allowed_above(runs, percentile)
    assert stats.binom.cdf(found + 1, runs, 1 - percentile) >= 0.01
    assert found == 0 or stats.binom.cdf(found, runs, 1 - percentile) < 0.01


@pytest.mark.parametrize("runs", [64, 300, 2000])
def test_fewer_than_one_run_in_a_hundred_understates_the_percentile(runs: int) -> None:
    rng, truth = np.random.default_rng(7), float(np.exp(stats.norm.ppf(0.9)))
    runs_of = rng.lognormal(0.0, 1.0, (4000, runs))
    estimates = np.array([early_stopping(row, 0.9)[0] for row in runs_of])
    understated = float((estimates < truth).mean())
    plain = float((np.percentile(runs_of, 90, axis=1) < truth).mean())
    assert understated <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / 4000)
    assert plain > 0.4, "the empirical percentile is too low in about half of all runs"
    assert np.median(estimates) < {64: 20, 300: 5.5, 2000: 4.2}[runs], "and it is not needlessly high"


def test_the_report_holds_it_or_says_why_not() -> None:
    found = Latency(np.arange(64.0), 20).to_json()
    assert found["p90_early_stopping_ms"] == 63 and "p90_early_stopping_reason" not in found
    short = Latency(np.arange(63.0), 20).to_json()
    assert short["p90_early_stopping_ms"] is None and "64" in short["p90_early_stopping_reason"]
