"""``edgefuse recipes``: what ships with EdgeFuse."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.recipe import read_recipe
from edgefuse.resources import shipped_names


@click.command("recipes")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(as_json: bool) -> None:
    """List the recipes that ship with EdgeFuse; compile one with: edgefuse compile NAME."""
    found = {name: read_recipe(path) for name, path in shipped_names("recipes", "*/recipe.toml").items()}
    if as_json:
        click.echo(
            json.dumps({name: [spec.to_json() for spec in recipe.inputs] for name, recipe in found.items()}, indent=2)
        )
        return
    table = Table("recipe", "inputs", "metric", "limit", box=None, header_style="dim")
    for name, recipe in found.items():
        inputs = ", ".join(f"{spec.name} {spec.shape_text}" for spec in recipe.inputs)
        table.add_row(name, escape(inputs), recipe.accuracy.metric, f"{recipe.accuracy.max_drop} drop")
    Console(highlight=False).print(table)
