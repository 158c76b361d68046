"""The verdicts of a gate and how several become one. Imports only the standard library."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Verdict(str, Enum):
    """What a gate found. ``INCONCLUSIVE``: too few samples or too noisy a machine to say either. ``PENDING``: not run
    yet, because it needs the device; a portable bundle's verdict where everything else passed."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    PENDING = "pending"

    @property
    def exit_code(self) -> int:
        return {"pass": 0, "fail": 1, "inconclusive": 3, "pending": 0}[self.value]


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a whole: one failure fails it, else one doubt leaves it open, else what is pending is awaited."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PENDING):
        if verdict in found:
            return verdict
    return Verdict.PASS
