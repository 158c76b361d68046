"""Is one call on the device within its limit? p90, with the device's own noise. Without a limit nothing is judged,
unless there is a history (``--edgefuse-history``) to hold it against."""

from __future__ import annotations

from typing import Any

from edgefuse.device_state import remarks
from edgefuse.pytest_plugin.case import Case
from edgefuse.pytest_plugin.figures import latency_figures, latency_sentence
from edgefuse.pytest_plugin.history import add_to_history, history_text
from edgefuse.pytest_plugin.outcome import FAIL, SKIPPED, Finding

NO_LIMIT = "Set one: p90_ms in the recipe's [latency], or @pytest.mark.edgefuse(p90_ms=20)"


def run(case: Case) -> Finding:
    """The device's state is read right before and after: slow because of the power mode is said in words."""
    limit_ms = case.limits.p90_ms or case.bundle.manifest["limits"]["p90_ms"]
    before = case.device.state()
    answer = case.ask("latency", {"limit_ms": limit_ms}, "Measuring latency")
    after = case.device.state()
    latency: dict[str, Any] = answer.value
    notes = remarks(before, after)
    state = {"before": before, "after": after, "remarks": notes}
    result, summary = {"latency": latency, "device_state": state}, latency_sentence(latency)
    verdict, history = latency["verdict"], case.settings.history
    if history is not None:
        compared = add_to_history(history, case.bundle, case.device.about, latency, answer.arrays, state)
        result["comparison"] = compared
        verdict = _with_history(verdict, compared)
        summary = f"{summary}; {history_text(compared)}"
    skipped = verdict is None
    return Finding(
        "latency",
        SKIPPED if skipped else verdict,
        summary,
        latency_figures(latency),
        notes,
        result,
        hint=NO_LIMIT if skipped else "",
        word="no limit" if skipped else None,
    )


def _with_history(verdict: str | None, compared: dict[str, Any]) -> str | None:
    """Slower than before is a failure whatever the limit; where there is no limit the history alone decides."""
    if compared["p90_ratio"] is None or (verdict is not None and compared["verdict"] != FAIL):
        return verdict
    return str(compared["verdict"])
