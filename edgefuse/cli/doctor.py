"""``edgefuse doctor``: what is here, what is missing, and the cure."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from edgefuse.cli.device import device_option
from edgefuse.doctor import Finding, can_run, examine

LONGEST = 56
"""A command that is not broken in a terminal of 80 columns."""

MARKS = {True: "[green]ok[/]", False: "[red]missing[/]", None: ""}


@click.command("doctor")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(device: str | None, as_json: bool) -> int:
    """Say what is installed on this machine or another, what is missing, and the command that cures it.

    Exit code 5 when a bundle cannot run there.
    """
    findings = examine() if device is None else _examine_there(device)
    if as_json:
        click.echo(json.dumps([asdict(item) for item in findings], indent=2))
    else:
        _print(findings)
    return 0 if can_run(findings) else 5


def _print(findings: list[Finding]) -> None:
    """Short cures in the table; commands to copy below it, never broken."""
    console, table, below = Console(highlight=False), Table("", "", Column(overflow="fold"), box=None), []
    table.show_header = False
    for item in findings:
        cure = item.cure if not item.ok else ""
        if "\n" in cure or (item.ok is False and len(cure) > LONGEST):
            below.append(item)
        text = f"{item.text}\n{cure}" if cure and item not in below else item.text
        table.add_row(item.name, MARKS[item.ok], escape(text))  # 'edgefuse[compile]' is no markup
    console.print(table)
    for item in below:
        console.print(f"\n[dim]{escape(item.name)}:[/]")
        for line in item.cure.splitlines():
            console.print(f"  {escape(line)}", soft_wrap=True)


def _examine_there(device: str) -> list[Finding]:
    from edgefuse.remote.doctor import examine_device

    return examine_device(device)
