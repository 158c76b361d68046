"""What ``edgefuse check --robustness`` found, in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.report.robustness_text import (
    SEVERITIES,
    Cell,
    cell_figure,
    cell_unit,
    cell_words,
    distance_figure,
    has_metric,
    heat_rows,
    summary_rows,
)

STYLES = {"certain": "bold red", "fail": "red", "inconclusive": "yellow", "pass": "", "": "dim", "error": "dim"}
MARKS = {"certain": "!!", "fail": "! ", "inconclusive": "? ", "pass": "  ", "": "~ ", "error": "  "}
NAME_WIDTH = 26


def print_robustness(found: Mapping[str, Any], page: Path | None = None) -> None:
    """Print the report's ``robustness`` to stdout: sentences, then one row for each corruption."""
    console = Console(highlight=False, emoji=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, width=10)
    table.add_column()
    for name, text in summary_rows(found):
        table.add_row(escape(name), escape(text))
    if page is not None:
        table.add_row("page", escape(str(page)))
    console.print(table)
    console.print()
    console.print(_heat_map(found))
    if has_metric(found):
        console.print("[dim]!! beyond the limit   ! so by itself   ? cannot be told   ~ not judged[/]")
        console.print(f"[dim]{escape(cell_words(found))}[/]")


def _heat_map(found: Mapping[str, Any]) -> Table:
    """Severities 1 to 3 of what float loses and of how much more compiled loses; without a metric, of the SQNR."""
    metric, blocks = has_metric(found), 2 if has_metric(found) else 1
    _, unit = cell_unit(found)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("severity", width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    names = [f"float loses{', ' * bool(unit)}{unit}", "compiled loses more"] if metric else ["SQNR of compiled, dB"]
    for block in range(blocks):
        for severity in SEVERITIES:
            table.add_column(str(severity), justify="right", width=8 if block or not metric else 7, no_wrap=True)
    table.title, table.title_justify, table.title_style = _title(names), "left", "dim"
    stream = None
    for row in heat_rows(found):
        if row.stream != stream:
            stream = row.stream
            table.add_row(f"[bold]{escape(stream)}[/]")
        cells = [_drop(cell) for cell in row.cells] if metric else []
        table.add_row(f"  {escape(row.name)}", *cells, *((_extra if metric else _distance)(cell) for cell in row.cells))
    return table


def _title(names: list[str]) -> str:
    blocks = [f"{name:^26}" for name in names]
    return " " * NAME_WIDTH + "".join(blocks).rstrip()


def _drop(cell: Cell | None) -> str:
    return "" if cell is None or cell.drop is None else cell_figure(cell.drop)


def _distance(cell: Cell | None) -> str:
    return "" if cell is None else "[dim]error[/]" if cell.extra is None else distance_figure(cell.extra)


def _extra(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.extra is None:
        return "[dim]error[/]" if cell.mark == "error" else "[dim]–[/]"
    style, text = STYLES[cell.mark], f"{cell_figure(cell.extra)}{MARKS[cell.mark]}"
    return f"[{style}]{text}[/]" if style else text
