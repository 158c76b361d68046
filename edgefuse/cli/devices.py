"""``edgefuse devices``: the targets."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.device import device_names, load_device


@click.command("devices")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the devices that --target knows, or show the one called NAME."""
    found = [load_device(name) if name else None] if name else [load_device(item) for item in device_names()]
    devices = [device for device in found if device is not None]
    if as_json:
        click.echo(json.dumps([asdict(device) for device in devices], indent=2))
        return
    table = Table("target", "backend", "what", box=None, header_style="dim")
    for device in devices:
        table.add_row(device.name, device.backend, escape(device.description))
    Console(highlight=False).print(table)
    for device in devices if name else []:
        click.echo(f"threads    {device.threads or 'all that the process may use'}")
        for source in device.sources:
            click.echo(f"source     {source}")
