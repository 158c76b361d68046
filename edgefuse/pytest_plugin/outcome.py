"""What a check found, and how that becomes a test's outcome: passed, failed, skipped, or inconclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from edgefuse.errors import EdgeFuseError
from edgefuse.verdict import Verdict

SKIPPED = "skipped"
"""The check judged nothing: it has no limit, or nothing to compare with. Its summary says which."""

INCONCLUSIVE = Verdict.INCONCLUSIVE.value
ERROR = "error"
"""The check could not be done: the device is unreachable, the bundle is damaged, the vendor's library crashed …"""

FAIL = Verdict.FAIL.value
ORDER = (ERROR, FAIL, INCONCLUSIVE, SKIPPED, Verdict.PASS.value)


@dataclass(frozen=True)
class Finding:
    """``verdict``: pass, fail, inconclusive, skipped or error. ``summary`` is one sentence with its figure
    and limit, ``details`` are lines for whoever mends it, ``figures`` go to JUnit, ``result`` is the whole as JSON.
    ``hint`` says what to do about it. ``word`` is what a terminal calls it in place of "skipped"."""

    check: str
    verdict: str
    summary: str
    figures: dict[str, Any] = field(default_factory=dict)
    details: Sequence[str] = ()
    result: dict[str, Any] = field(default_factory=dict)
    hint: str = ""
    word: str | None = None

    @property
    def text(self) -> str:
        """For a failure's section."""
        hint = [self.hint] if self.hint else []
        return "\n".join([f"{self.check}: {self.summary}", *(f"  {line}" for line in self.details), *hint])

    @property
    def reason(self) -> str:
        """For a test that is skipped or inconclusive."""
        return f"{self.word or ''}{': ' if self.word else ''}{self.summary}{'. ' if self.hint else ''}{self.hint}"

    def strict(self) -> Finding:
        """The same where a doubt counts as a failure."""
        if self.verdict != INCONCLUSIVE:
            return self
        return replace(self, verdict=FAIL, summary=f"inconclusive, and --edgefuse-strict: {self.summary}")

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "verdict": self.verdict,
            "summary": self.summary,
            "hint": self.hint,
            "word": self.word,
            "details": list(self.details),
            "figures": self.figures,
            "result": self.result,
        }


class Inconclusive(pytest.skip.Exception):  # type: ignore[name-defined,misc]
    """Neither red nor green: for pytest a skipped test, which the plugin shows by its own word."""


class Failed(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The finding's text is all that there is to show: no traceback."""

    __module__ = "builtins"  # as pytest's own, whose name is short in its summary

    def __init__(self, text: str) -> None:
        super().__init__(text, pytrace=False)


def failed_check(check: str, error: EdgeFuseError) -> Finding:
    """What, where and what to do."""
    return Finding(check, ERROR, told(error), result={"error": error.to_json()})


def told(error: EdgeFuseError) -> str:
    return f"{type(error).__name__}: {error}"


def raise_worst(findings: Sequence[Finding]) -> None:
    """Return where all passed, or at least one did and the others judged nothing."""
    red = [item for item in findings if item.verdict in (ERROR, FAIL)]
    if red:
        raise Failed("\n\n".join(item.text for item in red))
    doubts = [item for item in findings if item.verdict == INCONCLUSIVE]
    if doubts:
        raise Inconclusive(_said(doubts, findings))
    skipped = [item for item in findings if item.verdict == SKIPPED]
    if skipped and len(skipped) == len(findings):
        raise pytest.skip.Exception(_said(skipped, findings))


def _said(chosen: Sequence[Finding], of: Sequence[Finding]) -> str:
    return "; ".join(item.reason if len(of) == 1 else f"{item.check}: {item.reason}" for item in chosen)
