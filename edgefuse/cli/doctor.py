"""``edgefuse doctor``: what is here, what is missing, and the cure."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.cli.device import device_option
from edgefuse.doctor import Finding, can_run, examine

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
        table = Table(box=None, show_header=False)
        for item in findings:
            cure = f"\n{item.cure}" if item.cure and not item.ok else ""
            table.add_row(item.name, MARKS[item.ok], escape(item.text + cure))  # 'edgefuse[compile]' is no markup
        Console(highlight=False).print(table)
    return 0 if can_run(findings) else 5


def _examine_there(device: str) -> list[Finding]:
    from edgefuse.remote.doctor import examine_device

    return examine_device(device)
