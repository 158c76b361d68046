"""``edgefuse compile``: flags into a request, the report onto the screen."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from edgefuse.bundle import SUFFIX, open_bundle
from edgefuse.bundle_writer import looks_like_bundle
from edgefuse.cli.device import device_option
from edgefuse.device import Device, assumed, host_of, load_device
from edgefuse.errors import MissingToolError, ModelError, RecipeError, UsageError
from edgefuse.metrics import SQNR
from edgefuse.places import Place
from edgefuse.precision import PRECISIONS
from edgefuse.progress import Steps
from edgefuse.recipe import (
    Recipe,
    find_recipe,
    parse_limit,
    parse_milliseconds,
    parse_seconds,
    read_recipe,
    require_recipe,
    suggest_recipe,
)
from edgefuse.recompile import Rerun, compile_bundle
from edgefuse.spec import parse_input_flag
from edgefuse.verdict import Verdict

if TYPE_CHECKING:
    from edgefuse.compile import Request


@click.command("compile")
@click.argument("model")
@click.option(
    "--target", help="Device to compile for (see: edgefuse devices) [default: host; a bundle's own for a bundle]."
)
@device_option
@click.option("--require-device", is_flag=True, help="Refuse to make a portable bundle where the device is not here.")
@click.option("--recipe", "recipe_name", help="Recipe: a TOML file, a folder with recipe.toml, or a shipped name.")
@click.option("--calibration", type=click.Path(path_type=Path), help="Real samples (.npz, a folder), or a recording.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help=f"Bundle to write, a folder, or one file if it ends in .zip [default: NAME{SUFFIX}].",
)
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *PRECISIONS]),
    help="auto: the fastest that stays within the limit, by measurement.",
)
@click.option(
    "--backend", help="Take only this one where a device has several, such as openvino [default: whichever is faster]."
)
@click.option("--max-drop", help='Accuracy that may be lost: "1%" (relative) or "0.5pt" (absolute).')
@click.option("--max-latency", help='Limit on p90 of one call, such as "5ms".')
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME:SHAPE[:DTYPE[:MODALITY]]",
    help="Describe an input without a recipe, such as image:1x3x224x224:float32:image.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be tried and about how long it takes; write nothing.")
@click.option("--no-float-graph", is_flag=True, help="Leave the float graph out of the bundle, which is smaller then.")
@click.option("--resume", is_flag=True, help="Go on with a search that was interrupted.")
@click.option("--time-budget", help='End the search after so long with the best so far, such as "5min".')
@click.option("--trust", is_flag=True, help="Load a pickled module, which runs its author's code.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress lines.")
def command(
    model: str,
    target: str | None,
    device: str | None,
    require_device: bool,
    recipe_name: str | None,
    calibration: Path | None,
    output: Path | None,
    precision: str,
    backend: str | None,
    max_drop: str | None,
    max_latency: str | None,
    inputs: tuple[str, ...],
    dry_run: bool,
    no_float_graph: bool,
    resume: bool,
    time_budget: str | None,
    trust: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compile MODEL for a device, prove that it is still accurate, and write a bundle.

    MODEL is a model file (.pt2, TorchScript, .onnx, a state_dict, a pickled module), a recipe (a folder or a name), or
    a bundle, which is compiled for this machine from the graphs that it carries. With --device that machine stands for
    this one: graphs are made here, and built, measured and judged there.

    \b
    edgefuse compile digits
    edgefuse compile policy.pt2 --target jetson --calibration samples/
    edgefuse compile policy.edgefuse     (on the Jetson, without torch and onnx)
    edgefuse compile policy.pt2 --calibration samples/ --device ssh://robot@host
    """
    steps = Steps(quiet=quiet)
    if looks_like_bundle(Path(model)):
        _refuse_on_bundle(
            calibration=calibration,
            input=inputs,
            trust=trust,
            dry_run=dry_run,
            resume=resume,
            backend=backend,
            no_float_graph=no_float_graph,
        )
        rerun = _rerun(Path(model), target, recipe_name, output, precision, max_drop, max_latency)
        rerun = replace(rerun, budget_s=_budget(time_budget))
        return _show(_compile_bundle(Path(model), rerun, device, steps), rerun.out, as_json)
    recipe, path = _resolve(model, recipe_name)
    recipe = _merge_flags(recipe, calibration, max_drop, max_latency, inputs)
    known = load_device(target) if target is not None else None
    compile_module = _import_compiler()
    with _place(device, steps) as place:
        profile = _only(host_of(place.environment) if known is None or known.name == "host" else known, backend)
        request: Request = compile_module.Request(
            path,
            recipe,
            profile,
            output or Path(f"{recipe.name}{SUFFIX}"),
            precision,
            trust,
            require_device,
            _budget(time_budget),
            resume,
            not no_float_graph,
            place,
        )
        if not quiet:
            _introduce(recipe.name, profile, place)
        if dry_run:
            return _show_plan(compile_module.plan_only(request, steps), as_json)
        try:
            report = compile_module.compile_model(request, steps)
        except KeyboardInterrupt:
            if precision == "auto" and not quiet:
                click.echo("  the same command with --resume goes on with the search", err=True)
            raise
    return _show(report, request.out, as_json)


@contextlib.contextmanager
def _place(address: str | None, steps: Steps) -> Iterator[Place]:
    """Where --device says that candidates are built and measured."""
    if address is None:
        from edgefuse.places.here import Here

        yield Here()
        return
    from edgefuse.places.there import connected_place

    with connected_place(address, steps) as place:
        yield place


