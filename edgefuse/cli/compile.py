"""``edgefuse compile``: flags into a request, the report onto the screen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from edgefuse.bundle import SUFFIX
from edgefuse.device import load_device
from edgefuse.errors import MissingToolError, ModelError, RecipeError, UsageError
from edgefuse.metrics import SQNR
from edgefuse.progress import Steps
from edgefuse.recipe import (
    Recipe,
    find_recipe,
    parse_limit,
    parse_milliseconds,
    read_recipe,
    require_recipe,
    suggest_recipe,
)
from edgefuse.spec import parse_input_flag
from edgefuse.verdict import Verdict

if TYPE_CHECKING:
    from edgefuse.compile import Request


@click.command("compile")
@click.argument("model")
@click.option("--target", default="host", show_default=True, help="Device to compile for (see: edgefuse devices).")
@click.option("--recipe", "recipe_name", help="Recipe: a TOML file, a folder with recipe.toml, or a shipped name.")
@click.option("--calibration", type=click.Path(path_type=Path), help="Real samples: an .npz file or a folder of them.")
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
    type=click.Choice(["auto", "float", "bf16", "int8", "int8+bf16"]),
    help="auto: the fastest that stays within the limit, by measurement.",
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
@click.option("--trust", is_flag=True, help="Load a pickled module, which runs its author's code.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress lines.")
def command(
    model: str,
    target: str,
    recipe_name: str | None,
    calibration: Path | None,
    output: Path | None,
    precision: str,
    max_drop: str | None,
    max_latency: str | None,
    inputs: tuple[str, ...],
    trust: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compile MODEL for a device, prove that it is still accurate, and write a bundle.

    MODEL is a model file (.pt2, TorchScript, .onnx, a state_dict, a pickled module) or a recipe (a folder or a name).

    \b
    edgefuse compile digits
    edgefuse compile policy.pt2 --target intel-cpu --calibration samples/
    """
    recipe, path = _resolve(model, recipe_name)
    recipe = _merge_flags(recipe, calibration, max_drop, max_latency, inputs)
    device = load_device(target)
    compile_module = _import_compiler()
    request: Request = compile_module.Request(
        path, recipe, device, output or Path(f"{recipe.name}{SUFFIX}"), precision, trust
    )
    steps = Steps(quiet=quiet)
    if not quiet:
        click.echo(f"Compiling {recipe.name} for {device.name} ({device.backend})", err=True)
    report = compile_module.compile_model(request, steps)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        from edgefuse.report.text import print_report

        print_report(report, request.out)
    return Verdict(report["verdict"]).exit_code


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
