"""How good one answer is. Numpy only.

A metric scores one sample; its value over a set is the mean of the scores. Custom ones are plain functions in the
user's file, named ``file.py:function`` in the recipe: ``function(output, label) -> float``, called once
per sample, with the attribute ``higher_is_better`` (True for a score, False for an error).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefuse.errors import RecipeError, nearest
from edgefuse.spec import Array

SQNR = "sqnr"
"""The metric of a recipe that names none: fidelity to the float model in dB, which needs no labels."""


@dataclass(frozen=True)
class Metric:
    """``score(output, label)`` for one sample; ``binary`` scores are 0 or 1, ``classes`` may do without labels."""

    name: str
    score: Callable[[Array, Array], float]
    higher_is_better: bool = True
    binary: bool = False


def top1(output: Array, label: Array) -> float:
    """1 where the largest of the last axis is the label; *output* (…, classes), *label* integer (…)."""
    answers = output.argmax(axis=-1)
    return float(np.mean(answers.reshape(-1) == _flat(label, answers)))


def top5(output: Array, label: Array) -> float:
    """1 where the label is among the five largest of the last axis."""
    best = np.argsort(output, axis=-1)[..., -5:].reshape(-1, min(5, output.shape[-1]))
    return float(np.mean((best == _flat(label, best[:, 0])[:, np.newaxis]).any(axis=1)))


def mae(output: Array, label: Array) -> float:
    """Mean absolute error, in the label's unit."""
    return float(np.mean(np.abs(output.astype(np.float64).reshape(-1) - _flat(label, output).astype(np.float64))))


def mse(output: Array, label: Array) -> float:
    """Mean squared error, in the label's unit squared."""
    return float(np.mean((output.astype(np.float64).reshape(-1) - _flat(label, output).astype(np.float64)) ** 2))


def _flat(label: Array, output: Array) -> Array:
    """*label* as a vector as long as *output* has values; numpy would spread a single one over all of them."""
    flat = np.asarray(label).reshape(-1)
    if flat.size != output.size:
        raise ValueError(f"the label has {flat.size} values, the output {output.size}")
    return flat


METRICS = {
    "top1": Metric("top1", top1, binary=True),
    "top5": Metric("top5", top5, binary=True),
    "mae": Metric("mae", mae, higher_is_better=False),
    "mse": Metric("mse", mse, higher_is_better=False),
}


def load_metric(name: str, folder: Path) -> Metric:
    """The metric called *name*, or the function in the user's file, whose path starts from *folder*."""
    if name in METRICS:
        return METRICS[name]
    file, separator, function = name.rpartition(":")
    if not separator:
        raise RecipeError(f"there is no metric {name!r}", where="accuracy.metric", hint=nearest(name, [*METRICS, SQNR]))
    score = _load_function(folder / file, function)
    better = getattr(score, "higher_is_better", None)
    if not isinstance(better, bool):  # a guess would turn a growing error into a gain
        raise RecipeError(
            "does not say whether more is better",
            where=f"accuracy.metric: {name}",
            hint=f"Add below the function: {function}.higher_is_better = False (an error) or True (a score).",
        )
    return Metric(name, _checked(score, name), better)


def _checked(function: Callable[[Array, Array], float], name: str) -> Callable[[Array, Array], float]:
    """The user's *function* with its failures told as such."""

    def score(output: Array, label: Array) -> float:
        try:
            value = float(function(output, label))
        except Exception as error:  # the user's own code, as in _load_function
            raise RecipeError(
                f"failed on an output of shape {output.shape} and a label of shape {np.shape(label)}: "
                f"{type(error).__name__}: {error}",
                where=f"accuracy.metric: {name}",
                hint="It is called for one sample, as function(output, label), with numpy arrays.",
            ) from error
        if not math.isfinite(value) and np.isfinite(output).all():
            raise RecipeError(
                f"returned {value} for an output without NaN and infinity; expected a number",
                where=f"accuracy.metric: {name}",
            )
        return value

    return score


def _load_function(path: Path, name: str) -> Callable[[Array, Array], float]:
    spec = importlib.util.spec_from_file_location(f"edgefuse_metric_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RecipeError("there is no such Python file", where=f"accuracy.metric: {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own code: any error is theirs, and is told as such
        raise RecipeError(f"cannot be imported: {type(error).__name__}: {error}", where=str(path)) from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise RecipeError(f"has no function {name!r}", where=str(path), hint=nearest(name, functions))
    return function  # type: ignore[no-any-return]
