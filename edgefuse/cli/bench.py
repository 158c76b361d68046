"""``edgefuse bench``: a bundle against another one, or against its own history."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.bench import Options, bench_bundles
from edgefuse.bench.compare import whole_turns
from edgefuse.bench.history import History, append, damage_text, history_line, lines_of, read_history
from edgefuse.bench.recorded import judge_recorded
from edgefuse.cli.device import device_option
from edgefuse.cli.place import page_writer
from edgefuse.errors import UsageError
from edgefuse.latency import MIN_RUNS
from edgefuse.progress import Steps
from edgefuse.recipe import parse_seconds
from edgefuse.report.bench_text import bench_rows, history_rows, verdict_text
from edgefuse.verdict import Verdict

STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


@click.command("bench")
@click.argument("a", required=False, type=click.Path(path_type=Path))
@click.argument("b", required=False, type=click.Path(path_type=Path))
@device_option
@click.option("--runs", type=click.IntRange(min=MIN_RUNS), help="Calls of each, in place of --time-budget.")
@click.option("--time-budget", help='How long to measure, all together, such as "1min".  [default: 10s]')
@click.option("--max-slowdown", default="5%", show_default=True, help="How much slower B's p90 may be.")
@click.option("--history", type=click.Path(path_type=Path), help="Add the result to this .jsonl file.")
@click.option("--power-mode", help="Set this power mode (nvpmodel) or CPU governor while measuring, then set it back.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a page on it to this .html file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress lines.")
def command(
    a: Path | None,
    b: Path | None,
    device: str | None,
    runs: int | None,
    time_budget: str | None,
    max_slowdown: str,
    history: Path | None,
    power_mode: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Is bundle B slower, or less accurate, than bundle A? Or A than its own --history?

    Both are called in turns, in random order, with A once more as a canary: where A differs from itself, the result is
    inconclusive (docs/bench.md). With --history alone, shows what was recorded.
    """
    write = page_writer(output, "edgefuse.report.history")
    if history is not None:
        _check_history(history)
    if a is None:
        return _show_history(history, output, write, as_json)
    if b is None and history is None:
        raise UsageError(
            "there is nothing to compare with",
            where=str(a),
            hint=f"Name a second bundle, or a history: edgefuse bench {a} --history bench.jsonl",
        )
    known = read_history(history) if history is not None else History()
    options = Options(
        runs=whole_turns(runs) if runs else None, max_slowdown=_share(max_slowdown), power_mode=power_mode
    )
    if time_budget is not None:
        if runs is not None:
            raise UsageError("cannot be given together", where="--runs, --time-budget", hint="Give one of them.")
        options = Options(parse_seconds(time_budget), None, options.max_slowdown, power_mode)
    report = _measured(a, b, device, options, Steps(quiet=quiet))
    if b is None:
        report = judge_recorded(report, lines_of(known, report["candidate"]["name"], report["device_class"]))
    known = _recorded(history, known, report)
    if write is not None:
        write(_page(report, history, known))
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report, history, known, output)
    return Verdict(report["verdict"]).exit_code


def _measured(a: Path, b: Path | None, device: str | None, options: Options, steps: Steps) -> dict[str, Any]:
    candidate, baseline = (a, None) if b is None else (b, a)
    if device is None:
        return bench_bundles(candidate, baseline, options, steps)
    from edgefuse.remote import connect, verbs

    with connect(device, steps=steps) as there:
        return verbs.bench_bundles(there, candidate, baseline, asdict(options), steps)


def _share(text: str) -> float:
    match = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,3})?)\s*%\s*", text)
    if not match or float(match[1]) == 0:
        raise UsageError(f"{text!r} is no share above zero", where="--max-slowdown", hint='Write "5%".')
    return float(match[1]) / 100


def _check_history(path: Path) -> None:
    """Before minutes of measuring, whether the line can be written at their end."""
    where = f"--history {path}"
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError("is a folder" if path.is_dir() else f"there is no such folder: {path.parent}", where=where)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError("cannot write there", where=where)


def _recorded(path: Path | None, known: History, report: dict[str, Any]) -> History:
    """The history with this bench, which is on disk when this returns."""
    if path is None:
        return known
    line = history_line(report, time.time())
    append(path, line)
    return History((*known.lines, line), known.damaged)


def _page(report: dict[str, Any] | None, path: Path | None, known: History) -> dict[str, Any]:
    damage = damage_text(known, path) if path is not None else None
    return {"bench": report, "path": str(path) if path else None, "lines": list(known.lines), "damage": damage}


def _show_history(
    path: Path | None, output: Path | None, write: Callable[[dict[str, Any]], None] | None, as_json: bool
) -> int:
    """What was recorded, in the terminal and on a page. It is no gate: the exit code is 0."""
    if path is None or not path.exists():
        what = "there is no such file" if path else "no bundle is given"
        raise UsageError(what, where=str(path or ""), hint="Write: edgefuse bench A.edgefuse B.edgefuse")
    known = read_history(path)
    if write is not None:
        write(_page(None, path, known))
    if as_json:
        click.echo(json.dumps({"lines": known.lines, "damaged": known.damaged}, indent=2))
        return 0
    console = Console(highlight=False, emoji=False)
    _print_rows(console, history_rows(known.lines))
    _print_places(console, path, known, output)
    return 0


def _print(report: dict[str, Any], path: Path | None, known: History, page: Path | None) -> None:
    console = Console(highlight=False, emoji=False)
    verdict = report["verdict"]
    told = f"[{STYLES[verdict]}]{verdict.upper()}[/]: {escape(verdict_text(report))}"
    _print_rows(console, bench_rows(report), told)
    _print_places(console, path, known, page)


def _print_rows(console: Console, rows: list[tuple[str, str]], verdict: str | None = None) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, max_width=20)
    table.add_column()
    if verdict is not None:
        table.add_row("verdict", verdict)
    for name, text in rows:
        table.add_row(escape(name), escape(text))
    console.print(table)


def _print_places(console: Console, path: Path | None, known: History, page: Path | None) -> None:
    damage = damage_text(known, path) if path is not None else None
    if damage is not None:
        console.print(f"[yellow]damaged[/]    {escape(damage)}")
    if path is not None:
        console.print(f"[dim]history[/]    {escape(str(path))}, {len(known.lines)} recorded", soft_wrap=True)
    if page is not None:
        console.print(f"[dim]report[/]     {escape(str(page))}", soft_wrap=True)
