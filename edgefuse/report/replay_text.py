"""A replay's result in a terminal: what was answered first, then each stream and part. Standard library only; the
command line prints, and the page shows the same sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.report.device import device_rows
from edgefuse.report.units import listed, percent, score_text, score_unit, significant

MOST_UNUSED = 6

Rows = list[tuple[str, str]]


def summary_rows(report: Mapping[str, Any]) -> Rows:
    """Name and sentence."""
    return [
        *[("damaged", text) for text in damage_text(report)],
        ("recording", recording_text(report)),
        *[("not read", text) for text in unread_text(report)],
        *[("note", text) for text in report["recording"]["notes"]],
        ("steps", steps_text(report)),
        *[(name, stream_text(found)) for name, found in report["streams"].items()],
        ("parts", parts_text(report)),
        ("latency", latency_text(report)),
        *device_rows(report),
        ("computing", cpu_text(report)),
        ("equality", equality_text(report)),
        ("accuracy", accuracy_text(report)),
        *staleness_rows(report),
    ]


def recording_text(report: Mapping[str, Any]) -> str:
    found = report["recording"]
    shown, more = found["unused"][:MOST_UNUSED], len(found["unused"]) - MOST_UNUSED
    unused = f"; not used: {', '.join(shown)}{f' and {more} more' if more > 0 else ''}" if shown else ""
    labels = f", {found['labels']} labels" if found["labels"] else ""
    return f"{significant(found['duration_s'])} s{labels}{unused}"


def damage_text(report: Mapping[str, Any]) -> list[str]:
    """What of the recording could not be read, where something could not."""
    damage = report["recording"]["damage"]
    return [f"{damage}; only what could be read was replayed"] if damage else []


def unread_text(report: Mapping[str, Any]) -> list[str]:
    """For each stream what was recorded and could not be used, by reason."""
    return [
        f"{name}: {', '.join(f'{count} {reason}' for reason, count in reasons.items())}"
        for name, reasons in report["recording"]["dropped"].items()
    ]


def steps_text(report: Mapping[str, Any]) -> str:
    steps, deadline = report["steps"], report["deadline_ms"]
    text = f"{steps['total']} at {report['tick']}, {steps['answered']} answered"
    unanswered = [f"{count} {name}" for name, count in steps["status"].items() if name in ("waiting", "stale")]
    if unanswered:
        text += f" ({', '.join(unanswered)}; the last: {steps['reason']})"
    if deadline is not None:
        estimated = " by the bundle's figures" if report["timing"] == "estimated" else ""
        text += f"; {steps['late']} later than {deadline:g} ms after the tick{estimated}"
    return text + (f"; {steps['missed']} ticks missed" if steps["missed"] else "")


def dropped_text(found: Mapping[str, Any]) -> str:
    """Everything that was delivered and not used, by reason."""
    reasons = {**found["dropped"], **({"superseded": found["superseded"]} if found["superseded"] else {})}
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items())


def stream_text(found: Mapping[str, Any]) -> str:
    if not found["deliveries"]:
        return f"not in the recording; {uses_text(found)}"
    rate = f" at {significant(found['rate_hz'])} Hz" if found["rate_hz"] is not None else ""
    longest = f"(longest {found['longest_gap_ms']:.0f} ms)"
    gaps = f", {counted(found['gaps'], 'gap')} {longest}" if found["gaps"] else ""
    gaps += f", {clock_text(found)}" if clock_text(found) else ""
    dropped = dropped_text(found)
    unused = f"; not used: {dropped}" if dropped else ""
    age = found["age_ms"]
    ages = f"; age p50 {age['p50']:.0f}, p90 {age['p90']:.0f}, max {age['max']:.0f} ms" if age else ""
    return f"{found['deliveries']}{rate}{gaps}{unused}{ages}; {uses_text(found)}"


def clock_text(found: Mapping[str, Any]) -> str:
    """That stamps went back by more than ``reset_after_ms``: the runtime begins anew with them."""
    return f"its clock went back {counted(found['restarts'], 'time')}" if found.get("restarts") else ""


def counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def uses_text(found: Mapping[str, Any]) -> str:
    """How steps came by the stream's data."""
    shares = [f"{source} {percent(share)}" for source, share in found["used"].items()]
    stale = [f"stale {percent(found['stale'])}"] if found["stale"] else []
    return ", ".join([*shares, *stale]) or "never used"


def parts_text(report: Mapping[str, Any]) -> str:
    return " · ".join(part_text(part, report["measured"]["parts_ms"].get(part["name"])) for part in report["parts"])


