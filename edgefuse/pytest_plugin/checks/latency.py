"""Is one call on the device within its limit? p90, with the device's own noise; without a limit nothing is judged."""

from __future__ import annotations

from typing import Any

from edgefuse.device_state import remarks
from edgefuse.pytest_plugin.case import Case
from edgefuse.pytest_plugin.figures import latency_figures, latency_sentence
from edgefuse.pytest_plugin.outcome import SKIPPED, Finding


def run(case: Case) -> Finding:
    """The device's state is read right before and after: slow because of the power mode is said in words."""
    limit_ms = case.limits.p90_ms or case.bundle.manifest["limits"]["p90_ms"]
    before = case.device.state()
    answer = case.ask("latency", {"limit_ms": limit_ms}, "Measuring latency")
    after = case.device.state()
    latency: dict[str, Any] = answer.value
    notes = remarks(before, after) if before and after else []
    result = {"latency": latency, "device_state": {"before": before, "after": after, "remarks": notes}}
    verdict, hint, word = latency["verdict"] or SKIPPED, "", None
    if limit_ms is None:
        word, hint = "no limit", "Set one: p90_ms in the recipe's [latency], or @pytest.mark.edgefuse(p90_ms=20)"
    return Finding(
        "latency", verdict, latency_sentence(latency), latency_figures(latency), notes, result, hint=hint, word=word
    )
