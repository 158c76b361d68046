"""The model's branches and trunk in a terminal, for ``edgefuse inspect``. Imports nothing of the workstation's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.report.branches import Part, Tensor, read_parts, split_text
from edgefuse.report.units import count_text, percent, significant

NAME_WIDTH = 26
"""Longer names are folded, so that a table of all columns fits in 80."""


def print_branches(console: Console, found: Mapping[str, Any]) -> None:
    """Print the ``parts``, ``boundary`` and ``cut`` of *found*: each part with the tensors that it hands on below it."""
    parts = read_parts(found)
    if not parts:
        return
    cells = [_cells(part) for part in parts]
    columns = [name for name in cells[0] if any(row[name] for row in cells)]
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in columns}
    widths["part"] = min(widths["part"], NAME_WIDTH)
    console.print()
    console.print(_line({name: name for name in columns}, widths, "dim"))
    for part, row in zip(parts, cells):
        console.print(_line({name: row[name] for name in columns}, widths))
        for tensor in part.tensors:
            console.print(_tensor_line(tensor, last=tensor is part.tensors[-1]))
    if found.get("cut"):
        console.print(f"[dim]part by part:[/] {escape(split_text(found['cut']))}")


def _cells(part: Part) -> dict[str, str]:
    share = "" if part.time_share is None else percent(part.time_share)
    return {
        "part": part.name,
        "operations": f"{part.operations} {percent(part.operations_share):>5}",
        "weights": part.weights,
        "MACs": "" if part.int8 or part.precision or part.macs is None else count_text(part.macs),
        "INT8": part.int8,
        "p50": "not measured" if part.time_ms is None else f"{significant(part.time_ms)} ms {share:>5}".rstrip(),
        "precision": part.precision,
    }


def _line(cells: Mapping[str, str], widths: Mapping[str, int], style: str | None = None) -> Table:
    """One row, as a table of its own: the rows of tensors between them have other columns."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, width in widths.items():
        right = name in ("operations", "weights", "MACs", "p50")
        table.add_column(width=width, justify="right" if right else "left", overflow="fold", style=style)
    table.add_row(*(escape(cells[name]) for name in widths))
    return table


def _tensor_line(tensor: Tensor, last: bool) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold", ratio=1)
    readers = f" [dim]to {escape(', '.join(tensor.readers))}[/]" if tensor.readers else ""
    form = f"{tensor.form.replace('×', 'x')}, {tensor.size}"
    table.add_row(" └→" if last else " ├→", form, f"{escape(tensor.name)}{readers}")
    return table
