"""The page of ``edgefuse bench``: this bench, the recorded ones, or both; self-contained as a compile's report is.
Workstation only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgefuse.report.bench_text import (
    accuracy_texts,
    canary_text,
    changed_texts,
    grouped,
    more_texts,
    ratio_text,
    recorded_texts,
    verdict_text,
)
from edgefuse.report.device import device_facts
from edgefuse.report.html import Figure, page_environment
from edgefuse.report.pictures.history import MOST_RUNS, arms_picture, history_picture, ratio_picture
from edgefuse.report.units import significant
from edgefuse.whole_file import whole_file

TEMPLATE = "history.html.j2"

ROWS = 30
"""Of the table of one bundle's runs: the newest."""

Found = Mapping[str, Any]


def write_html(path: Path, page: Found) -> None:
    """Write *page* to *path*, whole or not at all: ``bench`` (a bench's report, or None), and of the history ``path``,
    ``lines`` and ``damage``."""
    with whole_file(path) as part:
        part.write_text(render(page), encoding="utf-8")


def render(page: Found) -> str:
    """The page as text; the same figures give the same page."""
    report = page["bench"]
    return (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            path=page["path"],
            damage=page["damage"],
            bench=_bench(report) if report else None,
            groups=_groups(page["lines"], report),
            count=len(page["lines"]),
            device_facts=device_facts(report) if report else [],
        )
    )


def _bench(report: Found) -> dict[str, Any]:
    arms = {name: report[name] for name in ("baseline", "candidate") if report[name]}
    return {
        "why": verdict_text(report),
        "figures": headline(report),
        "arms": [{"role": name, **arm} for name, arm in arms.items()],
        "distribution": Markup(arms_picture(_distributions(report))),
        "ratios": _ratios(report),
        "canary": canary_text(report),
        "more": more_texts(report),
        "recorded": recorded_texts(report),
        "accuracy": accuracy_texts(report),
        "changed": changed_texts(report),
    }


def _distributions(report: Found) -> dict[str, Found]:
    """By name; the recorded baseline is the median of each quantile."""
    recorded = report["comparison"].get("recorded")
    if report["baseline"]:
        return {name: report[name]["latency"] for name in ("baseline", "candidate")}
    return {**({"recorded": recorded} if recorded else {}), "this run": report["candidate"]["latency"]}


def _ratios(report: Found) -> Markup | None:
    """The canary and the candidate against the limit; None where there is no baseline."""
    found, canary = report["comparison"], report["canary"]
    if found["p90_ratio"] is None:
        return None
    name = "candidate" if report["baseline"] else "this run"
    rows = [
        ("canary", canary["p90_ratio"], tuple(canary["ci95"]), "inconclusive" if canary["doubt"] else "pass"),
        (name, found["p90_ratio"], tuple(found["widened_ci95"]), found["verdict"]),
    ]
    return Markup(ratio_picture(rows, found["limit"]))


def headline(report: Found) -> list[Figure]:
    """The numbers that are looked at first."""
    found, latency, canary = report["comparison"], report["candidate"]["latency"], report["canary"]
    figures = []
    if found["p90_ratio"] is not None:
        low, high = found["widened_ci95"]
        detail = f"95 %: {ratio_text(low)} … {ratio_text(high)}; limit {found['limit']:g}"
        figures.append(Figure("p90, times the baseline's", ratio_text(found["p90_ratio"]), detail, found["verdict"]))
    before = _before(report)
    detail = f"baseline {significant(before)} ms" if before is not None else f"{latency['runs']} runs"
    figures.append(Figure("p90", f"{significant(latency['p90_ms'])} ms", detail))
    sure = latency["p90_early_stopping_ms"]
    if sure is not None:
        figures.append(Figure("p90, MLPerf's estimate", f"{significant(sure)} ms", "not below p90 in 99 of 100 runs"))
    low, high = canary["ci95"]
    doubt = "inconclusive" if canary["doubt"] else "pass"
    detail = f"the same bundle again; 95 %: {ratio_text(low)} … {ratio_text(high)}"
    return [*figures, Figure("canary", ratio_text(canary["p90_ratio"]), detail, doubt)]


def _before(report: Found) -> float | None:
    known = report["baseline"]["latency"] if report["baseline"] else report["comparison"].get("recorded")
    return None if known is None else float(known["p90_ms"])


def _groups(lines: Sequence[Found], report: Found | None) -> list[dict[str, Any]]:
    """Each bundle on each class of device, that of this bench first."""
    this = (report["candidate"]["name"], report["device_class"]) if report else None
    found = sorted(grouped(lines).items(), key=lambda item: (item[0] != this, item[0]))
    return [
        {
            "bundle": name,
            "device": device,
            "runs": len(known),
            "drawn": min(len(known), MOST_RUNS),
            "picture": Markup(history_picture(known, number)) if len(known) > 1 else None,
            "remarked": any(line["remarks"] for line in known[-MOST_RUNS:]),
            "rows": [_row(line) for line in reversed(known[-ROWS:])],
        }
        for number, ((name, device), known) in enumerate(found)
    ]


def _row(line: Found) -> dict[str, Any]:
    found, latency = line["comparison"], line["latency"]
    baseline = found.get("baseline")
    against = baseline["name"] if baseline else "recorded runs"
    ends = found["widened_ci95"] or ()
    return {
        "stamp": line["stamp"].replace("T", " ").removesuffix("Z"),
        "hash": line["hash"][:8],
        "verdict": line["verdict"],
        "latency": latency,
        "ratio": ratio_text(found["p90_ratio"]) if found["p90_ratio"] is not None else "–",
        "interval": " … ".join(ratio_text(end) for end in ends),
        "against": f"{against} {baseline['hash'][:8]}" if baseline else against,
        "notes": [*([found["why"]] if found["why"] else []), *line["remarks"]],
    }
