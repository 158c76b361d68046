"""``edgefuse replay``: a recorded stream through a bundle, at its own timestamps."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgefuse.bundle import open_bundle
from edgefuse.cli.device import device_option
from edgefuse.cli.place import page_writer
from edgefuse.errors import UsageError
from edgefuse.progress import Step, Steps
from edgefuse.recipe import Recipe, parse_milliseconds, read_recipe, require_recipe
from edgefuse.replay import Options, Position, replay_bundle
from edgefuse.replay.events import parse_tick
from edgefuse.replay.staleness import DELAYS_MS
from edgefuse.report.replay_text import nothing_answered, summary_rows
from edgefuse.verdict import Verdict

REDRAW_S = 0.1


@click.command("replay")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--tick", help="Step at each delivery of this stream, or at a rate: 100hz. [default: the fastest stream]")
@click.option("--deadline", help='Time that a step has, from its tick: "5ms".')
@click.option("--policy", multiple=True, help="Another policy: camera.max_age_ms=100. Repeatable.")
@click.option("--real-time", is_flag=True, help="As slowly as it was recorded, so that what is late is really late.")
@click.option(
    "--staleness",
    default=",".join(f"{delay:g}" for delay in DELAYS_MS),
    show_default=True,
    help="Delays, in ms, at which accuracy is measured.",
)
@click.option("--no-staleness", is_flag=True, help="Do not measure accuracy against staleness.")
@click.option("--recipe", help="The recipe whose [recording] and custom metric to use, in place of the bundle's.")
@device_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a report for people to this .html file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress line.")
def command(
    bundle: Path,
    recording: Path,
    tick: str | None,
    deadline: str | None,
    policy: tuple[str, ...],
    real_time: bool,
    staleness: str,
    no_staleness: bool,
    recipe: str | None,
    device: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Replay RECORDING through BUNDLE: ages, drops, lateness, accuracy.

    RECORDING holds what each sensor delivered and when: a ROS bag, MCAP, LeRobot, HDF5 or .npz (docs/recordings.md).
    It is a report and no gate: the exit code is 0, or 3 where no step had an answer.
    """
    write = page_writer(output, "edgefuse.report.replay")
    named: Recipe | None = read_recipe(require_recipe(recipe)) if recipe is not None else None
    options = Options(
        tick=parse_tick(tick) if tick is not None else None,
        deadline_ms=parse_milliseconds(deadline, "--deadline") if deadline is not None else None,
        policy=_policies(policy),
        real_time=real_time,
        staleness_ms=() if no_staleness else _delays(staleness),
        metrics_folder=named.folder if named is not None else None,
        sources=named.recording or None if named is not None else None,
        sources_folder=named.folder if named is not None else None,
    )
    if device is None:
        with open_bundle(bundle) as opened, _watched(quiet) as watch, warnings.catch_warnings(record=True) as told:
            report = replay_bundle(opened, recording, options, watch)
        for warning in told:
            click.echo(f"warning: {warning.message}", err=True)
    else:
        report = _replay_there(device, bundle, recording, options, tick, Steps(quiet=quiet))
    if write is not None:
        write(report)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report, output)
    return Verdict.INCONCLUSIVE.exit_code if nothing_answered(report) else 0


def _replay_there(
    device: str, bundle: Path, recording: Path, options: Options, tick: str | None, steps: Steps
) -> dict[str, Any]:
    from edgefuse.remote import connect, verbs

    if options.sources is not None:
        raise UsageError(
            "the mapping of a recipe is not sent to another machine; there the bundle's own counts",
            where="--recipe",
            hint="Compile the bundle again with this recipe, or replay here.",
        )
    asked = {
        "tick": tick,
        "deadline_ms": options.deadline_ms,
        "policy": options.policy,
        "real_time": options.real_time,
        "staleness_ms": list(options.staleness_ms),
    }
    with connect(device, steps=steps) as there:
        return verbs.replay_bundle(there, bundle, recording, steps, asked, options.metrics_folder)


def _delays(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(item) for item in text.split(","))
    except ValueError:
        found = (-1.0,)
    if not all(0 <= delay <= 1e6 for delay in found):
        raise UsageError(f"{text!r} is not a list of milliseconds", where="--staleness", hint="Write 0,50,100.")
    return found


def _policies(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """``STREAM.KEY=VALUE`` each; the keys and their values are checked with the model's streams."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, separator, value = text.partition("=")
        stream, dot, key = place.rpartition(".")
        if not (separator and dot and stream and key and value):
            raise UsageError(
                f"{text!r} is not STREAM.KEY=VALUE", where="--policy", hint="Example: --policy camera.max_age_ms=100"
            )
        found.setdefault(stream, {})[key] = _value(value)
    return found


def _value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@contextmanager
def _watched(quiet: bool) -> Iterator[Callable[[Position], None]]:
    """A line on stderr that says where the replay is; where that is no terminal, one line at the end."""
    last, started, drawn = Position(0, 1, 0.0, 0.0), time.perf_counter(), 0.0
    live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
    shown, steps = not quiet and sys.stderr.isatty(), Steps(quiet=quiet)

    def watch(position: Position) -> None:
        nonlocal last, drawn, started
        if not last.total_s:
            steps.tell(Step("Loading", time.perf_counter() - started))
            started = time.perf_counter()
        last = position
        if shown and time.perf_counter() - drawn >= REDRAW_S:
            drawn = time.perf_counter()
            live.start()
            live.update(Text(_position_text(position), no_wrap=True, overflow="ellipsis"), refresh=True)

    try:
        yield watch
    finally:
        live.stop()
    steps.tell(Step("Replaying", time.perf_counter() - started, [f"{last.total_s:.1f} s recorded"]))


def _position_text(position: Position) -> str:
    if position.run:
        return (
            f"  Accuracy against staleness  run {position.run} of {position.runs - 1}  "
            f"{position.seconds:7.1f} of {position.total_s:.1f} s"
        )
    return (
        f"  Replaying  {position.seconds:7.1f} of {position.total_s:.1f} s   {position.steps} steps, "
        f"{position.late} late, {position.dropped} dropped"
    )


def _print(report: dict[str, Any], page: Path | None) -> None:
    console = Console(highlight=False, emoji=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, max_width=20)
    table.add_column()
    reason = nothing_answered(report)
    if reason is not None:
        table.add_row("verdict", f"[bold yellow]INCONCLUSIVE[/]: {escape(reason)}")
    for name, text in summary_rows(report):
        table.add_row(escape(name), escape(text))
    if page is not None:
        table.add_row("report", escape(str(page)))
    console.print(table)
