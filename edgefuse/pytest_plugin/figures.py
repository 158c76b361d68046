"""A check's figures in a sentence. Imports no rich: a pytest may run where the command line is not installed."""

from __future__ import annotations

from typing import Any

from edgefuse.report.units import about, p90_interval, score_text, score_unit, significant


def accuracy_sentence(entry: dict[str, Any]) -> str:
    """Of a report's ``accuracy`` entry: the figure with its interval, the limit, how many samples."""
    more = f"; needs about {about(entry['more_samples'])} more samples" if entry["more_samples"] else ""
    of = f"over {entry['samples']} samples{more}"
    low, high = entry["ci95"]
    if entry["metric"] == "sqnr":
        return (
            f"{entry['candidate']:.1f} dB SQNR of the worst output (95 %: {low:.1f} … {high:.1f}), "
            f"limit {entry['limit_text']}, {of}"
        )
    (scale, unit), metric = score_unit(entry["metric"]), entry["metric"]
    drop, low, high, limit = (significant(value * scale) for value in (entry["drop"], low, high, entry["limit"]))
    before, after = (score_text(entry[name], metric) for name in ("reference", "candidate"))
    agreement = "" if entry["labels"] else " (agreement with the float model)"
    return (
        f"{metric}{agreement} {before} → {after}, drop {drop}{unit} (95 %: {low} … {high}), limit {limit}{unit} "
        f"({entry['limit_text']}), {of}"
    )


def accuracy_figures(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("metric", "reference", "candidate", "drop", "limit", "samples", "more_samples")
    low, high = entry["ci95"]
    return {**{name: entry[name] for name in names if entry[name] is not None}, "ci95_low": low, "ci95_high": high}


def latency_sentence(latency: dict[str, Any]) -> str:
    """Of a report's ``latency``: p50, p90 with what its limit is held against, the canary where that is the matter."""
    found, (low, high) = latency["compiled"], p90_interval(latency)
    text = (
        f"p50 {found['p50_ms']:.3f} ms, p90 {found['p90_ms']:.3f} ms (95 %, with this machine's noise: {low:.3f} … "
        f"{high:.3f}) over {found['runs']} calls"
    )
    if latency["limit_p90_ms"] is None:
        return text
    text += f", limit p90 {latency['limit_p90_ms']:g} ms"
    if latency["verdict"] != "inconclusive":
        return text
    return f"{text}; the same bundle differs from itself by {abs(latency['canary_p90_ratio'] - 1):.0%} here"


def latency_figures(latency: dict[str, Any]) -> dict[str, Any]:
    found, (low, high) = latency["compiled"], latency["p90_ci95_ms"]
    names = ("p50_ms", "p90_ms", "p99_ms", "max_ms", "runs")
    figures = {name: found[name] for name in names if found[name] is not None}
    limit = {} if latency["limit_p90_ms"] is None else {"limit_p90_ms": latency["limit_p90_ms"]}
    return {**figures, "p90_ci95_low_ms": low, "p90_ci95_high_ms": high, "canary": latency["canary_p90_ratio"], **limit}