def _compile_bundle(path: Path, rerun: Rerun, address: str | None, steps: Steps) -> dict[str, Any]:
    if address is None:
        with open_bundle(path) as bundle:
            return compile_bundle(bundle, rerun, steps)
    from edgefuse.remote import connect, verbs

    with connect(address, steps=steps) as there:
        return verbs.compile_bundle(there, path, rerun, steps)


def _only(device: Device, backend: str | None) -> Device:
    if backend is None:
        return device
    if backend not in (device.backend, *device.also):
        known = ", ".join((device.backend, *device.also))
        raise UsageError(f"{device.name} does not run {backend}; it runs {known}", where="--backend")
    return replace(device, backend=backend, also=())


def _budget(text: str | None) -> float:
    return parse_seconds(text) if text is not None else math.inf


def _show_plan(found: dict[str, Any], as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return 0
    click.echo("would try  " + ", ".join(row["name"] for row in found["candidates"]))
    for text in found["later"]:
        click.echo(f"then       {text}")
    click.echo("parts      " + ", ".join(f"{row['name']} ({row['operations']} operations)" for row in found["parts"]))
    click.echo(f"takes      about {found['about_s']:.0f} s from here on (an estimate)")
    return 0


def _introduce(name: str, device: Device, place: Place) -> None:
    """What is about to happen, with everything that is assumed about the device."""
    there = "" if place.is_here else f" on {place.name}, {place.environment.get('board') or place.environment['cpu']}"
    click.echo(f"Compiling {name} for {device.name} ({device.backend}){there}", err=True)
    if device.alias:
        click.echo(f"  {device.alias} means {device.name}, the family's default", err=True)
    for sentence in [assumed(device), *device.limits]:
        if sentence:
            click.echo(f"  {sentence}", err=True)


def _show(report: dict[str, Any], out: Path, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        from edgefuse.report.text import print_report

        print_report(report, out)
    return Verdict(report["verdict"]).exit_code


def _refuse_on_bundle(**flags: object) -> None:
    for name, value in flags.items():
        if value:
            raise UsageError(
                "has no effect on a bundle, whose samples and inputs are settled",
                where=f"--{name.replace('_', '-')}",
                hint="Compile the model file instead.",
            )


def _rerun(
    bundle: Path,
    target: str | None,
    recipe_name: str | None,
    output: Path | None,
    precision: str,
    max_drop: str | None,
    max_latency: str | None,
) -> Rerun:
    """The flags for compiling a bundle; it is replaced where no -o is given."""
    return Rerun(
        out=output or bundle,
        target=target,
        precision=precision,
        max_drop=parse_limit(max_drop) if max_drop is not None else None,
        p90_ms=parse_milliseconds(max_latency) if max_latency is not None else None,
        metrics_folder=require_recipe(recipe_name).resolve().parent if recipe_name is not None else None,
        render=_html_writer(),
    )


def _html_writer() -> Callable[[Path, dict[str, Any]], None] | None:
    """The page needs jinja2 and matplotlib, which a robot may lack: then there is report.json alone."""
    try:
        from edgefuse.report.html import write_html
    except ImportError:
        return None
    return write_html


def _import_compiler() -> ModuleType:
    """The heavy half (torch, onnx …), only when it is needed and with a cure when it is missing."""
    try:
        from edgefuse import compile as compiler
    except (ImportError, MissingToolError) as error:
        missing = error.what if isinstance(error, MissingToolError) else f"the package {error.name!r} is not installed"
        cure = "A robot does not need it; a workstation does: pip install 'edgefuse[compile]'"
        raise MissingToolError(missing, where="edgefuse compile", hint=cure) from error
    return compiler


def _resolve(model: str, recipe_name: str | None) -> tuple[Recipe, Path]:
    """The recipe and the model file that MODEL and --recipe mean."""
    if recipe_name is not None:
        return read_recipe(require_recipe(recipe_name)), Path(model)
    recipe_file = find_recipe(model)
    if recipe_file is not None:
        recipe = read_recipe(recipe_file)
        path = recipe.model.path or recipe.model.weights
        if path is None:
            raise RecipeError(
                "names no model",
                where=f"{recipe_file}: model",
                hint='Add path = "model.pt2", or factory = "model.py:build" and weights = "weights.pt".',
            )
        return recipe, path
    path = Path(model)
    if not path.exists():
        raise ModelError("there is no such model file or recipe", where=model, hint=suggest_recipe(model))
    name = "".join(char if char.isalnum() or char in "._-" else "-" for char in path.stem).lstrip("._-") or "model"
    return Recipe(name=name, folder=path.resolve().parent), path


def _merge_flags(
    recipe: Recipe, calibration: Path | None, max_drop: str | None, max_latency: str | None, inputs: tuple[str, ...]
) -> Recipe:
    """A flag beats the recipe."""
    if calibration is not None:
        recipe = replace(recipe, calibration=replace(recipe.calibration, path=calibration))
    if max_drop is not None:
        limit = parse_limit(max_drop)
        if recipe.accuracy.metric == SQNR:
            hint = "Add metric and label to the recipe's [accuracy]; the limit of sqnr is min_sqnr_db there."
            raise UsageError("needs a metric, and the recipe names none", where="--max-drop", hint=hint)
        recipe = replace(recipe, accuracy=replace(recipe.accuracy, max_drop=limit))
    if max_latency is not None:
        recipe = replace(recipe, latency=replace(recipe.latency, p90_ms=parse_milliseconds(max_latency)))
    if inputs:
        specs = tuple(parse_input_flag(text) for text in inputs)
        names = [spec.name for spec in specs]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"the input {name!r} is described twice", where="--input", hint="Keep one of them.")
        recipe = replace(recipe, inputs=specs)
    return recipe
