"""Inputs that the model file describes itself (ONNX, torch.export), reconciled with what the recipe says of
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgefuse.errors import ModelError, nearest
from edgefuse.spec import DTYPES, Dim, DimRange, TensorSpec

OpenDim = int | DimRange | str
"""A string is a dimension that the file leaves open, by the file's name for it; equal names are equal
sizes."""


@dataclass(frozen=True)
class Declared:
    """One input as the file describes it."""

    name: str
    dims: tuple[OpenDim, ...]
    dtype: str

    @property
    def text(self) -> str:
        return "x".join(str(dim) for dim in self.dims) or "scalar"


def resolve_inputs(
    declared: Sequence[Declared], recipe: Sequence[TensorSpec], where: str
) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """Specs in the file's order, and notes. Raises :class:`ModelError` where file and recipe disagree."""
    known = {item.name: item for item in declared}
    for spec in recipe:
        if spec.name not in known:
            raise ModelError(
                f"the model has no input {spec.name!r}, which the recipe describes",
                where=where,
                hint=nearest(spec.name, known),
            )
        _check_agrees(known[spec.name], spec, where)
    given = {spec.name: spec for spec in recipe}
    sizes, notes = _sizes(declared, given)
    return tuple(given.get(item.name) or _spec(item, sizes, where) for item in declared), notes


def _check_agrees(item: Declared, spec: TensorSpec, where: str) -> None:
    if item.dtype != spec.dtype:
        raise ModelError(
            f"input {item.name!r} is {item.dtype} in the model and {spec.dtype} in the recipe",
            where=where,
            hint=f'Write dtype = "{item.dtype}" into [inputs.{item.name}].',
        )
    fits = len(item.dims) == len(spec.shape) and all(_dim_fits(a, b) for a, b in zip(item.dims, spec.shape))
    if not fits:
        raise ModelError(
            f"input {item.name!r} is {item.text} in the model and {spec.shape_text} in the recipe",
            where=where,
            hint="A number in the model's shape is fixed; the recipe may set the others.",
        )


def _dim_fits(declared: OpenDim, wanted: Dim) -> bool:
    low, high = (wanted.min, wanted.max) if isinstance(wanted, DimRange) else (wanted, wanted)
    if isinstance(declared, DimRange):
        return (low >= declared.min or declared.min <= 2) and high <= declared.max  # torch.export says 2 for "from 1"
    return isinstance(declared, str) or declared == wanted


def _sizes(declared: Sequence[Declared], given: dict[str, TensorSpec]) -> tuple[dict[str, Dim], tuple[str, ...]]:
    """The open dimensions' sizes: the recipe's, and 1 for an open first dimension, which is the batch."""
    sizes: dict[str, Dim] = {}
    for item in declared:
        if item.name in given:
            sizes.update((a, b) for a, b in zip(item.dims, given[item.name].shape) if isinstance(a, str))
    batches = dict.fromkeys(
        item.dims[0]
        for item in declared
        if item.name not in given and item.dims and isinstance(item.dims[0], str) and item.dims[0] not in sizes
    )
    note = f"The batch dimension ({', '.join(map(str, batches))}) is open in the model; it is taken as 1."
    sizes.update((str(batch), 1) for batch in batches)
    return sizes, (note,) if batches else ()


def _spec(item: Declared, sizes: dict[str, Dim], where: str) -> TensorSpec:
    if item.dtype not in DTYPES:
        raise ModelError(
            f"input {item.name!r} has dtype {item.dtype}",
            where=where,
            hint=f"EdgeFuse feeds: {', '.join(DTYPES)}.",
        )
    dims = [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in item.dims]
    shape = tuple(dim for dim in dims if not isinstance(dim, str))
    if len(shape) < len(dims):
        example = ", ".join(
            '"1..16"' if isinstance(dim, str) else f'"{dim}"' if isinstance(dim, DimRange) else str(dim) for dim in dims
        )
        raise ModelError(
            f"input {item.name!r} has the shape {item.text}: not all of its sizes are known",
            where=where,
            hint=f"Set them in the recipe, to a number or a range:\n  [inputs.{item.name}]\n  shape = [{example}]",
        )
    return TensorSpec(item.name, shape, item.dtype, stream=item.name)
