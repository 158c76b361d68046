"""``report.html``: the report as one page that needs no network and no JavaScript. Workstation only.

What is said is settled here and in :mod:`edgefuse.report.why` and ``graphs``, how it looks in the templates;
:mod:`edgefuse.report.pictures` draws. Names come from the user: the templates escape every value, and only the
pictures are passed as markup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from edgefuse.report.branches import calls_text, costs_text, equality_text, kept_text, operations_text, picture_rows
from edgefuse.report.device import device_facts
from edgefuse.report.graphs import graph_facts, lint_findings, tensorrt_graphs
from edgefuse.report.losses import read_losses
from edgefuse.report.part_ways import read_ways
from edgefuse.report.pictures import accuracy_picture, candidates_picture, latency_picture
from edgefuse.report.text import estimate_text, plan_reason, summary_rows
from edgefuse.report.tried import is_glance, listed_rows
from edgefuse.report.units import (
    count_text,
    decibels_text,
    drop_text,
    megabytes,
    percent,
    score_text,
    significant,
    threads_text,
)
from edgefuse.report.why import why

TEMPLATE = "report.html.j2"
STAGE_DETAILS = {
    "FP16 ONNX": "casts in the graph",
    "INT8 ONNX": "Q/DQ in the graph",
    "INT8 + FP16 ONNX": "Q/DQ and casts in the graph",
}


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
        page_environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            why=why(report),
            finish=report.get("finish"),
            emulated=report["accuracy"][0].get("emulated", False),
            figures=headline(report),
            stages=straight_line(report),
            reached=judged_stages(report),
            rows=summary_rows(report),
            device_facts=device_facts(report),
            graphs=graph_facts(report),
            findings=lint_findings(report),
            estimate=estimate_text(report["estimate"]) if report.get("estimate") else None,
            **_plan_facts(report),
            pictures=_pictures(report),
        )
    )


def _plan_facts(report: dict[str, Any]) -> dict[str, Any]:
    """What the page says of the plan: candidates, parts, and where the accuracy goes."""
    plan = report.get("plan", {"parts": [], "candidates": [], "reason": "", "cut": None})
    lanes, trunk = picture_rows(report)
    cut = plan.get("cut")
    shown, folded = listed_rows(plan)
    return {
        "plan_reason": plan_reason(plan),
        "shown": shown,
        "folded": folded,
        "lanes": lanes,
        "trunk": trunk,
        "cut": cut and {"kept": kept_text(cut), "equal": equality_text(cut), "calls": calls_text(cut)},
        "costs": costs_text(cut) if cut else None,
        "ways": read_ways(plan),
        "losses": read_losses(plan),
    }


def _pictures(report: dict[str, Any]) -> dict[str, Any]:
    """Markup by name; None where the report lacks the figures, "accuracy" one for each entry."""
    tried = candidates_picture(report["plan"], report["accuracy"][0]) if "plan" in report else None
    return {
        "latency": _markup(latency_picture(report["latency"])),
        "candidates": _markup(tried),
        "accuracy": [_markup(accuracy_picture(entry)) for entry in report["accuracy"]],
    }


def page_environment() -> Environment:
    """Templates, and the filters with which they write figures."""
    environment = Environment(
        loader=PackageLoader("edgefuse", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["glance"] = is_glance
    environment.filters |= {
        "significant": significant,
        "decibels": decibels_text,
        "drop": drop_text,
        "score": score_text,
        "megabytes": megabytes,
        "percent": percent,
        "count": count_text,
        "threads": threads_text,
        "operations": operations_text,
        "breakable": _breakable,
    }
    return environment


def _breakable(name: str) -> Markup:
    """A long name breaks after _ / . - before it breaks anywhere else."""
    return Markup("<wbr>").join(escape(word) for word in re.split(r"(?<=[_/.\-])(?=.)", name))


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)


def headline(report: dict[str, Any]) -> list[Figure]:
    """The numbers that are looked at first. What was not measured yet has no speed-up to speak of."""
    figures = [_accuracy_figure(entry) for entry in report["accuracy"]]
    if report["latency"]["compiled"] is None:
        figures += [_waiting_figure(report["latency"]), *_int8_figures(report)]
    else:
        figures += [_latency_figure(report["latency"]), _speedup_figure(report["latency"])]
    if "size_bytes" in report:
        figures.append(Figure("bundle", megabytes(report["size_bytes"]), _contents(report)))
    return figures


def _accuracy_figure(entry: dict[str, Any]) -> Figure:
    emulated = ", emulated" if entry.get("emulated") else ""
    if entry["metric"] == "sqnr":
        name, floor = f"SQNR, worst output{emulated}", f"floor {entry['limit']:g} dB"
        return Figure(name, decibels_text(entry["candidate"]), floor, entry["verdict"])
    name = entry["metric"] if entry["labels"] else f"{entry['metric']}, agreement"
    drop, limit = (drop_text(entry[key], entry["metric"]) for key in ("drop", "limit"))
    return Figure(
        f"{name}{emulated}",
        score_text(entry["candidate"], entry["metric"]),
        f"float {score_text(entry['reference'], entry['metric'])}; drop {drop}, limit {limit}",
        entry["verdict"],
    )


def _waiting_figure(latency: dict[str, Any]) -> Figure:
    limit = latency["limit_p90_ms"]
    detail = "no limit given" if limit is None else f"limit {limit:g} ms"
    return Figure("p90 latency", "–", f"{detail}; not measured yet", latency["verdict"])


def _int8_figures(report: dict[str, Any]) -> list[Figure]:
    """How much of the graph that comes first is INT8, for TensorRT."""
    planned = report["plan"]["graph"]
    return [
        Figure(
            "operations in INT8",
            f"{item['int8']} of {item['eligible']}",
            f"of all {item['operations']} operations, {item['eligible']} are eligible",
        )
        for item in tensorrt_graphs(report)
        if item["graph"] == planned and "int8" in item
    ]


def _contents(report: dict[str, Any]) -> str:
    count = len(report.get("graphs", [""]))
    graphs = "graph" if count == 1 else f"{count} graphs"
    rest = " and samples, no artifact yet" if report.get("finish") else ", artifact and held-out samples"
    return f"{graphs}{rest}"


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
    """Float model → … → compiled (→ part by part); empty where the report has no arrows."""
    gates = report.get("gates", [])
    if not gates:
        return []
    model = report["model"]
    exporter = "as it was given" if model["exporter"] == model["source"] else f"by {model['exporter']}"
    details = {"ONNX": exporter, **STAGE_DETAILS}
    arrows = {"compile": _compiled_detail(report), "split": f"{len(report['plan']['parts'])} parts"}
    stages = [Stage(gates[0]["from"], model["source"])]
    return [
        *stages,
        *(Stage(gate["to"], arrows.get(gate["name"], details.get(gate["to"], "")), gate) for gate in gates),
    ]


def _compiled_detail(report: dict[str, Any]) -> str:
    backend, finish = report["backend"], report.get("finish")
    return f"{backend['name']} on {finish['on']}" if finish else f"{backend['name']} {backend['version']}"


def judged_stages(report: dict[str, Any]) -> int:
    """How many boxes of the straight line the end-to-end accuracy spans: to what a call runs, or what is emulated."""
    gates = report.get("gates", [])
    names = [gate["name"] for gate in gates]
    beside = "split" in names and report["plan"]["cut"]["calls"] == "whole"
    return len(gates) + 1 - int(beside or report["accuracy"][0].get("emulated", False))
