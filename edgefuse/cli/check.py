"""``edgefuse check``: a bundle, judged on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefuse.bundle import Bundle, open_bundle
from edgefuse.cli.blame import find_blame, print_blame
from edgefuse.cli.device import device_option
from edgefuse.cli.place import page_writer
from edgefuse.cli.power_mode import in_power_mode, power_mode_option
from edgefuse.errors import UsageError
from edgefuse.progress import Steps
from edgefuse.recheck import check_bundle, stored_judge
from edgefuse.recipe import parse_limit, parse_milliseconds, require_recipe
from edgefuse.report.text import print_report
from edgefuse.robustness.cases import SAMPLES, Options
from edgefuse.verdict import Verdict

if TYPE_CHECKING:
    from edgefuse.remote import RemoteDevice

ROBUSTNESS_ONLY = ("samples", "seed", "modality", "severity", "output")


@click.command("check")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--max-drop", help="Another limit than the bundle's own, such as 1% or 0.5pt.")
@click.option("--max-latency", help='Another limit on p90 of one call, such as "5ms".')
@click.option("--recipe", help="The recipe whose custom metric to use.")
@click.option(
    "--robustness", is_flag=True, help="Also with corrupted, old and absent sensors: does it lose more than float?"
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=SAMPLES,
    show_default=True,
    help="Golden samples of each robustness case.",
)
@click.option("--modality", multiple=True, help="Corrupt this modality or stream alone. Repeatable.")
@click.option("--severity", type=click.IntRange(1, 3), multiple=True, help="Only this severity. Repeatable.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what corruptions draw.")
@click.option("--blame", is_flag=True, help="Also which part of the model the error starts in.")
@device_option
@power_mode_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a page on robustness to this .html file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress lines.")
@click.pass_context
def command(
    context: click.Context,
    bundle: Path,
    max_drop: str | None,
    max_latency: str | None,
    recipe: str | None,
    robustness: bool,
    samples: int,
    modality: tuple[str, ...],
    severity: tuple[int, ...],
    seed: int,
    blame: bool,
    device: str | None,
    power_mode: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Judge BUNDLE again, on this machine or another: every hash, accuracy on its golden samples, latency.

    With --robustness also whether it is more fragile than the float model (docs/robustness.md); with --blame also in
    which branch, or in the trunk, its error starts (docs/blame.md).
    """
    if not robustness:
        _refuse_pointless(context)
    write = page_writer(output, "edgefuse.report.robustness")
    options = Options(samples, modality, tuple(sorted(set(severity))) or (1, 2, 3), seed)
    limit = parse_limit(max_drop) if max_drop is not None else None
    p90_ms = parse_milliseconds(max_latency) if max_latency is not None else None
    folder = require_recipe(recipe) if recipe is not None else None
    asked: dict[str, Any] = {
        "max_drop": limit,
        "p90_ms": p90_ms,
        "metrics_folder": folder.resolve().parent if folder else None,
        "robustness": options if robustness else None,
    }
    steps = Steps(quiet=quiet)
    if device is None:
        with open_bundle(bundle) as opened, in_power_mode(power_mode):
            report = check_bundle(opened, steps, **asked)
            if blame:
                _add_blame(report, opened, steps, asked)
    else:
        from edgefuse.remote import connect, verbs

        with connect(device, steps=steps) as there, in_power_mode(power_mode, there):
            report = verbs.check_bundle(there, bundle, steps, **asked)
            if blame:
                with open_bundle(bundle) as opened:
                    _add_blame(report, opened, steps, asked, there)
    if write is not None:
        write(report)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report, output)
    return Verdict(report["verdict"]).exit_code


def _add_blame(
    report: dict[str, Any], bundle: Bundle, steps: Steps, asked: dict[str, Any], device: RemoteDevice | None = None
) -> None:
    judge = stored_judge(bundle, asked["max_drop"], asked["metrics_folder"])
    report["blame"] = find_blame(bundle, steps, judge, device)
    report["stages"] = steps.to_json()


def _refuse_pointless(context: click.Context) -> None:
    """A flag of robustness without it was meant otherwise."""
    for name in ROBUSTNESS_ONLY:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            flag = "-o" if name == "output" else f"--{name}"
            raise UsageError("is for --robustness, which was not asked for", where=flag, hint="Add --robustness.")


def _print(report: dict[str, Any], page: Path | None) -> None:
    print_report(report)
    if "blame" in report:
        print_blame(report["blame"])
    if "robustness" in report:
        from edgefuse.cli.robustness_table import print_robustness

        print_robustness(report["robustness"], page)
