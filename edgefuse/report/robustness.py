"""The page of ``edgefuse check --robustness``, self-contained as the report of a compile is. Workstation only."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgefuse.report.html import Figure, page_environment
from edgefuse.report.pictures.robustness import contribution_picture, heat_picture, subsets_picture
from edgefuse.report.robustness_text import (
    absent_text,
    beyond_text,
    case_text,
    cell_words,
    chance_text,
    figure,
    has_metric,
    heat_rows,
    judged_count,
    listed_counts,
    mark,
    mean_text,
    verdict_text,
    worst_cases,
)
from edgefuse.report.units import decibels_text, drop_text, percent, score_text, score_unit, significant
from edgefuse.whole_file import whole_file

TEMPLATE = "robustness.html.j2"
WORST = 8

Found = Mapping[str, Any]


def write_html(path: Path, report: Found) -> None:
    """Write the page on *report*'s ``robustness`` to *path*, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(render(report), encoding="utf-8")


def render(report: Found) -> str:
    """The page as text; the same result gives the same page."""
    found = report["robustness"]
    return (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            found=found,
            metric=has_metric(found),
            why=verdict_text(found),
            figures=headline(found),
            worst=[{"text": case_text(case, found), "mark": mark(case)} for case in worst_cases(found)[:WORST]],
            heats=_heats(found),
            cell_words=cell_words(found) if has_metric(found) else "",
            means=[{"text": mean_text(mean, found), **mean} for mean in found["means"]],
            beyond=beyond_text(found) if found["no_case_beyond"] and found["verdict"] != "fail" else None,
            chance=chance_text(found),
            subsets=_markup(subsets_picture(found)),
            contribution=_markup(contribution_picture(found)),
            absent=[absent_text(row, found) for row in found["subsets"] if len(row["absent"]) == 1],
            cases=[_case(case, found) for case in found["cases"]],
            unmeasured=_unmeasured(found),
        )
    )


def headline(found: Found) -> list[Figure]:
    """The numbers that are looked at first."""
    figures = []
    if has_metric(found):
        cases, worst = judged_count(found), max((mean["value"] for mean in found["means"]), default=None)
        figures.append(Figure("cases judged", str(cases), listed_counts(found)))
        if worst is not None:
            detail = f"mean over the cases of the worst sensor; limit {drop_text(found['limit'], found['metric'])}"
            value = significant(worst * score_unit(found["metric"])[0], 2) + score_unit(found["metric"])[1]
            figures.append(Figure("compiled loses more by", value, detail, found["verdict"]))
        clean = f"compiled {score_text(found['compiled'], found['metric'])}"
        figures.append(Figure(f"{found['metric']} of float, clean", score_text(found["float"], found["metric"]), clean))
    known = [case for case in found["cases"] if not case["error"]]
    judged = [case for case in known if case["verdict"] or not has_metric(found)]
    flips = [case["flips"] for case in judged if case["flips"] is not None]
    if flips and found["flips"] is not None:
        detail = f"of the answers, in the worst case; clean {percent(found['flips'])}"
        figures.append(Figure("float and compiled differ", percent(max(flips)), detail))
    if judged:
        least = min(case["sqnr_db"] for case in judged)
        detail = f"of compiled against float, in the worst case; clean {decibels_text(found['sqnr_db'])}"
        figures.append(Figure("SQNR", decibels_text(least), detail))
    return figures


def _heats(found: Found) -> list[dict[str, Any]]:
    """One heat map for each stream."""
    streams = itertools.groupby(heat_rows(found), key=lambda row: row.stream)
    modality = {case["stream"]: case["modality"] for case in found["cases"]}
    return [
        {"stream": name, "modality": modality[name], "picture": Markup(heat_picture(name, number, list(rows), found))}
        for number, (name, rows) in enumerate(streams)
    ]


def _case(case: Found, found: Found) -> dict[str, Any]:
    """A row of the table of all cases, its cells as text."""
    scale, _ = score_unit(found["metric"])
    amount = f"{significant(case['amount'], 2)} {case['unit']}" if case["unit"] else ""
    named = {"stream": case["stream"], "name": case["name"], "severity": case["severity"], "amount": amount}
    if case["error"]:
        return {**named, "error": case["error"]}
    test = case["interaction"]
    late = case["mean_delay_ms"]
    return {
        **named,
        "error": None,
        "float": _score(case["float"]["value"], found),
        "compiled": _score(case["compiled"]["value"], found),
        "extra": figure(test["value"] * scale) if test else "–",
        "interval": " … ".join(figure(end * scale) for end in test["ci95"]) if test and test["ci95"] else "–",
        "flips": "–" if case["flips"] is None else percent(case["flips"]),
        "sqnr": decibels_text(case["sqnr_db"]),
        "outside": percent(max(case["outside"].values(), default=0.0)),
        "nonfinite": f"{case['nonfinite']['float']} / {case['nonfinite']['compiled']}",
        "late": "" if late is None else f"{significant(late)} ms old",
        "verdict": case["verdict"],
        "certain": mark(case) == "certain",
    }


def _score(value: float | None, found: Found) -> str:
    return "–" if value is None or not has_metric(found) else score_text(value, found["metric"])


def _unmeasured(found: Found) -> list[dict[str, Any]]:
    """Each reason once, with what it kept from being measured or judged."""
    reasons: dict[str, list[str]] = {}
    for item in [*found["unmeasured"], *(case for case in found["cases"] if case["reason"] and has_metric(found))]:
        name = f"{item['stream']} {item['name']}"
        if name not in reasons.setdefault(item["reason"], []):
            reasons[item["reason"]].append(name)
    return [{"reason": reason, "names": names} for reason, names in reasons.items()]


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)
