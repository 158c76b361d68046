"""The page of a replay, self-contained as the report of a compile is. Workstation only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgefuse.report.device import device_facts
from edgefuse.report.html import Figure, page_environment
from edgefuse.report.pictures import age_picture, staleness_picture, steps_picture
from edgefuse.report.replay_text import (
    accuracy_text,
    clock_text,
    cpu_text,
    damage_text,
    equality_text,
    interval_text,
    nothing_answered,
    recording_text,
    steps_text,
    times_text,
    uses_text,
)
from edgefuse.report.units import percent, score_text, score_unit, significant
from edgefuse.whole_file import whole_file

TEMPLATE = "replay.html.j2"


def write_html(path: Path, report: Mapping[str, Any]) -> None:
    """Write the result of a replay as a self-contained page to *path*, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(render(report), encoding="utf-8")


def render(report: Mapping[str, Any]) -> str:
    """The page as text; the same result gives the same page."""
    return (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            why=nothing_answered(report) or steps_text(report),
            answered=bool(report["steps"]["answered"]),
            figures=headline(report),
            streams=_streams(report),
            drops=_drops(report),
            device_facts=device_facts(report),
            damage=damage_text(report),
            ages=_ages(report),
            steps=_markup(steps_picture(report)),
            staleness=_staleness(report),
            texts={
                "recording": recording_text(report),
                "accuracy": accuracy_text(report),
                "cpu": cpu_text(report),
                "equality": equality_text(report),
            },
        )
    )


def headline(report: Mapping[str, Any]) -> list[Figure]:
    """The numbers that are looked at first."""
    steps, measured, accuracy = report["steps"], report["measured"], report["accuracy"]
    share = percent(steps["answered"] / steps["total"]) if steps["total"] else "–"
    figures = [Figure("steps with an answer", share, f"{steps['answered']} of {steps['total']}, at {report['tick']}")]
    if report["deadline_ms"] is not None:
        figures.append(Figure("late", str(steps["late"]), f"deadline {report['deadline_ms']:g} ms after the tick"))
    if measured["step_ms"] is not None:
        took, limit = measured["step_ms"], report["bundle"]["limit_p90_ms"]
        kept = None if limit is None else "pass" if took["p90"] <= limit else "fail"
        detail = "no limit in the bundle" if limit is None else f"the bundle's limit {limit:g} ms"
        figures.append(Figure("p90 latency of a step", f"{significant(took['p90'])} ms", detail, kept))
    if measured["cpu"]["times_less"]:
        times, _, direction = times_text(measured["cpu"]["times_less"]).partition(" times ")
        figures.append(Figure(f"{direction} computing", f"{times}×", "CPU time, against the whole graph at each step"))
    if accuracy is not None and accuracy["value"] is not None:
        detail = interval_text(accuracy, accuracy["metric"]).strip(" ()") or "too short for an interval"
        figures.append(Figure(accuracy["metric"], score_text(accuracy["value"], accuracy["metric"]), detail))
    return figures


def _streams(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of streams."""
    return [
        {"name": name, "uses": ", ".join(filter(None, [uses_text(found), clock_text(found)])), **found}
        for name, found in report["streams"].items()
    ]


def _drops(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each reason for which what was recorded of a stream was not used, with its count."""
    rows = [
        {"stream": name, "reason": f"while reading: {reason}", "count": count}
        for name, reasons in report["recording"]["dropped"].items()
        for reason, count in reasons.items()
    ]
    for name, found in report["streams"].items():
        reasons = {**found["dropped"], **({"superseded": found["superseded"]} if found["superseded"] else {})}
        rows += [{"stream": name, "reason": reason, "count": count} for reason, count in reasons.items()]
    return rows


def _ages(report: Mapping[str, Any]) -> list[Markup]:
    duration = report["recording"]["duration_s"]
    drawn = [age_picture(name, i, found, duration) for i, (name, found) in enumerate(report["streams"].items())]
    return [Markup(svg) for svg in drawn if svg is not None]


def _staleness(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The picture and the rows of its table; None where nothing was swept."""
    swept, accuracy = report["staleness"], report["accuracy"]
    if swept is None or accuracy is None or not swept["steps"]:
        return None
    metric = accuracy["metric"]
    scale, unit = score_unit(metric)
    rows = [
        {"name": name, "scores": [significant(item["value"] * scale) for item in found]}
        for name, found in swept["streams"].items()
    ]
    worst = max(
        ((name, found[-1]["drop"], found[-1]["drop_ci95"]) for name, found in swept["streams"].items()),
        key=lambda item: item[1],
    )
    return {
        "metric": f"{metric}, %" if unit else metric,
        "picture": _markup(staleness_picture(swept, accuracy)),
        "delays": [f"{delay:g}" for delay in swept["delays_ms"]],
        "rows": rows,
        "worst": _worst_text(worst, swept["delays_ms"][-1], metric) if len(swept["delays_ms"]) > 1 else None,
    }


def _worst_text(worst: tuple[str, float, Any], delay_ms: float, metric: str) -> str:
    name, drop, interval = worst
    scale, unit = score_unit(metric)
    sure = ""
    if interval is not None:
        sure = f" (95 %: {significant(interval[0] * scale)} … {significant(interval[1] * scale)})"
    return f"{name} {delay_ms:g} ms later costs most: {significant(drop * scale)}{unit}{sure}"


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)
