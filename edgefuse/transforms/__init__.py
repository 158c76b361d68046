"""From what a message holds to what a model's input takes: the transforms of a recipe, in their order. Numpy; Pillow
where pixels are interpolated, and HF's ``tokenizers`` for a tokenizer.

A transform is a function that checks the recipe's value and gives a function of an array (or of a text), plus one line
in ``TRANSFORMS``. The same chain makes calibration samples and feeds a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.errors import RecipeError, nearest
from edgefuse.recordings.mapping import LABEL, Source, Sources, Step
from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import Array, TensorSpec, shape_text
from edgefuse.stream.inbox import fit_samples
from edgefuse.transforms import arrays, image, points, text
from edgefuse.transforms.given import Given, check_inside

TRANSFORMS: dict[str, Callable[[Given], Callable[[Any], Array]]] = {
    "resize": image.resize,
    "crop": image.crop,
    "channels": image.channels,
    "mono": image.mono,
    "flip": image.flip,
    "scale": arrays.scale,
    "offset": arrays.offset,
    "clip": arrays.clip,
    "normalize": arrays.normalize,
    "finite": arrays.finite,
    "layout": arrays.layout,
    "select": arrays.select,
    "reshape": arrays.reshape,
    "cast": arrays.cast,
    "beams": points.beams,
    "polar": points.polar,
    "points": points.points,
    "birdseye": points.birdseye,
    "characters": text.characters,
    "words": text.words,
    "tokenizer": text.tokenizer,
}

OF_TEXT = ("characters", "words", "tokenizer")
WITH_FILE = ("words", "tokenizer")
"""May have a key ``file``."""

Chain = Callable[[Any], Array]


def make_chain(source: Source, item: TensorSpec | None, folder: Path, axis: int | None = None) -> Chain:
    """What makes an array for *item* (None: the label) of a message's field; *axis* is time's in a window's input,
    whose deliveries are one sample or several.

    Its result has the input's dtype and shape: a batch dimension of 1 is added where it is missing, floats become the
    input's, and integers wider ones. All else that does not fit is a :class:`Misfit` that names what came out after
    which transform. Raises ``RecipeError`` for a transform that is not known or whose value is wrong, and
    ``MissingToolError``. Files that transforms name lie in *folder*.
    """
    where = f"recording.{item.name if item else LABEL}"
    steps = [(step.name, _make(step, f"{where}.transforms", folder)) for step in source.transforms]

    def chain(value: Any) -> Array:
        for name, apply in steps:
            value = _applied(name, apply, value)
        last = f"after {steps[-1][0]!r}" if steps else "without transforms"
        if isinstance(value, str):
            raise Misfit("type", f"{last} it is a text; {', '.join(OF_TEXT)} make numbers of it")
        return np.asarray(value) if item is None else _finish(np.asarray(value), item, axis, last)

    return chain


def _make(step: Step, where: str, folder: Path) -> Callable[[Any], Array]:
    make = TRANSFORMS.get(step.name)
    if make is None:
        hint = nearest(step.name, TRANSFORMS)
        if step.name == "window":
            hint = 'Samples are collected by the stream: [streams.NAME] with kind = "window" (docs/streaming.md).'
        raise RecipeError(f"there is no transform {step.name!r}", where=where, hint=hint)
    return make(Given(step.value, f"{where}: {step.name}", folder))


def _applied(name: str, apply: Callable[[Any], Array], value: Any) -> Array:
    if isinstance(value, str) != (name in OF_TEXT):
        kind = "a text" if isinstance(value, str) else f"an array {shape_text(np.shape(value))}"
        raise Misfit("type", f"{name!r} got {kind}; expected {'a text' if name in OF_TEXT else 'an array'}")
    try:
        return np.asarray(apply(value))
    except Misfit as error:
        raise Misfit(error.reason, f"{name!r}: {error}") from None
    except (ValueError, TypeError, IndexError) as error:
        found = "" if isinstance(value, str) else f" (got {shape_text(value.shape)} {value.dtype})"
        raise Misfit("shape", f"{name!r}: {error}{found}") from None


def _finish(array: Array, item: TensorSpec, axis: int | None, last: str) -> Array:
    """*array* in the input's dtype, with a batch dimension."""
    shaped = _shaped(array, item, axis)
    if shaped is None:
        sample = "" if axis is None else f", one sample of it, or several along axis {axis}"
        found = f"{shape_text(array.shape)} {array.dtype}"
        raise Misfit("shape", f"{last} it is {found}; the input takes {item.shape_text} {item.dtype}{sample}")
    wanted = np.dtype(item.dtype)
    if not _castable(array.dtype, wanted):
        raise Misfit("dtype", f"{last} it is {array.dtype}; the input takes {item.dtype}: add scale or cast")
    return np.ascontiguousarray(shaped, wanted)


def _castable(found: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    if found.kind == wanted.kind == "f":
        return True
    return found == wanted or (found.kind in "iu" and wanted.kind in "iu" and np.can_cast(found, wanted, "safe"))


def _shaped(array: Array, item: TensorSpec, axis: int | None) -> Array | None:
    """With the batch dimension where it is missing; a lone number fits an input of one. None: it does not fit."""
    forms = [array, array[np.newaxis]]
    if array.ndim == 0:
        forms.append(array.reshape((1,) * len(item.shape)))
    for form in forms:
        if axis is None and item.fits(form.shape):
            return form
        if axis is not None and form.ndim and fit_samples(np.asarray(form), item, axis) is not None:
            return form
    return None


def files(sources: Sources) -> tuple[str, ...]:
    """The files that transforms name, relative to the recipe's folder; raises ``RecipeError`` for one outside of it."""
    found = []
    for name, source in sources.items():
        for step in source.transforms:
            if step.name in WITH_FILE and isinstance(step.value, dict) and isinstance(step.value.get("file"), str):
                where = f"recording.{name}.transforms: {step.name}"
                check_inside(step.value["file"], Given(step.value, where, Path()))
                found.append(step.value["file"])
    return tuple(dict.fromkeys(found))
