"""The three verdicts of a gate and how several become one. Imports only the standard library."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Verdict(str, Enum):
    """What a gate found. ``INCONCLUSIVE``: too few samples or too noisy a machine to say either."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        return {"pass": 0, "fail": 1, "inconclusive": 3}[self.value]


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a whole: one failure fails it, else one doubt leaves it open."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in found:
            return verdict
    return Verdict.PASS
