"""The report in a terminal: the verdict first, then why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "pending": "bold cyan"}
VERDICTS = {"pending": "PENDING: what can be judged without the device passed"}


def print_report(report: dict[str, Any], bundle: Path | None = None) -> None:
    """Print *report* to stdout, within the terminal's width."""
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    verdict = report["verdict"]
    table.add_row("verdict", f"[{STYLES[verdict]}]{VERDICTS.get(verdict, verdict.upper())}[/]")
    for name, text in summary_rows(report):
        table.add_row(name, escape(text))
    if bundle is not None:
        table.add_row("bundle", f"{escape(str(bundle))}  ({report['size_bytes'] / 1e6:.1f} MB)")
        page = "report.html in the zip" if bundle.suffix == ".zip" else str(bundle / "report.html")
        table.add_row("report", escape(page))
    console.print(table)


def summary_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person wants to know, as name and sentence; also the HTML report's summary."""
    rows = [("plan", _plan_text(report["plan"]))] if "plan" in report else []
    rows += [("accuracy", _accuracy_text(entry)) for entry in report["accuracy"]]
    rows.append(("latency", _latency_text(report["latency"])))
    rows += _not_judged(report)
    rows += [("arrow", _arrow_text(gate)) for gate in report.get("gates", ()) if gate["verdict"] == "fail"]
    rows += [(item["graph"], item["toolchain"]["text"]) for item in report.get("graphs", ()) if _nvidia(item)]
    return [*rows, *lint_rows(report), *finish_rows(report)]


def _plan_text(plan: dict[str, Any]) -> str:
    threads = f"; {plan['threads']} threads" if plan["threads"] else ""
    return f"{plan['reason']}{threads}"


def _nvidia(item: dict[str, Any]) -> bool:
    """Whether NVIDIA's toolchain was to look at this graph."""
    return "TensorRT" in item["toolchain"]["text"] and "only for" not in item["toolchain"]["text"]


def lint_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The linter's warnings, each once, whatever graphs it is in."""
    found = [item for graph in report.get("graphs", ()) for item in graph["lint"]]
    return list(dict.fromkeys((item["rule"], f"{item['node']}: {item['message']}") for item in found))


def finish_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What only the device can judge, and the commands for it."""
    finish = report.get("finish")
    if not finish:
        return []
    rows = [("pending", f"{', '.join(finish['pending'])}: {finish['why']}")]
    rows.append(("finish", f"{finish['command']}  (on {finish['on']})"))
    return [*rows, ("or", finish["trtexec"])] if finish["trtexec"] else rows


def _accuracy_text(entry: dict[str, Any]) -> str:
    if entry["metric"] == "sqnr":
        more = f", needs about {entry['more_samples']} more samples" if entry["more_samples"] else ""
        return (
            f"{entry['candidate']:.1f} dB SQNR{' (emulated)' if entry.get('emulated') else ''} of the worst output (plain or mean-free, whichever is lower), "
            f"{entry['limit_text']}, {entry['samples']} samples: {entry['verdict']}{more}"
        )
    scale, unit = (100, " pt") if entry["metric"].startswith("top") else (1, "")
    low, high = (value * scale for value in entry["ci95"])
    of = "" if entry["labels"] else " (agreement with the float model)"
    of += " (emulated)" if entry.get("emulated") else ""
    more = f", needs about {entry['more_samples']} more samples" if entry["more_samples"] else ""
    return (
        f"{entry['metric']}{of} {entry['reference'] * scale:.4g} → {entry['candidate'] * scale:.4g}, "
        f"drop {entry['drop'] * scale:.3g}{unit} (95 %: {low:.3g} … {high:.3g}), limit "
        f"{entry['limit'] * scale:.3g}{unit}, {entry['samples']} samples: {entry['verdict']}{more}"
    )


def _latency_text(latency: dict[str, Any]) -> str:
    compiled = latency["compiled"]
    if compiled is None:
        limit = f"; limit p90 {latency['limit_p90_ms']:g} ms: pending" if latency["limit_p90_ms"] is not None else ""
        return f"not measured ({latency['compiled_reason']}){limit}"
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
    where = f"{gate['from']} → {gate['to']} failed ({gate['name']}): "
    if gate["drop"] is not None:
        return f"{where}drop {gate['drop']:.3g}, {gate['sqnr_db']:.1f} dB SQNR"
    if gate["name"] == "export":
        return f"{where}{gate['sqnr_db']:.1f} dB SQNR"
    return f"{where}{gate['worst_sqnr_db']:.1f} dB SQNR (plain or mean-free, whichever is lower)"


def _not_judged(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Outputs that the metric does not look at, with how close they are to the float model's."""
    judged = {entry["output"] for entry in report["accuracy"]}
    if None in judged:  # sqnr looks at all
        return []
    others = [item for item in report.get("fidelity", ()) if item["output"] not in judged]
    return [("not judged", ", ".join(f"{o['output']} ({_worst_db(o):.1f} dB SQNR)" for o in others))] if others else []


def _worst_db(item: dict[str, Any]) -> float:
    centered = item["sqnr_centered_db"]
    return float(item["sqnr_db"] if centered is None else min(item["sqnr_db"], centered))
