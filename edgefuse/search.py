"""The search: the fastest candidate that keeps the accuracy limit, by measurement at its place. Numpy only.

It looks at the *calibrate* split only (``search.npz``). The golden split, which decides the verdict, is seen once,
afterwards, so that having chosen among many candidates cannot make the verdict look better than it is.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner
from edgefuse.candidates import Builder
from edgefuse.check import REFERENCE, Judge, compare_stages, judge_accuracy, likely_passes
from edgefuse.errors import ToolchainError, left_out
from edgefuse.golden import answering, first_feeds, read_golden
from edgefuse.journal import Journal
from edgefuse.latency import Latency
from edgefuse.plan import Candidate, Choice
from edgefuse.precision import FLOAT

TIE = 0.03
"""Latencies this close are one: interleaved A/A runs of one model differ by 1 to 2 % at p50. The more accurate wins."""

NEAR = 0.12
"""A rough measurement of ``ROUGH_RUNS`` calls is this uncertain: candidates that are this close are measured again."""

ROUGH_RUNS, ROUGH_WARMUP = 16, 4
ROUGH_PERCENTILE = 25
"""Of so few calls: whoever else uses the machine makes some of them slower, never faster."""

BEST_OF_ROUND = 2
GLANCE = 32
"""Samples that a candidate is judged on which is too slow to be chosen: enough for its place in the picture."""

HOPELESS_DB = 3.0

CONTENDERS = 3
"""So many of the fastest are also tried with other numbers of threads."""


@dataclass
class Search:
    """One search: what was found out about each candidate so far. ``journal`` keeps the verdicts, and knows those of
    an interrupted search; ``budget_s`` counts from the creation."""

    builder: Builder
    samples: Path
    judge: Judge
    budget_s: float = math.inf
    journal: Journal | None = None
    candidates: dict[str, Candidate] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    rough_ms: dict[str, float] = field(default_factory=dict)
    rounds: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started, self.feed = time.monotonic(), first_feeds(self.samples)[0]

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() - self.started > self.budget_s

    def add(self, candidates: Mapping[str, Candidate], failed: Mapping[str, str] = {}) -> None:
        """Take new *candidates* in, measure them roughly and judge those that may win."""
        self.candidates |= candidates
        self.failed |= failed
        with self.builder.opened({**self._anchor(), **candidates}, self.failed) as runners:
            self._measure_roughly(runners)
            self._judge_fast_ones({name: runners[name] for name in candidates if name in runners})

    def _anchor(self) -> dict[str, Candidate]:
        """Measured in every round, since a machine's speed differs from one minute to the next: what counts is how
        many times faster than this one the others are."""
        return {name: self.candidates[name] for name in [FLOAT, *self.rough_ms][:1] if name in self.candidates}

    def _measure_roughly(self, runners: Mapping[str, Runner]) -> None:
        working = dict(runners)
        for name, runner in runners.items():
            with left_out(name, self.failed, ()):
                runner(self.feed)
                continue
            del working[name]
        if working:
            found = self._measure(working, budget_s=0.0, min_runs=ROUGH_RUNS, warmup=ROUGH_WARMUP)
            self.rounds.append([name for name in found if name not in self.rough_ms])
            self._take_in({name: latency.percentile(ROUGH_PERCENTILE) for name, latency in found.items()})

    def _measure(self, runners: Mapping[str, Runner], **how: Any) -> dict[str, Latency]:
        return self.builder.place.measure(runners, self.samples, **how).latency

    def _take_in(self, found_ms: Mapping[str, float]) -> None:
        """Latencies of one round, in the first round's milliseconds."""
        known = next((name for name in self._anchor() if name in found_ms and name in self.rough_ms), None)
        scale = self.rough_ms[known] / found_ms[known] if known else 1.0
        self.rough_ms |= {name: value * scale for name, value in found_ms.items() if name not in self.rough_ms}

    def _judge_fast_ones(self, runners: Mapping[str, Runner]) -> None:
        """From the fastest on until one keeps the limit, and all that are as fast as that one within the noise."""
        for name in sorted((name for name in runners if name in self.rough_ms), key=self.rough_ms.__getitem__):
            bound = min((self.rough_ms[row["name"]] for row in self.passing()), default=math.inf) * (1 + NEAR)
            count = None if self.rough_ms[name] <= bound and not self.out_of_time else GLANCE
            with left_out(name, self.failed, ()):
                self.rows[name] = self._judge(name, runners[name], GLANCE)
                if count is None and not self._hopeless(self.rows[name]):
                    self.rows[name] = self._judge(name, runners[name], None)

    def _hopeless(self, row: Mapping[str, Any]) -> bool:
        """Whether a glance is enough to reject: so far below the floor that no sample can mend it."""
        return self.judge.metric is None and row["sqnr_db"] < self.judge.accuracy.min_sqnr_db - HOPELESS_DB

    def _judge(self, name: str, runner: Runner, count: int | None) -> dict[str, Any]:
        candidate = self.candidates[name]
        key, known = f"{self.builder.key(candidate)} {count}", self.journal.verdicts if self.journal else {}
        verdict = known.get(key) or judge_runner(name, runner, self.samples, self.judge, count)
        if self.journal is not None and key not in known:
            self.journal.add(key, verdict)
        return {
            **verdict,
            "name": name,
            "precision": candidate.precision,
            "graph": candidate.graph,
            "backend": candidate.backend,
            "threads": candidate.settings.threads,
            "p50_ms": self.rough_ms[name],
            "p90_ms": None,
        }

    def passing(self) -> list[dict[str, Any]]:
        """The rows of those that keep the limit on all samples of the search."""
        return [row for row in self.rows.values() if row["passes"] and row["complete"]]

    def fastest(self, count: int = CONTENDERS) -> list[Candidate]:
        """The fastest that run in each backend, whether they keep the limit or not."""
        ordered = [self.candidates[name] for name in sorted(self.rows, key=self.rough_ms.__getitem__)]
        backends = dict.fromkeys(item.backend for item in ordered)
        return [item for name in backends for item in [c for c in ordered if c.backend == name][:count]]

    def try_threads(self) -> None:
        """The fastest with other numbers of threads, where the device leaves a choice."""
        found = self.builder.other_threads(self.fastest(), self.failed)
        if found and not self.out_of_time:
            self.add(found)

    def choose(self) -> Choice:
        """Measure what may win against each other, in turns, and take the fastest; of equally fast ones the most
        accurate. Float is always there."""
        if not self.rows:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            raise ToolchainError(
                f"no precision runs here: {reasons}",
                hint="Try --precision float, or another version of the vendor's library (see: edgefuse doctor).",
            )
        self._judge_overlooked()
        best = self._final(self._finalists())
        others = [{"name": name, **self._blank(name), "failed": reason} for name, reason in self.failed.items()]
        rows = sorted(self.rows.values(), key=lambda row: float(row["p50_ms"]))
        early = f"the time budget of {self.budget_s:.0f} s ended the search" if self.out_of_time else None
        reason = self._reason(best) + (f" ({early})" if early else "")
        return Choice(best["name"], best["precision"], best["graph"], reason, (*rows, *others), early)

    def _blank(self, name: str) -> dict[str, Any]:
        candidate = self.candidates.get(name)
        precision, graph = (candidate.precision, candidate.graph) if candidate else (name, None)
        return {"precision": precision, "graph": graph, "passes": False}

    def _judge_overlooked(self) -> None:
        """On all samples those that only a glance has let through, though they are as fast as the best: the best of
        their round was faster than it proved to be."""
        bound = min((self.rough_ms[row["name"]] for row in self.passing()), default=math.inf) * (1 + NEAR)
        names = [
            name
            for name, row in self.rows.items()
            if row["passes"] and not row["complete"] and self.rough_ms[name] <= bound
        ]
        if names and not self.out_of_time:
            with self.builder.opened({name: self.candidates[name] for name in names}, self.failed) as runners:
                for name, runner in runners.items():
                    with left_out(name, self.failed, ()):
                        self.rows[name] = self._judge(name, runner, None)

    def _finalists(self) -> list[str]:
        names = [row["name"] for row in self.passing()]
        if not names:
            names = [FLOAT] if FLOAT in self.rows else list(self.rows)
        fastest = min(self.rough_ms[name] for name in names)
        found = {name for name in names if self.rough_ms[name] <= fastest * (1 + 2 * NEAR)}
        for others in self.rounds:  # whose latencies compare less well with those of another round
            own = sorted(set(others) & set(names), key=self.rough_ms.__getitem__)
            found.update(own[:BEST_OF_ROUND])
        return [name for name in names if name in found]

    def _final(self, names: Sequence[str]) -> dict[str, Any]:
        arms = {name: self.candidates[name] for name in dict.fromkeys([*self._anchor(), *names])}
        with self.builder.opened(arms, self.failed) as runners:
            found = self._measure(runners, budget_s=3.0, max_runs=400)
        self._rescale({name: latency.percentile(50) for name, latency in found.items()})
        for name, latency in found.items():
            self.rows[name] |= {"p50_ms": latency.percentile(50), "p90_ms": latency.percentile(90)}
        rows = [self.rows[name] for name in names if name in found]
        fastest = min(float(row["p50_ms"]) for row in rows)
        ties = [row for row in rows if row["p50_ms"] <= fastest * (1 + TIE)]
        return max(ties, key=lambda row: float(row["sqnr_db"]))

    def _rescale(self, found_ms: Mapping[str, float]) -> None:
        """The others' latencies in this round's milliseconds."""
        known = next((name for name in self._anchor() if name in found_ms), None)
        scale = found_ms[known] / self.rough_ms[known] if known else 1.0
        for name, row in self.rows.items():
            row["p50_ms"] = self.rough_ms[name] * scale

    def _reason(self, best: Mapping[str, Any]) -> str:
        if not best["passes"] and best["precision"] != FLOAT:
            return f"{best['name']}: no precision is within the limit on the calibration samples"
        if best["precision"] == FLOAT:
            return f"{best['name']}: no other precision was both faster and within the limit on the calibration samples"
        return f"{best['name']}: the fastest of {len(self.rows)} plans within the limit on the calibration samples"


def judge_runner(name: str, runner: Runner, samples: Path, judge: Judge, count: int | None = None) -> dict[str, Any]:
    """How a candidate does on the first *count* samples of the search (None: all): ``drop``, ``sqnr_db``, ``passes``,
    ``samples`` and whether these were all (``complete``)."""
    pair = (REFERENCE, name)
    taken = itertools.islice(read_golden(samples), count)
    comparison = compare_stages(taken, {name: answering(runner, samples)}, judge, [pair])[pair]
    entry = judge_accuracy(comparison, pair, judge)
    return {
        "drop": entry["drop"],
        "sqnr_db": comparison.worst_sqnr_db if judge.metric is None else comparison.sqnr_db,
        "passes": likely_passes(comparison, pair, judge),
        "samples": entry["samples"],
        "complete": count is None,
    }
