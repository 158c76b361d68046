"""Transforms of numbers, whatever they are of. Numpy only.

Integers become floats where a transform computes: float32 of up to 16 bits, float64 of more; floats keep their dtype.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgefuse.recordings.misfit import Misfit
from edgefuse.spec import DTYPES, Array, shape_text
from edgefuse.transforms.given import Given

Apply = Callable[[Array], Array]


def floats(array: Array) -> Array:
    """*array* as floats that hold its values."""
    if array.dtype.kind == "f":
        return array
    return array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)


def scale(given: Given) -> Apply:
    """``scale = 0.0039``: times a number, or one for each channel (the last axis)."""
    factors = given.read("by", short="by").numbers("by")

    def apply(array: Array) -> Array:
        values = floats(array)
        return values * _along(factors, values, -1)

    return apply


def offset(given: Given) -> Apply:
    """``offset = -1``: plus a number, or one for each channel (the last axis)."""
    terms = given.read("by", short="by").numbers("by")

    def apply(array: Array) -> Array:
        values = floats(array)
        return values + _along(terms, values, -1)

    return apply


def clip(given: Given) -> Apply:
    """``clip = [0, 30]``: what lies beyond is set to the limit; NaN stays."""
    low, high = given.read("limits", short="limits").interval("limits")
    return lambda array: np.clip(floats(array), low, high)


def normalize(given: Given) -> Apply:
    """``normalize = { mean = […], std = […], axis = -1 }``: (value - mean) / std, one each for a channel or all."""
    table = given.read("mean", "std", "axis")
    mean, std, axis = table.numbers("mean"), table.numbers("std"), _axis(table)
    if len({len(mean), len(std)} - {1}) > 1:
        raise given.refuse(f"has {len(mean)} means and {len(std)} std")
    if any(value <= 0 for value in std):
        raise given.refuse(f"std is {list(std)}; expected more than 0", "std")

    def apply(array: Array) -> Array:
        values = floats(array)
        return (values - _along(mean, values, axis)) / _along(std, values, axis)

    return apply


def layout(given: Given) -> Apply:
    """``layout = "HWC->CHW"``: the axes in another order; a new 1 is an axis of size 1, an old one is taken away."""
    text = given.read("to", short="to").text("to")
    match = re.fullmatch(r"\s*([A-Z1]+)\s*->\s*([A-Z1]+)\s*", text)
    before, after = match.groups() if match else ("", "")
    axes, kept = before.replace("1", ""), after.replace("1", "")
    if not match or len(set(axes)) < len(axes) or sorted(axes) != sorted(kept):
        hint = 'Examples: "HWC->CHW", "HW->1HW".'
        raise given.refuse(f"is {text!r}; expected the same letters on both sides", hint=hint)
    dropped = tuple(place for place, letter in enumerate(before) if letter == "1")
    order, added = [axes.index(letter) for letter in kept], tuple(i for i, c in enumerate(after) if c == "1")

    def apply(array: Array) -> Array:
        if array.ndim != len(before) or any(array.shape[place] != 1 for place in dropped):
            raise Misfit("shape", f"got {shape_text(array.shape)}; {before!r} has {len(before)} axes")
        return np.expand_dims(array.squeeze(dropped).transpose(order), added)

    return apply


def select(given: Given) -> Apply:
    """``select = [0, 1, 2]``, or ``{ start = 0, stop = 10, step = 2, axis = -1 }``: some of an axis, by place."""
    table = given.read("indices", "start", "stop", "step", "axis", short="indices")
    axis = _axis(table)
    if table.has("indices"):
        indices = [int(value) for value in table.wholes("indices", least=-(2**31))]
        return lambda array: np.take(array, indices, axis=axis)
    start, stop = (table.whole(key, least=-(2**31)) if table.has(key) else None for key in ("start", "stop"))
    part = slice(start, stop, table.whole("step", 1, least=1))

    def apply(array: Array) -> Array:
        place = range(array.ndim)[axis]
        return array[(slice(None),) * place + (part,)]

    return apply


def cast(given: Given) -> Apply:
    """``cast = "float32"``: another dtype. A float that becomes an integer is cut off, and must fit."""
    name = given.read("dtype", short="dtype").choice("dtype", DTYPES)
    whole = np.dtype(name).kind in "iu"

    def apply(array: Array) -> Array:
        if whole and array.dtype.kind == "f":
            limits = np.iinfo(name)
            if not np.isfinite(array).all():
                raise Misfit("not finite", f"NaN or infinity cannot be {name}")
            if array.size and (array.min() <= limits.min - 1.0 or array.max() >= limits.max + 1.0):
                raise Misfit("range", f"{array.min():g} … {array.max():g} does not fit into {name}")
        return array.astype(name)

    return apply


def reshape(given: Given) -> Apply:
    """``reshape = [3, -1]``: another shape for the same numbers; -1 is what is left."""
    shape = given.read("shape", short="shape").wholes("shape", least=-1)
    if shape.count(-1) > 1 or 0 in shape:
        raise given.refuse(f"is {list(shape)}; expected sizes, and at most one -1")
    return lambda array: array.reshape(shape)


_NOT_FINITE: dict[str, Callable[[Array], NDArray[np.bool_]]] = {
    "nan": np.isnan,
    "posinf": np.isposinf,
    "neginf": np.isneginf,
}


def finite(given: Given) -> Apply:
    """``finite = { nan = 0.0, posinf = 30.0, neginf = 0.0 }``: what stands for these; those not given stay."""
    table = given.read(*_NOT_FINITE)
    values = {key: table.number(key) for key in _NOT_FINITE if table.has(key)}
    if not values:
        raise given.refuse("is empty; expected nan, posinf or neginf")

    def apply(array: Array) -> Array:
        if array.dtype.kind != "f":
            return array
        found = array.copy()
        for key, value in values.items():
            found[_NOT_FINITE[key](array)] = value
        return found

    return apply


def _axis(given: Given) -> int:
    return given.whole("axis", -1, least=-8)


def _along(values: tuple[float, ...], array: Array, axis: int) -> Array:
    """*values* so that they broadcast along *axis* of *array*, in its dtype."""
    found = np.array(values, array.dtype)
    if len(values) == 1:
        return found.reshape(())
    if array.ndim == 0 or array.shape[axis] != len(values):
        raise Misfit("shape", f"got {shape_text(array.shape)}; expected {len(values)} along axis {axis}")
    shape = [1] * array.ndim
    shape[axis] = len(values)
    return found.reshape(shape)
