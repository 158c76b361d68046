"""What an arm's answers to the held-out samples are worth: the same gate for all, which is EdgeFuse's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.check import REFERENCE, compare_stages, judge_accuracy
from edgefuse.golden import Recorded, read_golden
from edgefuse.metrics import SQNR
from peers.case import Case


@dataclass(frozen=True)
class Judged:
    """``plain_db`` and ``worst_db``: SQNR of the worst output, as it is, and plain or mean-free, whichever is lower.
    ``accuracy`` is the report's entry of that name."""

    plain_db: float
    worst_db: float
    accuracy: dict[str, Any]

    @property
    def passes(self) -> bool:
        return bool(self.accuracy["verdict"] == "pass")

    @property
    def worst(self) -> str:
        """``worst_db``, and its interval where the gate is one of SQNR."""
        if self.accuracy["metric"] != SQNR or not self.accuracy["ci95"]:
            return f"{self.worst_db:.1f}"
        low, high = self.accuracy["ci95"]
        return f"{self.worst_db:.1f} ({low:.1f} … {high:.1f})"

    @property
    def metric(self) -> str:
        """The metric, and the drop of it with its interval; nothing where there is none."""
        if self.accuracy["drop"] is None:
            return "–"
        low, high = self.accuracy["ci95"]
        drop = 100 * self.accuracy["drop"]
        return f"{100 * self.accuracy['candidate']:.2f}, drop {drop:+.2f} ({100 * low:+.2f} … {100 * high:+.2f})"


def judge_answers(case: Case, answers: Path) -> Judged:
    judge, pair = case.judge, (REFERENCE, "compiled")
    recorded = {"compiled": Recorded(answers, "compiled")}
    comparison = compare_stages(read_golden(case.golden), recorded, judge, [pair])[pair]
    return Judged(comparison.sqnr_db, comparison.worst_sqnr_db, judge_accuracy(comparison, pair, judge))
