"""``edgefuse calibration``: sets of samples out of recordings, and what is in a set or a recording."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgefuse.bundle_writer import ZIP
from edgefuse.calibration.build import build_set
from edgefuse.calibration.examine import examine
from edgefuse.calibration.instants import parse_anchor
from edgefuse.calibration.lint import ERROR
from edgefuse.calibration.paths import find_recordings
from edgefuse.calibration.recorded import GOLDEN, Order, Recorded
from edgefuse.calibration.show import read_built, recipe_inputs, show
from edgefuse.cli.place import page_writer
from edgefuse.errors import CalibrationError, InputError, UsageError
from edgefuse.progress import Steps
from edgefuse.recipe import Recipe, find_recipe, read_recipe, require_recipe
from edgefuse.report.calibration_text import counted_findings, set_rows, topic_rows, topics_text
from edgefuse.spec import ModelSpec

LONG_TOPIC, LONG_TYPE = 40, 18
"""Characters, beyond which a topic's name, and a type's, is broken where the terminal is narrow."""

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.group("calibration")
def command() -> None:
    """Make calibration sets out of recordings, and look into sets and recordings."""


@command.command("build")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to write the set to.")
@click.option("--recipe", "recipe_name", help="Recipe with [inputs] and [recording] [default: recipe.toml here].")
@click.option("--samples", type=click.IntRange(1), help="Samples that calibrate [default: the recipe's, or 256].")
@click.option("--golden", type=click.IntRange(1), help=f"Held-out samples [default: the recipe's, or {GOLDEN}].")
@click.option("--seed", type=click.IntRange(0), help="Another choice of samples [default: the recipe's, or 0].")
@click.option(
    "--anchor",
    help="Take samples at the deliveries of this stream (or of label), or at a rate: 20hz. [default: the fastest "
    "stream of whole deliveries]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the set's report as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress lines.")
def build(
    recordings: tuple[Path, ...],
    output: Path,
    recipe_name: str | None,
    samples: int | None,
    golden: int | None,
    seed: int | None,
    anchor: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make a calibration set out of RECORDINGS, files or folders of them.

    Of each stream a sample has the newest data that were acquired by its instant, as the robot would. Stretches of
    time calibrate and are held out in turns. See docs/calibration.md.
    """
    recipe = _recipe(recipe_name)
    if output.suffix == ZIP:
        raise UsageError("is a .zip; a set is a folder", where=f"-o {output}")
    wanted = recipe.calibration
    order = Order(
        ModelSpec(recipe_inputs(recipe), recipe.outputs),
        Recorded(recipe.recording, recipe.streams, recipe.state, recipe.folder),
        recipe.accuracy.label,
        samples or wanted.samples,
        golden or wanted.golden or GOLDEN,
        wanted.seed if seed is None else seed,
        parse_anchor(anchor) if anchor is not None else None,
    )
    paths = find_recordings(recordings)
    if not paths:
        raise CalibrationError("holds samples and no recording", where=str(recordings[0]))
    steps = Steps(quiet=quiet)
    report = build_set(paths, order, output, steps)
    with steps.step("Looking at the set"):
        examined = examine(read_built(output, order), recipe.state)
    found = {"kind": "set", "name": output.name, **examined, "rule": report["split"], "built": report}
    if as_json:
        click.echo(json.dumps({**report, "findings": examined["findings"]}, indent=2))
    else:
        _print(found, output)
    return _exit_code(found)


@command.command("show")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--recipe", "recipe_name", help="Recipe whose inputs, labels and [recording] to read it by.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a page for people to this .html file.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON on stdout.")
def show_command(path: Path, recipe_name: str | None, output: Path | None, as_json: bool) -> int:
    """Show what is in PATH: a set of samples (a folder or an .npz), or a recording.

    Ranges, histograms, balance, duplicates, whether more samples would widen the ranges, and what is suspicious. Of a
    recording, with --recipe, what its samples would be; without, its topics. Exit code 4 where there are errors.
    """
    write = page_writer(output, "edgefuse.report.calibration")
    found = show(path, _named_recipe(recipe_name) if recipe_name is not None else None)
    if write is not None:
        write(found)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found, output)
    return _exit_code(found)


def _recipe(name: str | None) -> Recipe:
    if name is not None:
        return _named_recipe(name)
    path = find_recipe(".")
    if path is None:
        raise UsageError("is missing, and there is no recipe.toml here", where="--recipe", hint="See: edgefuse recipes")
    return read_recipe(path)


def _named_recipe(name: str) -> Recipe:
    return read_recipe(require_recipe(name))


def _exit_code(found: Mapping[str, Any]) -> int:
    errors = any(item["level"] == ERROR for item in found.get("findings", ()))
    return InputError.exit_code if errors else 0


def _print(found: Mapping[str, Any], written: Path | None) -> None:
    console = Console(highlight=False, emoji=False)
    if found["kind"] == "topics":
        _print_topics(console, found)
    else:
        _print_set(console, found)
    if written is not None:
        console.print(f"[dim]written[/]  {escape(str(written))}", soft_wrap=True)


def _print_topics(console: Console, found: Mapping[str, Any]) -> None:
    console.print(escape(topics_text(found)))
    table = Table(box=None, header_style="dim")
    rows = topic_rows(found)
    widths = [max(map(len, column)) for column in zip(*rows)]
    narrow = sum(widths) + 2 * len(widths) > console.width
    whole = ("count", "rate", *(["topic"] if widths and widths[0] <= LONG_TOPIC else []))
    for heading in ("topic", "type", "count", "rate", "gaps"):
        table.add_column(heading, overflow="fold", no_wrap=heading in whole)
    for topic, kind, *others in rows:
        table.add_row(*map(escape, (topic, _in_two_lines(kind) if narrow else kind, *others)))
    console.print(table)


def _in_two_lines(kind: str) -> str:
    """A long type behind its package, rather than within a word."""
    return re.sub(r"[/.](?=[^/.]*$)", r"\g<0>\n", kind) if len(kind) > LONG_TYPE else kind


def _print_set(console: Console, found: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", max_width=14, overflow="fold")
    table.add_column()
    for name, text in set_rows(found):
        table.add_row(escape(name), escape(text))
    table.add_row("findings", counted_findings(found["findings"]))
    for item in found["findings"]:
        hint = f" [dim]{escape(item['hint'])}[/]" if item["hint"] else ""
        named = f"[bold]{escape(item['input'])}[/]: " if item["input"] else ""
        table.add_row(f"[{COLOURS[item['level']]}]{item['level']}[/]", f"{named}{escape(item['text'])}.{hint}")
    console.print(table)
