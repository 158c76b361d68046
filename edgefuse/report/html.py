"""``report.html``: the report as one page that needs no network and no JavaScript. Workstation only.

What is said is settled here, how it looks in ``report.html.j2``; :mod:`edgefuse.report.pictures` draws. Names come
from the user: the template escapes every value, and only the pictures are passed as markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgefuse.report.pictures import (
    accuracy_picture,
    candidates_picture,
    decibels_text,
    latency_picture,
    p90_interval,
    score_unit,
    significant,
)
from edgefuse.report.text import summary_rows

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Figure:
    """One large number at the top of the page; ``verdict`` where a limit stands behind it."""

    name: str
    value: str
    detail: str
    verdict: str | None = None


@dataclass(frozen=True)
class Stage:
    """A box of the straight line, and the gate of the arrow that leads to it (None for the first)."""

    name: str
    detail: str
    gate: dict[str, Any] | None = None


def write_html(path: Path, report: dict[str, Any]) -> None:
    """Write *report* (DESIGN: ``report.json``) as a self-contained page to *path*."""
    path.write_text(render(report), encoding="utf-8")


def render(report: dict[str, Any]) -> str:
    """The page as text; the same report gives the same page."""
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            why=why(report),
            figures=headline(report),
            stages=straight_line(report),
            rows=summary_rows(report),
            pictures=_pictures(report),
        )
    )


def _pictures(report: dict[str, Any]) -> dict[str, Any]:
    """Markup by name; None where the report lacks the figures, "accuracy" one for each entry."""
    tried = candidates_picture(report["plan"], report["accuracy"][0]) if "plan" in report else None
    return {
        "latency": _markup(latency_picture(report["latency"])),
        "candidates": _markup(tried),
        "accuracy": [_markup(accuracy_picture(entry)) for entry in report["accuracy"]],
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edgefuse", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "significant": significant,
        "decibels": decibels_text,
        "drop": drop_text,
        "score": score_text,
        "megabytes": megabytes,
    }
    return environment


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)


def drop_text(drop: float, metric: str) -> str:
    """A drop in *metric* as a person reads it: 0.106 pt."""
    scale, unit = score_unit(metric)
    return f"{significant(drop * scale)}{unit}"


def score_text(score: float, metric: str) -> str:
    """A score as a person reads it: 97.66 %."""
    return f"{score:.2%}".replace("%", " %") if metric.startswith("top") else significant(score, 4)


def megabytes(size_bytes: int) -> str:
    return f"{significant(size_bytes / 1e6)} MB"


def why(report: dict[str, Any]) -> str:
    """The verdict's reason in one sentence: what failed, what is in doubt, or what held."""
    verdict = report["verdict"]
    parts = [_arrow_reason(gate) for gate in report.get("gates", ()) if verdict == gate["verdict"] == "fail"]
    parts += [_accuracy_reason(entry) for entry in report["accuracy"] if entry["verdict"] == verdict]
    if report["latency"]["verdict"] == verdict:
        parts.append(_latency_reason(report["latency"]))
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _arrow_reason(gate: dict[str, Any]) -> str:
    sqnr = decibels_text(gate["sqnr_db"])
    return f"the arrow {gate['from']} → {gate['to']} ({gate['name']}) fails at {sqnr} SQNR"


def _accuracy_reason(entry: dict[str, Any]) -> str:
    metric, verdict = entry["metric"], entry["verdict"]
    if metric == "sqnr":
        word, relation = ("holds", "above") if verdict == "pass" else ("fails", "below")
        return (
            f"accuracy {word}: the worst output has {decibels_text(entry['candidate'])} SQNR, {relation} "
            f"the floor of {entry['limit']:g} dB"
        )
    low, high, limit = (drop_text(value, metric) for value in (*entry["ci95"], entry["limit"]))
    if verdict == "pass":
        return f"accuracy holds: {metric} drops by at most {high} (95 % sure), and {limit} is allowed"
    if verdict == "fail":
        return f"accuracy fails: {metric} drops by at least {low} (95 % sure), and {limit} is allowed"
    more = f"; about {entry['more_samples']:,} more would settle it" if entry["more_samples"] else ""
    return (
        f"accuracy is open: {entry['samples']} samples cannot tell whether {metric} drops by more than the "
        f"{limit} that is allowed{more}"
    )


def _latency_reason(latency: dict[str, Any]) -> str:
    p90, limit = f"{significant(latency['compiled']['p90_ms'])} ms", f"{latency['limit_p90_ms']:g} ms"
    if latency["verdict"] != "inconclusive":
        word, relation = ("holds", "within") if latency["verdict"] == "pass" else ("fails", "over")
        return f"latency {word}: p90 is {p90}, {relation} the limit of {limit}"
    low, high = (significant(value) for value in p90_interval(latency))
    return (
        f"latency is open: with this machine's noise p90 lies between {low} and {high} ms, and so does the "
        f"limit of {limit}"
    )


def headline(report: dict[str, Any]) -> list[Figure]:
    """The numbers that are looked at first."""
    figures = [_accuracy_figure(entry) for entry in report["accuracy"]]
    figures += [_latency_figure(report["latency"]), _speedup_figure(report["latency"])]
    if "size_bytes" in report:
        size = megabytes(report["size_bytes"])
        figures.append(Figure("bundle", size, "graph, artifact and held-out samples"))
    return figures


def _accuracy_figure(entry: dict[str, Any]) -> Figure:
    if entry["metric"] == "sqnr":
        return Figure(
            "SQNR, worst output", decibels_text(entry["candidate"]), f"floor {entry['limit']:g} dB", entry["verdict"]
        )
    name = entry["metric"] if entry["labels"] else f"{entry['metric']}, agreement"
    drop, limit = (drop_text(entry[key], entry["metric"]) for key in ("drop", "limit"))
    return Figure(
        name,
        score_text(entry["candidate"], entry["metric"]),
        f"float {score_text(entry['reference'], entry['metric'])}; drop {drop}, limit {limit}",
        entry["verdict"],
    )


def _latency_figure(latency: dict[str, Any]) -> Figure:
    limit = latency["limit_p90_ms"]
    detail = "no limit given" if limit is None else f"limit {limit:g} ms"
    p90 = significant(latency["compiled"]["p90_ms"])
    return Figure("p90 latency", f"{p90} ms", detail, latency["verdict"])


def _speedup_figure(latency: dict[str, Any]) -> Figure:
    if latency["speedup"] is None:
        return Figure("speed-up", "–", f"not measured: {latency.get('speedup_reason', 'no reason given')}")
    p50 = [significant(latency[name]["p50_ms"]) for name in ("float", "compiled")]
    return Figure("speed-up", f"{significant(latency['speedup'])}×", f"p50 {p50[0]} → {p50[1]} ms")


def straight_line(report: dict[str, Any]) -> list[Stage]:
    """Float model → … → compiled; empty where the report has no arrows."""
    gates = report.get("gates", [])
    if not gates:
        return []
    model, backend = report["model"], report["backend"]
    exporter = "as it was given" if model["exporter"] == model["source"] else f"by {model['exporter']}"
    details = {"ONNX": exporter, "INT8 ONNX": "Q/DQ in the graph"}
    stages = [Stage(gates[0]["from"], model["source"])]
    stages += [Stage(gate["to"], details.get(gate["to"], ""), gate) for gate in gates]
    last = stages[-1]
    return [*stages[:-1], Stage(last.name, f"{backend['name']} {backend['version']}", last.gate)]
