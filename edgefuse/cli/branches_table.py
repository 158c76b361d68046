"""The model's branches and trunk in a terminal, for ``edgefuse inspect``. Imports nothing of the workstation's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.report.branches import Part, Tensor, read_parts, split_text
from edgefuse.report.units import count_text, percent, significant

GAP = 2
NARROWEST = 12
"""Columns that a part's name gets at least; longer names are folded."""


def print_branches(console: Console, found: Mapping[str, Any]) -> None:
    """Print the ``parts``, ``boundary`` and ``cut`` of *found*: each part, and below it what it hands on."""
    parts = read_parts(found)
    if not parts:
        return
    cells = [_cells(part) for part in parts]
    columns = [name for name in cells[0] if any(row[name] for row in cells)]
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in columns}
    left = console.width - sum(widths[name] + GAP for name in columns[1:]) - GAP
    widths["part"] = min(widths["part"], max(left, NARROWEST))
    console.print()
    console.print(_line({name: name for name in columns}, widths, "dim"))
    form_width = max((len(_form(tensor)) for part in parts for tensor in part.tensors), default=0)
    for part, row in zip(parts, cells):
        console.print(_line(row, widths))
        for tensor in part.tensors:
            console.print(_tensor_line(tensor, form_width, last=tensor is part.tensors[-1]))
    if found.get("cut"):
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row("[dim]split     [/]", escape(split_text(found["cut"])))
        console.print(grid)


def _cells(part: Part) -> dict[str, str]:
    share = "" if part.time_share is None else percent(part.time_share)
    return {
        "part": part.name,
        "operations": f"{part.operations} {percent(part.operations_share):>5}",
        "weights": part.weights,
        "MACs": "" if part.int8 or part.precision or part.macs is None else count_text(part.macs),
        "INT8": part.int8.replace(" of ", "/"),
        "p50": "not measured" if part.time_ms is None else f"{significant(part.time_ms)} ms {share:>5}".rstrip(),
        "precision": part.precision,
    }


def _line(cells: Mapping[str, str], widths: Mapping[str, int], style: str | None = None) -> Table:
    """One row, as a table of its own: the rows of tensors between them have other columns."""
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for name, width in widths.items():
        right = name in ("operations", "weights", "MACs", "p50")
        table.add_column(width=width, justify="right" if right else "left", overflow="fold", style=style)
    table.add_row(*(escape(cells[name]) for name in widths))
    return table


def _tensor_line(tensor: Tensor, form_width: int, last: bool) -> Table:
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(width=3, style="dim")
    table.add_column(width=form_width, style="dim")
    table.add_column(overflow="fold")
    readers = f" [dim]to {escape(', '.join(tensor.readers))}[/]" if tensor.readers else ""
    table.add_row(" └→" if last else " ├→", _form(tensor), f"{escape(tensor.name)}{readers}")
    return table


def _form(tensor: Tensor) -> str:
    return f"{tensor.form.replace('×', 'x')}, {tensor.size}"
