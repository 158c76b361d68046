"""The recipe: what a model is, where its calibration data lie and how good it must stay.

A TOML file, read once into frozen values. Unknown keys are errors. Standard library and numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefuse.errors import RecipeError, UsageError, nearest
from edgefuse.recordings.mapping import Sources, read_sources
from edgefuse.resources import shipped_names
from edgefuse.spec import TensorSpec, make_tensor_spec
from edgefuse.stream.policy import StreamPolicy, read_policies
from edgefuse.tables import check_keys, read_toml, subtable, typed

TABLES = ("name", "model", "inputs", "outputs", "state", "streams", "recording", "calibration", "accuracy", "latency")
INPUT_KEYS = ("shape", "dtype", "modality", "stream", "rate_hz")


@dataclass(frozen=True)
class Limit:
    """How much of the metric may be lost: a fraction of the reference's value, or an absolute amount."""

    value: float
    relative: bool

    def absolute(self, reference: float) -> float:
        """The permitted drop in units of the metric, given the reference's value."""
        return self.value * abs(reference) if self.relative else self.value

    def __str__(self) -> str:
        return f"{self.value * 100:g}%" if self.relative else f"{self.value * 100:g}pt"


DEFAULT_LIMIT = Limit(0.01, relative=True)


@dataclass(frozen=True)
class ModelSource:
    """Where the module comes from: a file alone, or a factory ``file.py:function`` and a state_dict."""

    path: Path | None = None
    factory: str | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class CalibrationSource:
    """``path``: a set of samples, a recording, or several recordings. ``samples`` calibrate; at most ``golden`` others
    (by default all of a set, some hundred of a recording) are held out for the verdict."""

    path: Path | tuple[Path, ...] | None = None
    samples: int = 256
    golden: int | None = None
    seed: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        if self.path is None:
            return ()
        return self.path if isinstance(self.path, tuple) else (self.path,)


@dataclass(frozen=True)
class Accuracy:
    """``metric`` is a name of :mod:`edgefuse.metrics` or ``file.py:function``; "sqnr" needs no labels."""

    metric: str = "sqnr"
    output: str | None = None
    label: str | None = None
    max_drop: Limit = DEFAULT_LIMIT
    min_sqnr_db: float = 30.0


@dataclass(frozen=True)
class LatencyLimit:
    p90_ms: float | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything a recipe file says. ``folder`` is what its relative paths start from; ``state`` maps an input that
    carries state from step to step to the output that feeds it; ``streams`` are the policies of its sensors;
    ``recording`` says which topic of a robot's recording feeds which input."""

    name: str
    folder: Path
    model: ModelSource = field(default_factory=ModelSource)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[str, ...] = ()
    calibration: CalibrationSource = field(default_factory=CalibrationSource)
    accuracy: Accuracy = field(default_factory=Accuracy)
    latency: LatencyLimit = field(default_factory=LatencyLimit)
    state: Mapping[str, str] = field(default_factory=dict)
    streams: Mapping[str, StreamPolicy] = field(default_factory=dict)
    recording: Sources = field(default_factory=dict)
    path: Path | None = None


def parse_limit(text: str) -> Limit:
    """``"1%"`` is relative to the reference, ``"0.5pt"`` is absolute (percentage points of the metric)."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(%|pt)\s*", text)
    if not match:
        raise UsageError(
            f"{text!r} is not a limit", where="--max-drop", hint='Write "1%" (relative) or "0.5pt" (absolute points).'
        )
    return Limit(float(match[1]) / 100, relative=match[2] == "%")


def parse_milliseconds(text: str, where: str = "--max-latency") -> float:
    """``"5ms"``, ``"800us"`` or ``"0.1s"`` in milliseconds; *where* is the flag that it was given for."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(us|ms|s)\s*", text)
    if not match or float(match[1]) == 0:
        raise UsageError(f"{text!r} is not a duration", where=where, hint='Write "5ms", "800us" or "0.1s".')
    return float(match[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[match[2]]


def parse_seconds(text: str) -> float:
    """``"90s"``, ``"5min"`` or ``"1h"`` in seconds."""
    match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,3})?)\s*(s|min|h)\s*", text)
    if not match or float(match[1]) == 0:
        raise UsageError(f"{text!r} is not a duration", where="--time-budget", hint='Write "90s", "5min" or "1h".')
    return float(match[1]) * {"s": 1.0, "min": 60.0, "h": 3600.0}[match[2]]


def find_recipe(name: str) -> Path | None:
    """The recipe file meant by *name*: a TOML file, a folder that holds ``recipe.toml``, or a shipped name."""
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return path
    if (path / "recipe.toml").is_file():
        return path / "recipe.toml"
    if path.exists() or path.name != name:
        return None
    return shipped_names("recipes", "*/recipe.toml").get(name)


def require_recipe(name: str) -> Path:
    """As :func:`find_recipe`, for what --recipe names; raises :class:`UsageError` when there is none."""
    found = find_recipe(name)
    if found is None:
        raise UsageError(f"there is no recipe {name!r}", where="--recipe", hint=suggest_recipe(name))
    return found


def suggest_recipe(name: str) -> str:
    """What to do about a recipe that is not found."""
    guess = nearest(name, shipped_names("recipes", "*/recipe.toml"))
    known = "Give a TOML file, a folder with recipe.toml, or a name from: edgefuse recipes"
    return f"{guess} {known}" if guess.startswith("Did") else known


