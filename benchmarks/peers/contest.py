"""One model through all arms: build, load, answer, judge, race."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from peers import arm_edgefuse, build
from peers.arms import ARMS, BASE, OURS, PEERS
from peers.case import Case
from peers.cost import Cost, Failed
from peers.judged import Judged, judge_answers
from peers.race import Ratio, Times, busy_share, closing, ratio_of, run_race
from peers.worker import Worker

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """``race_s`` and ``build_s`` are budgets for a model and for one tool; ``reuse``: artifacts made before."""

    arms: tuple[str, ...]
    race_s: float
    build_s: float
    cache: Path
    reuse: bool = False


@dataclass
class Result:
    """What was found of each arm, by its name; an arm that failed somewhere has a reason and lacks the rest."""

    case: Case
    costs: dict[str, Cost] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    times: dict[str, Times] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    exported: Cost | None = None
    busy: float = 0.0
    """The share of all cores that somebody used in the second before the race, while every worker slept."""

    def speedup(self, name: str) -> float | None:
        """Over OpenVINO in f32."""
        base = self.times.get(BASE)
        return base.p50 / self.times[name].p50 if base and name in self.times else None

    def best_peer(self) -> str | None:
        """The peer with the lowest p50 of those that pass the gate."""
        passing = [name for name in PEERS if name in self.times and self.judged[name].passes]
        return min(passing, key=lambda name: self.times[name].p50, default=None)

    def gain(self, peer: str) -> Ratio | None:
        """How many times as fast as *peer* EdgeFuse is."""
        return ratio_of(self.times[peer], self.times[OURS]) if {peer, OURS} <= set(self.times) else None


def run_contest(name: str, options: Options, say: Say) -> Result:
    say(f"{name}: model, samples, reference answers")
    result = Result(build.prepare_case(name, options.cache))
    result.exported = exported = _exported(result.case, options)
    for arm in options.arms:
        _build(arm, exported, options, result, say)
    workers: dict[str, Worker] = {}
    with closing(workers):
        for arm in options.arms:
            if ARMS[arm].artifact in result.failed:
                result.failed[arm] = "as above"
            if arm not in result.failed:
                _open(arm, workers, result, say)
        result.busy = busy_share()
        say(f"{name}: race of {len(workers)} arms, {options.race_s:g} s; others use {result.busy:.0%} of the CPU")
        result.times, died = run_race(workers, options.race_s)
    result.failed |= died
    return result


def _exported(case: Case, options: Options) -> Cost:
    found = build.built_before(build.EXPORT, case) if options.reuse and case.onnx.exists() else None
    return found or build.export_case(case)


def _build(arm: str, exported: Cost, options: Options, result: Result, say: Say) -> None:
    """Cost of the way from ``model.pt2`` to the arm's artifact: the export where it starts from ONNX, and its tool."""
    entry, costs = ARMS[arm], [exported] if ARMS[arm].from_onnx else []
    if entry.build is not None:
        say(f"{result.case.name}: {entry.title}")
        try:
            costs.append(_made(arm, result.case, options))
        except Failed as error:
            result.failed[arm] = str(error)
            return
    if costs:
        result.costs[arm] = costs[0].after(costs[1]) if len(costs) > 1 else costs[0]


def _made(arm: str, case: Case, options: Options) -> Cost:
    cost = build.built_before(arm, case) if options.reuse else None
    if cost is None:
        shutil.rmtree(case.arm(arm), ignore_errors=True)
        cost = build.build_arm(arm, case, options.build_s)
    return cost


def _open(arm: str, workers: dict[str, Worker], result: Result, say: Say) -> None:
    """Load the arm, and judge its answers, while the others wait."""
    say(f"{result.case.name}: {ARMS[arm].title}, held-out samples")
    try:
        worker = Worker(arm, result.case)
        workers[arm] = worker
        result.judged[arm] = judge_answers(result.case, worker.answer())
    except Failed as error:
        result.failed[arm] = str(error)
        if arm in workers:
            workers.pop(arm).close()
        return
    if arm == OURS:
        result.notes[arm] = arm_edgefuse.describe(result.case.arm(OURS))