def part_text(part: Mapping[str, Any], took: Mapping[str, float] | None) -> str:
    skipped = f" ({part['skipped']} skipped for the deadline)" if part["skipped"] else ""
    time = f", p90 {significant(took['p90'])} ms" if took else ""
    return f"{part['name']} {part['runs']} runs{skipped}{time}"


def latency_text(report: Mapping[str, Any]) -> str:
    took, limit = report["measured"]["step_ms"], report["bundle"]["limit_p90_ms"]
    if took is None:
        return "not measured: no step had an answer"
    text = ", ".join(f"{name} {significant(took[name])}" for name in ("p50", "p90", "p99", "max"))
    kept = "" if limit is None else f"; limit p90 {limit:g} ms: {'kept' if took['p90'] <= limit else 'exceeded'}"
    return f"of a step {text} ms{kept}"


def cpu_text(report: Mapping[str, Any]) -> str:
    cpu = report["measured"]["cpu"]
    if not cpu["times_less"]:
        return "not compared: no step was measured against the whole graph"
    return (
        f"{times_text(cpu['times_less'])} than the whole graph at each step: "
        f"{significant(cpu['steps_ms'])} against {significant(cpu['whole_ms'])} ms of CPU time (the whole measured on "
        f"{cpu['measured_ticks']} ticks)"
    )


def times_text(times_less: float) -> str:
    """1.40 times less, or 1.05 times more."""
    return f"{significant(times_less)} times less" if times_less >= 1 else f"{significant(1 / times_less)} times more"


def equality_text(report: Mapping[str, Any]) -> str:
    found = report["equality"]
    if not found["ticks"]:
        return "not checked"
    same = "all" if found["equal_to_recompute"] == found["ticks"] else f"only {found['equal_to_recompute']}"
    apart = found["max_abs_to_whole"]
    whole = "the whole graph gives NaN or infinity elsewhere" if apart is None else (
        f"at most {significant(apart)} from the whole graph" if apart else "equal to the whole graph too"
    )  # fmt: skip
    return (
        f"{same} of {found['ticks']} steps that were checked equal a full recompute of the parts bit for bit; {whole}"
    )


def accuracy_text(report: Mapping[str, Any]) -> str:
    found = report["accuracy"]
    if found is None or found["value"] is None:
        return f"not judged: {report['accuracy_reason'] or 'no step had both an answer and a label'}"
    lost = f"; {found['not_finite']} NaN or infinite" if found["not_finite"] else ""
    return (
        f"{found['metric']} {score_text(found['value'], found['metric'])}{interval_text(found, found['metric'])} over "
        f"{found['steps']} steps in {found['stretches']} stretches of time{lost}"
    )


def interval_text(found: Mapping[str, Any], metric: str) -> str:
    if found["ci95"] is None:
        return ""
    scale, _ = score_unit(metric)
    low, high = (significant(value * scale) for value in found["ci95"])
    return f" (95 %: {low} … {high})"


def staleness_rows(report: Mapping[str, Any]) -> Rows:
    """What each stream's delay costs."""
    swept, reason = report["staleness"], report["staleness_reason"]
    if swept is None:
        return [] if report["accuracy"] is None or reason == "not asked for" else [("staleness", f"none: {reason}")]
    if not swept["steps"]:
        return [("staleness", "not judged: no tick has an answer at every delay")]
    judged, rows = report["accuracy"], list[tuple[str, str]]()
    for name, found in swept["streams"].items():
        changes = [f"{item['delay_ms']:g} ms {_change(item, judged)}" for item in found if item["delay_ms"]]
        rows += [("staleness", f"{judged['metric']} with {name} later by {', '.join(changes)}")] if changes else []
    return rows


def _change(item: Mapping[str, Any], judged: Mapping[str, Any]) -> str:
    """Of the metric, in its unit: an error that grows has a plus."""
    scale, unit = score_unit(judged["metric"])
    change = item["drop"] * scale * (-1 if judged["higher_is_better"] else 1)
    return f"{change:+.3g}{unit}".replace("-", "−") if abs(change) >= 5e-4 else "±0"


def nothing_answered(report: Mapping[str, Any]) -> str | None:
    """Why there is nothing to say of the model; None where there is."""
    if report["steps"]["answered"]:
        return None
    absent = [name for name, found in report["streams"].items() if not found["deliveries"]]
    missing = f" ({listed(absent)}: not in the recording)" if absent else ""
    return f"none of {report['steps']['total']} steps had an answer: {report['steps']['reason']}{missing}"
