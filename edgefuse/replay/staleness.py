"""Accuracy against staleness: the same recording with one stream's arrivals delayed. Numpy only.

Stamps, ticks and labels stay; the data that a step finds are older. No age limit holds, so that every step answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgefuse.comparison import Judge
from edgefuse.model import Model
from edgefuse.noninferiority import MIN_UNITS, mean_interval
from edgefuse.recordings import Recording
from edgefuse.replay.accuracy import Floats, Groups, Scorer, Scores, estimate
from edgefuse.replay.events import RecordedClock, TickRule, drive, in_order, thinned, ticks
from edgefuse.stream import Session, StreamPolicy

DELAYS_MS = (0.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
TICKS = 400
"""Steps of each run of the sweep."""

Policies = dict[str, StreamPolicy]
Watch = Callable[[int, int], None]
"""Told at each step: the number of the run, and the recording's time."""


def sweep(
    model: Model,
    recording: Recording,
    judge: Judge,
    rule: TickRule,
    total: int,
    delays_ms: Sequence[float] = DELAYS_MS,
    policies: Policies | None = None,
    watch: Watch = lambda run, now_ns: None,
) -> dict[str, Any]:
    """For each stream and delay the metric, and what it loses against no delay; on the ticks that all runs answered, of
    at most ``TICKS`` of *total*. A model that carries state needs every tick, and is only scored on those."""
    delays = sorted({0.0, *delays_ms})
    runs = [("", 0.0), *((name, delay) for name in recording.counts for delay in delays if delay)]
    chosen = thinned(total, TICKS)
    found: dict[tuple[str, float], Scores] = {}
    for number, (name, delay_ms) in enumerate(runs):
        with model.stream(_held(model.policies(policies)), timing="estimated") as session:
            asked = ticks(rule, recording, None if _has_state(session) else chosen)
            scorer = Scorer(recording, judge)
            for step in drive(session, in_order(recording, asked, name, round(delay_ms * 1e6)), RecordedClock()):
                watch(number, step.now_ns)
                if step.tick.number in chosen:
                    scorer.stepped(step)
        found[name, delay_ms] = scorer.scores
    return _to_json(found, list(recording.counts), delays, total, judge)


def _held(policies: Policies) -> Policies:
    return {name: replace(policy, max_age_ms=None, on_stale="hold") for name, policy in policies.items()}


def _has_state(session: Session) -> bool:
    return bool(session.parts.partition.state)


def _to_json(
    found: dict[tuple[str, float], Scores], streams: list[str], delays: list[float], total: int, judge: Judge
) -> dict[str, Any]:
    common = set.intersection(*(set(scores.ticks) for scores in found.values()))
    base = _kept(found["", 0.0], common)
    rows = {}
    for name in streams:
        runs = [(delay, base if not delay else _kept(found[name, delay], common)) for delay in delays]
        rows[name] = [{"delay_ms": delay, **estimate(*kept, judge), **_drop(base, kept, judge)} for delay, kept in runs]
    values, groups = base
    return {
        "steps": len(values),
        "stretches": len(np.unique(groups)),
        "ticks": min(TICKS, total),
        "of_ticks": total,
        "delays_ms": delays,
        "streams": rows,
    }


def _kept(scores: Scores, common: set[int]) -> tuple[Floats, Groups]:
    indices, groups, values = scores.arrays()
    kept = np.isin(indices, np.fromiter(common, np.int64, len(common)))
    return values[kept], groups[kept]


def _drop(base: tuple[Floats, Groups], kept: tuple[Floats, Groups], judge: Judge) -> dict[str, Any]:
    """How much worse than without delay, paired; its 95 % interval by bootstrap-t over stretches of time."""
    assert judge.metric is not None
    (before, groups), (after, _) = base, kept
    loss = (before - after) * (1 if judge.metric.higher_is_better else -1)
    if len(np.unique(groups)) < MIN_UNITS:
        return {"drop": float(loss.mean()) if len(loss) else None, "drop_ci95": None}
    return {"drop": float(loss.mean()), "drop_ci95": list(mean_interval(loss, groups))}
