"""``edgefuse check``: a bundle, judged on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgefuse.bundle import open_bundle
from edgefuse.progress import Steps
from edgefuse.recheck import check_bundle
from edgefuse.recipe import parse_limit, parse_milliseconds, require_recipe
from edgefuse.report.text import print_report
from edgefuse.verdict import Verdict


@click.command("check")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--max-drop", help="Another limit than the bundle's own, such as 1% or 0.5pt.")
@click.option("--max-latency", help='Another limit on p90 of one call, such as "5ms".')
@click.option("--recipe", help="The recipe whose custom metric to use.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress lines.")
def command(
    bundle: Path, max_drop: str | None, max_latency: str | None, recipe: str | None, as_json: bool, quiet: bool
) -> int:
    """Judge BUNDLE again on this machine: every hash, accuracy on its golden samples, latency."""
    limit = parse_limit(max_drop) if max_drop is not None else None
    p90_ms = parse_milliseconds(max_latency) if max_latency is not None else None
    folder = require_recipe(recipe) if recipe is not None else None
    with open_bundle(bundle) as opened:
        report = check_bundle(
            opened,
            Steps(quiet=quiet),
            max_drop=limit,
            p90_ms=p90_ms,
            metrics_folder=folder.resolve().parent if folder else None,
        )
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        print_report(report)
    return Verdict(report["verdict"]).exit_code
