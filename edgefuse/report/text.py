"""The report in a terminal: the verdict first, then why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


def print_report(report: dict[str, Any], bundle: Path | None = None) -> None:
    """Print *report* to stdout, within the terminal's width."""
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("verdict", f"[{STYLES[report['verdict']]}]{report['verdict'].upper()}[/]")
    for name, text in summary_rows(report):
        table.add_row(name, escape(text))
    if bundle is not None:
        table.add_row("bundle", f"{escape(str(bundle))}  ({report['size_bytes'] / 1e6:.1f} MB)")
        table.add_row("report", escape(f"{bundle / 'report.html'}") if bundle.is_dir() else "report.html in the zip")
    console.print(table)


def summary_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person wants to know, as name and sentence; also the HTML report's summary."""
    rows = [("plan", f"{report['plan']['reason']}; {report['plan']['threads']} threads")] if "plan" in report else []
    rows += [("accuracy", _accuracy_text(entry)) for entry in report["accuracy"]]
    rows.append(("latency", _latency_text(report["latency"])))
    rows += [("arrow", _arrow_text(gate)) for gate in report.get("gates", ()) if gate["verdict"] == "fail"]
    return rows


def _accuracy_text(entry: dict[str, Any]) -> str:
    if entry["metric"] == "sqnr":
        return f"{entry['candidate']:.1f} dB SQNR, {entry['limit_text']}: {entry['verdict']}"
    scale, unit = (100, " pt") if entry["metric"].startswith("top") else (1, "")
    low, high = (value * scale for value in entry["ci95"])
    of = "" if entry["labels"] else " (agreement with the float model)"
    more = f", needs about {entry['more_samples']} more samples" if entry["more_samples"] else ""
    return (
        f"{entry['metric']}{of} {entry['reference'] * scale:.4g} → {entry['candidate'] * scale:.4g}, "
        f"drop {entry['drop'] * scale:.3g}{unit} (95 %: {low:.3g} … {high:.3g}), limit "
        f"{entry['limit'] * scale:.3g}{unit}, {entry['samples']} samples: {entry['verdict']}{more}"
    )


def _latency_text(latency: dict[str, Any]) -> str:
    compiled = latency["compiled"]
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


def _arrow_text(gate: dict[str, Any]) -> str:
    return f"{gate['from']} → {gate['to']} failed ({gate['name']}): {gate['sqnr_db']:.1f} dB SQNR"
