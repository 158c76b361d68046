"""``edgefuse check --blame``: the part of the model where the error starts, and its rows in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.bundle import Bundle
from edgefuse.check import Judge
from edgefuse.errors import MissingToolError
from edgefuse.progress import Steps
from edgefuse.report.units import decibels_text, drop_text

if TYPE_CHECKING:
    from edgefuse.remote import RemoteDevice


def find_blame(bundle: Bundle, steps: Steps, judge: Judge, device: RemoteDevice | None = None) -> dict[str, Any]:
    """The report's ``blame``; the parts run here, or on *device*. Raises as
    :func:`edgefuse.blame.find_parts_at_fault`."""
    try:
        from edgefuse.blame import find_parts_at_fault, run_here, run_on
    except ImportError as error:
        raise MissingToolError(
            f"--blame cuts the model's graph here, which needs {error.name}",
            hint="Ask from a workstation: edgefuse check BUNDLE --blame --device ssh://USER@ROBOT",
        ) from None
    with steps.step("Looking for the part at fault") as step:
        run = run_here(bundle) if device is None else run_on(device, bundle, device.put_bundle(bundle.shown))
        found = find_parts_at_fault(bundle, run, judge=judge)
        step.note(f"{len(found.rows)} parts, {found.whole.samples} samples")
    return found.to_json()


def print_blame(found: Mapping[str, Any]) -> None:
    """One sentence, and a row for each part."""
    console = Console(highlight=False, emoji=False)
    said = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    said.add_column(style="dim", no_wrap=True, width=10)
    said.add_column()
    for name, text in [("blame", found["text"]), *(("note", note) for note in found["notes"])]:
        said.add_row(name, escape(text))
    console.print(said)
    console.print()
    console.print(_rows(found))


def _rows(found: Mapping[str, Any]) -> Table:
    compiled = any(row["expected_db"] is not None for row in found["rows"])
    drops = any(row["drop"] is not None for row in found["rows"])
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("part", overflow="fold")
    for name in ["what it makes", "alone", "model.onnx", *(["compiled"] * compiled), *(["drop"] * drops)]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in found["rows"]:
        cells = [row["sqnr_db"], row["alone_db"], row["graph_db"] if row["basis"] == "float" else None]
        cells += [row["expected_db"]] if compiled else []
        texts = ["–" if value is None else decibels_text(value) for value in cells]
        if drops:
            texts.append("–" if row["drop"] is None else drop_text(row["drop"], found["metric"]))
        table.add_row(escape(row["name"]), *texts, f"[red]{row['fault']}[/]" if row["fault"] else "")
    return table
