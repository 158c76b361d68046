"""``edgefuse inspect``: what is in a bundle, or in a model file, and which branches it has."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.bundle import Bundle, open_bundle
from edgefuse.cli.branches_table import print_branches
from edgefuse.errors import EdgeFuseError
from edgefuse.manifest import MANIFEST
from edgefuse.parts import Partition
from edgefuse.recipe import Recipe, find_recipe, read_recipe, require_recipe
from edgefuse.report.branches import unmeasured
from edgefuse.spec import ModelSpec
from edgefuse.stream.policy import StreamPolicy

if TYPE_CHECKING:
    from edgefuse.export import Source


@click.command("inspect")
@click.argument("path")
@click.option("--recipe", help="The recipe that describes the inputs, for files that do not do so themselves.")
@click.option("--trust", is_flag=True, help="Load a pickled module, which runs its author's code.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(path: str, recipe: str | None, trust: bool, as_json: bool) -> None:
    """Show the inputs, outputs and plan of the bundle or model file at PATH."""
    if _is_bundle(Path(path)):
        with open_bundle(Path(path)) as bundle:
            facts = _bundle_facts(bundle)
    else:
        facts = _model_facts(path, recipe, trust)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)


PARTS = ("parts", "boundary", "cut")
"""The facts that :func:`print_branches` prints."""

PORTABLE = "none yet: portable; compile it on its device with edgefuse compile"


def _is_bundle(path: Path) -> bool:
    if path.is_dir():
        return not (path / "recipe.toml").is_file()
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def _bundle_facts(bundle: Bundle) -> dict[str, Any]:
    manifest, made = bundle.manifest, bundle.manifest["artifact"]
    return {
        "name": manifest["name"],
        "kind": "bundle",
        "verdict": manifest["verdict"],
        "precision": manifest["plan"]["precision"],
        "threads": manifest["plan"]["threads"],
        "target": manifest["target"]["name"],
        "backend": f"{made['backend']} {made['version']} on {made['arch']}" if made else PORTABLE,
        "graphs": ", ".join(manifest["graphs"]),
        "size": f"{sum(file['size_bytes'] for file in manifest['files'].values()) / 1e6:.2f} MB in "
        f"{len(manifest['files'])} files, every hash right",
        "streams": _policies(manifest["streams"]),
        "model": manifest["model"],
        **_planned(manifest),
    }


def _policies(streams: dict[str, dict[str, Any]]) -> str:
    """What differs from the defaults."""
    usual = StreamPolicy().to_json()
    told = {
        name: ", ".join(f"{key} {value}" for key, value in keys.items() if value != usual[key])
        for name, keys in streams.items()
    }
    return "; ".join(f"{name}: {text}" for name, text in told.items() if text) or "as they come"


def _planned(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the plan says of the parts; where it measured none, those of the graph."""
    plan = manifest["plan"]
    if not any("kind" in row for row in plan["parts"]):
        return unmeasured(Partition.from_json(manifest["partition"]), "they were not measured when it was compiled")
    return {key: plan[key] for key in PARTS if key in plan}


def _model_facts(path: str, recipe_name: str | None, trust: bool) -> dict[str, Any]:
    """Loads the model: needs the compile extra."""
    from edgefuse.export import load_source

    found = require_recipe(recipe_name) if recipe_name is not None else find_recipe(path)
    recipe = read_recipe(found) if found else Recipe(Path(path).stem, Path(path).resolve().parent)
    file = (recipe.model.path or recipe.model.weights) if found and not recipe_name else None
    source = load_source(file or Path(path), recipe, trust)
    return {
        "name": recipe.name,
        "kind": source.kind,
        **({"notes": "; ".join(source.notes)} if source.notes else {}),
        "model": source.spec.to_json(),
        **_branches(source),
    }


def _branches(source: Source) -> dict[str, Any]:
    """The parts that the model would be cut into; of a model that cannot be, the reason."""
    from edgefuse.compile.parts import find_parts

    with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder:
        path = Path(folder, "model.onnx")
        try:
            source.export(path)
            partition = find_parts(path, source.spec, {}).partition
        except Exception as error:  # whatever it is, the inputs and outputs are worth showing
            what = error.what if isinstance(error, EdgeFuseError) else str(error) or "no reason given"
            return {"parts": [], "boundary": [], "cut": None, "no_parts": f"{type(error).__name__}: {what}"}
    return unmeasured(partition, "inspect measures nothing")


def _print(facts: dict[str, Any]) -> None:
    console, spec = Console(highlight=False, emoji=False), ModelSpec.from_json(facts["model"])
    for key, value in facts.items():
        if key not in ("model", "no_parts", *PARTS):
            console.print(f"[dim]{key:<10}[/] {escape(str(value))}", soft_wrap=True)
    table = Table("input", "shape", "dtype", "modality", "stream", "rate", box=None, header_style="dim")
    for tensor in spec.inputs:
        rate = f"{tensor.rate_hz:g} Hz" if tensor.rate_hz else "-"
        table.add_row(
            escape(tensor.name), tensor.shape_text, tensor.dtype, tensor.modality or "-", escape(tensor.stream), rate
        )
    console.print(table)
    console.print(f"[dim]outputs[/]    {escape(', '.join(spec.outputs))}")
    print_branches(console, facts)
    if "no_parts" in facts:
        console.print(f"[dim]branches[/]   not found: {escape(facts['no_parts'])}")