def read_recipe(path: Path) -> Recipe:
    """The checked recipe in *path*; raises :class:`RecipeError`."""
    table, where, folder = read_toml(path), str(path), path.resolve().parent
    check_keys(table, TABLES, where)
    return Recipe(
        name=_check_name(typed(table, "name", str, folder.name, where), where),
        folder=folder,
        model=_read_model(subtable(table, "model", where), folder, f"{where}: model"),
        inputs=_read_inputs(subtable(table, "inputs", where), f"{where}: inputs"),
        outputs=_read_outputs(subtable(table, "outputs", where), f"{where}: outputs"),
        calibration=_read_calibration(subtable(table, "calibration", where), folder, f"{where}: calibration"),
        accuracy=_read_accuracy(subtable(table, "accuracy", where), f"{where}: accuracy"),
        latency=_read_latency(subtable(table, "latency", where), f"{where}: latency"),
        state=_read_state(subtable(table, "state", where), f"{where}: state"),
        streams=read_policies(subtable(table, "streams", where), f"{where}: streams"),
        recording=read_sources(subtable(table, "recording", where), f"{where}: recording"),
        path=path,
    )


def _check_name(name: str, where: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise RecipeError(
            f"name is {name!r}; expected at most 100 letters, digits, '.', '_' and '-' (it names the bundle)",
            where=where,
        )
    return name


def _read_model(table: Mapping[str, Any], folder: Path, where: str) -> ModelSource:
    check_keys(table, ("path", "factory", "weights"), where)
    path, factory = typed(table, "path", str, None, where), typed(table, "factory", str, None, where)
    weights = typed(table, "weights", str, None, where)
    if factory and path:
        raise RecipeError(
            "has both 'path' and 'factory'",
            where=where,
            hint="'path' names a file that holds the module; 'factory' builds it. Keep one.",
        )
    if factory and not re.fullmatch(r".+\.py:\w+", factory):
        raise RecipeError(f"factory is {factory!r}", where=where, hint='Expected "FILE.py:FUNCTION".')
    return ModelSource(folder / path if path else None, factory, folder / weights if weights else None)


def _read_inputs(table: Mapping[str, Any], where: str) -> tuple[TensorSpec, ...]:
    for name, keys in table.items():
        if not isinstance(keys, dict):
            raise RecipeError(f"{name!r} is {keys!r}; expected a table", where=where, hint=f"Write [inputs.{name}].")
        check_keys(keys, INPUT_KEYS, f"{where}.{name}")
    return tuple(make_tensor_spec(name, keys, f"{where}.{name}") for name, keys in table.items())


def _read_outputs(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    for name, keys in table.items():
        if not isinstance(keys, dict):
            raise RecipeError(f"{name!r} is {keys!r}; expected a table", where=where, hint=f"Write [outputs.{name}].")
        check_keys(keys, (), f"{where}.{name}")
    return tuple(table)


def _read_calibration(table: Mapping[str, Any], folder: Path, where: str) -> CalibrationSource:
    check_keys(table, ("path", "samples", "golden", "seed"), where)
    path = _read_paths(table.get("path"), folder, where)
    samples, golden = typed(table, "samples", int, 256, where), typed(table, "golden", int, None, where)
    for key, count in (("samples", samples), ("golden", golden)):
        if count is not None and count < 1:
            raise RecipeError(f"{key} is {count}; expected at least 1", where=where)
    seed = typed(table, "seed", int, 0, where)
    if seed < 0:
        raise RecipeError(f"seed is {seed}; expected 0 or more", where=where)
    return CalibrationSource(path, samples, golden, seed)


def _read_paths(given: Any, folder: Path, where: str) -> Path | tuple[Path, ...] | None:
    """One path, or a list of recordings."""
    if not isinstance(given, list):
        path = typed({} if given is None else {"path": given}, "path", str, None, where)
        return folder / path if path else None
    if not given or not all(isinstance(item, str) and item and "\0" not in item for item in given):
        raise RecipeError(f"path is {given!r}; expected a string or a list of them", where=where)
    return tuple(folder / item for item in given)


def _read_accuracy(table: Mapping[str, Any], where: str) -> Accuracy:
    check_keys(table, ("metric", "output", "label", "max_drop", "min_sqnr_db"), where)
    try:
        max_drop = parse_limit(str(table["max_drop"])) if "max_drop" in table else DEFAULT_LIMIT
    except UsageError as error:
        raise RecipeError(error.what, where=f"{where}.max_drop", hint=error.hint) from None
    return Accuracy(
        metric=typed(table, "metric", str, "sqnr", where),
        output=typed(table, "output", str, None, where),
        label=typed(table, "label", str, None, where),
        max_drop=max_drop,
        min_sqnr_db=typed(table, "min_sqnr_db", float, 30.0, where),
    )


def _read_latency(table: Mapping[str, Any], where: str) -> LatencyLimit:
    check_keys(table, ("p90_ms",), where)
    p90_ms = typed(table, "p90_ms", float, None, where)
    if p90_ms is not None and p90_ms <= 0:
        raise RecipeError(f"p90_ms is {p90_ms}; expected a positive number of milliseconds", where=where)
    return LatencyLimit(p90_ms)


def _read_state(table: Mapping[str, Any], where: str) -> dict[str, str]:
    for name, output in table.items():
        if not isinstance(output, str):
            raise RecipeError(
                f"{name!r} is {output!r}; expected an output's name", where=where, hint='Write h = "h_out".'
            )
    return dict(table)


def check_output_names(recipe: Recipe, outputs: tuple[str, ...]) -> None:
    """The recipe's outputs and its metric's output must be among the model's."""
    wanted = [*recipe.outputs, *([recipe.accuracy.output] if recipe.accuracy.output else [])]
    for name in wanted:
        if name not in outputs:
            raise RecipeError(
                f"the model has no output {name!r}",
                where=str(recipe.path or recipe.folder),
                hint=nearest(name, outputs),
            )
