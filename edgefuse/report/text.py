"""The report in a terminal: the verdict first, then why."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.manifest import REPORT, REPORT_HTML
from edgefuse.report.branches import branches_text, split_text
from edgefuse.report.calibration_text import warning_rows
from edgefuse.report.device import device_rows
from edgefuse.report.graphs import lint_findings, parser_answers
from edgefuse.report.sensors import absences_text
from edgefuse.report.units import about, decibels_text, drop_text, listed, significant, threads_text
from edgefuse.report.why import waiting

STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "pending": "bold cyan"}
VERDICTS = {"pending": "PENDING: what can be judged without the device passed"}
LINT_ROWS = 3
"""How many findings of one rule a terminal shows; a model can have hundreds."""


def print_report(report: dict[str, Any], bundle: Path | None = None) -> None:
    """Print *report* to stdout, within the terminal's width; commands to copy are never broken."""
    console = Console(highlight=False, emoji=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    verdict, finish = report["verdict"], report.get("finish")
    table.add_row("verdict", f"[{STYLES[verdict]}]{VERDICTS.get(verdict, verdict.upper())}[/]")
    rows = [*summary_rows(report), *lint_rows(report)]
    if report.get("estimate"):
        rows.append(("estimate", estimate_text(report["estimate"])))
    if finish:
        rows.append(("pending", f"{waiting(finish)}: {finish['why']}"))
    for name, text in rows:
        table.add_row(name, escape(text))
    if bundle is not None:
        table.add_row("bundle", f"{escape(str(bundle))}  ({report['size_bytes'] / 1e6:.1f} MB)")
        table.add_row("report", escape(_report_file(bundle)))
    console.print(table)
    for introduction, command in commands(report):
        console.print(f"\n[dim]{escape(introduction)}:[/]")
        console.print(f"  {escape(command)}", soft_wrap=True)


def _report_file(bundle: Path) -> str:
    """The page for people, or report.json where the packages that draw it are missing (a robot)."""
    if bundle.suffix == ".zip":
        with zipfile.ZipFile(bundle) as archive:
            return f"{REPORT_HTML if REPORT_HTML in archive.namelist() else REPORT} in the zip"
    plain = (bundle / REPORT).exists() and not (bundle / REPORT_HTML).exists()
    return str(bundle / (REPORT if plain else REPORT_HTML))


def summary_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person wants to know, as name and sentence; also the HTML report's summary."""
    rows = _plan_rows(report["plan"], report) if "plan" in report else []
    rows += _left_out(report)
    rows += [("accuracy", _accuracy_text(entry)) for entry in report["accuracy"]]
    absences = absences_text(report.get("fallbacks", ()))
    rows += [("sensors", absences)] if absences else []
    rows.append(("latency", _latency_text(report["latency"])))
    rows += [("note", note) for note in report["latency"].get("notes", ())]
    rows += device_rows(report)
    rows += warning_rows(report)
    rows += _not_judged(report)
    metric = report["accuracy"][0]["metric"]
    rows += [("arrow", _arrow_text(gate, metric)) for gate in report.get("gates", ()) if gate["verdict"] == "fail"]
    return rows + [("nvidia", answer) for answer in parser_answers(report)]


def _plan_rows(plan: dict[str, Any], report: dict[str, Any]) -> list[tuple[str, str]]:
    """The choice, and of a model with several parts what each takes and whether they run one by one."""
    rows = [("plan", _plan_text(plan, report.get("backend", {}).get("name")))]
    branches, cut = branches_text(plan), plan.get("cut")
    if branches is not None:
        rows.append(("branches", branches))
    return [*rows, ("split", split_text(cut))] if cut else rows


def _plan_text(plan: dict[str, Any], backend: str | None) -> str:
    kernels = "".join(f", {count} {name}" for name, count in (plan.get("kernels") or {}).items())
    if kernels:
        return f"{plan_reason(plan)}; kernels: {kernels[2:]}"
    known = backend == "tensorrt" or "thread" in plan.get("name", "")  # an engine has none, and the name says it
    return (
        plan_reason(plan) if known or not plan["threads"] else f"{plan_reason(plan)}; {threads_text(plan['threads'])}"
    )


def plan_reason(plan: dict[str, Any]) -> str:
    """Why this plan, and whether the search was cut short."""
    reason, early = str(plan["reason"]), plan.get("ended_early")
    return f"{reason} ({early})" if early and early not in reason else reason


def _left_out(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What was tried and cannot be had, each with its reason; nothing of a check, which tries none."""
    if "gates" not in report:
        return []
    tried = [row for row in report["plan"]["candidates"] if row["name"] != report["plan"]["name"]]
    failed: dict[str, list[str]] = {}
    for row in tried:
        if "failed" in row:
            failed.setdefault(row["failed"], []).append(row["name"].replace(", ", " with "))
    rows = [f"{', '.join(names)} failed: {reason}" for reason, names in failed.items()]
    chosen = report["plan"]["precision"], report["plan"]["graph"]  # whatever its threads, a graph answers alike
    others = [row for row in tried if "failed" not in row and (row["precision"], row["graph"]) != chosen]
    beyond = [row for row in others if not row["passes"]]
    metric, limit = report["accuracy"][0]["metric"], report["accuracy"][0]["limit"]
    unsure = [row for row in beyond if row["drop"] is not None and row["drop"] <= limit]
    surely = [row for row in beyond if row not in unsure]
    rows += [*_beyond_texts(surely, metric, SURELY), *_beyond_texts(unsure, metric, UNSURE)]
    return [("left out", text) for text in rows]


SURELY = "beyond the limit on the calibration samples"
UNSURE = "within the limit on the calibration samples, but not by a safe margin"
"""The search takes what keeps the limit with 1.5 standard errors to spare (docs/gate.md)."""

BEYOND_ROWS = 2
"""So many plans beyond the limit have a sentence each, more of them share one."""


def _beyond_texts(rows: list[dict[str, Any]], metric: str, how: str) -> list[str]:
    graphs = {(row["precision"], row["graph"]): row for row in reversed(rows)}
    rows = [row for row in rows if graphs[row["precision"], row["graph"]] is row]
    if len(rows) <= BEYOND_ROWS:
        return [_beyond_text(row, metric, how) for row in rows]
    found = [f"{row['name'].partition(', ')[0]} ({_loss_text(row, metric)})" for row in rows[:3]]
    names = listed([*found, *([f"{len(rows) - 3} more"] if len(rows) > 3 else [])])
    return [f"{names} are {how}"]


def _loss_text(row: dict[str, Any], metric: str) -> str:
    return decibels_text(row["sqnr_db"]) if row["drop"] is None else f"drop {drop_text(row['drop'], metric)}"


def _beyond_text(row: dict[str, Any], metric: str, how: str) -> str:
    drop = f"{metric} drops by {drop_text(row['drop'], metric)}, " if row["drop"] is not None else ""
    emulated = ", emulated" if row.get("emulated") else ""
    loss = f"{drop}{decibels_text(row['sqnr_db'])} SQNR{emulated}"
    return f"{row['name']} is {how} ({loss})"


def lint_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The linter's warnings, each once whatever graphs it is in, with what to do; of many under one rule the first."""
    rows, told, count = [], set(), Counter[str]()
    for found in lint_findings(report):
        rule, cure = found["rule"], found["cure"]
        count[rule] += 1
        if count[rule] <= LINT_ROWS:
            text = f"{found['node']}: {found['message']}"
            rows.append((f"lint {rule}", text if cure in told else f"{text}. {cure}"))
            told.add(cure)
    more = [(rule, number - LINT_ROWS) for rule, number in count.items() if number > LINT_ROWS]
    return rows + [(f"lint {rule}", f"{number} more of this kind: in the report") for rule, number in more]


def commands(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What to type on the device, each command with the words that introduce it; none where nothing is pending."""
    finish = report.get("finish")
    if not finish:
        return []
    found = []
    if finish["command"]:
        left = "left for" if report["verdict"] == "fail" else "finish it on"
        found.append((f"{left} {finish['on']}", finish["command"]))
    if finish["trtexec"]:
        either = "or without Python" if found else f"on {finish['on']}"
        zipped = "unzipped " if ".zip" in (finish["command"] or "") else ""
        found.append(
            (f"{either}, in the {zipped}bundle's folder: builds the engine, judges nothing", finish["trtexec"])
        )
    return found


def _accuracy_text(entry: dict[str, Any]) -> str:
    emulated = " (emulated)" if entry.get("emulated") else ""
    more = f", needs about {about(entry['more_samples'])} more samples" if entry["more_samples"] else ""
    if entry["metric"] == "sqnr":
        sure = "; 95 %: {:.1f} … {:.1f} dB".format(*entry["ci95"]) if entry["ci95"] else ""
        return (
            f"{entry['candidate']:.1f} dB SQNR{emulated} of the worst output (plain or mean-free, whichever is lower"
            f"{sure}), {entry['limit_text']}, {entry['samples']} samples: {entry['verdict']}{more}"
        )
    scale, unit = (100, " pt") if entry["metric"].startswith("top") else (1, "")
    low, high = (value * scale for value in entry["ci95"])
    of = "" if entry["labels"] else " (agreement with the float model)"
    return (
        f"{entry['metric']}{of}{emulated} {entry['reference'] * scale:.4g} → {entry['candidate'] * scale:.4g}, "
        f"drop {entry['drop'] * scale:.3g}{unit} (95 %: {low:.3g} … {high:.3g}), limit "
        f"{entry['limit'] * scale:.3g}{unit}, {entry['samples']} samples: {entry['verdict']}{more}"
    )


def _latency_text(latency: dict[str, Any]) -> str:
    compiled = latency["compiled"]
    if compiled is None:
        limit = f"; limit p90 {latency['limit_p90_ms']:g} ms: pending" if latency["limit_p90_ms"] is not None else ""
        return f"not measured yet, {latency['compiled_reason']}{limit}"
    text = f"p50 {compiled['p50_ms']:.3f} ms, p90 {compiled['p90_ms']:.3f} ms over {compiled['runs']} runs"
    if latency["float"]:
        text += f"; float p50 {latency['float']['p50_ms']:.3f} ms ({latency['speedup']:.2f}x)"
    if latency["verdict"]:
        text += f"; limit p90 {latency['limit_p90_ms']:g} ms: {latency['verdict']}"
    if latency["verdict"] == "inconclusive":
        low, high = latency["p90_ci95_ms"]
        text += (
            f" (p90 lies between {low:.3f} and {high:.3f} ms, and the same model differs from itself by "
            f"{abs(latency['canary_p90_ratio'] - 1):.0%} on this machine)"
        )
    return text


def estimate_text(estimate: dict[str, Any]) -> str:
    """A lower bound, which says so."""
    bounds = ", ".join(f"{_bound(value)} ({name})" for name, value in estimate["at_least_ms"].items())
    return f"at least {bounds}: {estimate['assumes']}"


def _bound(value_ms: float) -> str:
    return f"{significant(value_ms)} ms" if value_ms >= 0.001 else f"{significant(value_ms * 1e6)} ns"


def _arrow_text(gate: dict[str, Any], metric: str) -> str:
    where = f"{gate['from']} → {gate['to']} failed ({gate['name']}): "
    if gate["drop"] is not None:
        return f"{where}drop {drop_text(gate['drop'], metric)}, {decibels_text(gate['sqnr_db'])} SQNR"
    if gate["name"] == "export":
        return f"{where}{decibels_text(gate['sqnr_db'])} SQNR"
    return f"{where}{decibels_text(gate['worst_sqnr_db'])} SQNR (plain or mean-free, whichever is lower)"


def _not_judged(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Outputs that the metric does not look at, with how close they are to the float model's."""
    judged = {entry["output"] for entry in report["accuracy"]}
    if None in judged:  # sqnr looks at all
        return []
    others = [item for item in report.get("fidelity", ()) if item["output"] not in judged]
    emulated = ", emulated" if report["accuracy"][0].get("emulated") else ""
    found = ", ".join(f"{item['output']} ({_worst_db(item):.1f} dB SQNR{emulated})" for item in others)
    return [("not judged", found)] if others else []


def _worst_db(item: dict[str, Any]) -> float:
    centered = item["sqnr_centered_db"]
    return float(item["sqnr_db"] if centered is None else min(item["sqnr_db"], centered))
