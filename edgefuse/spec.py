"""What a model's tensors look like, and whether a feed fits. Standard library and numpy only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefuse.errors import FeedError, RecipeError, UsageError, nearest
from edgefuse.tables import typed

Array = NDArray[Any]
Feed = Mapping[str, Array]
"""One sample: name of an input to its array, shape as the input's spec (batch dimension included)."""

DTYPES = ("float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
MODALITIES = ("image", "depth", "points", "imu", "state", "audio", "text")


@dataclass(frozen=True)
class DimRange:
    """A dynamic dimension: any size from ``min`` to ``max``, both included."""

    min: int
    max: int

    def __str__(self) -> str:
        return f"{self.min}..{self.max}"


Dim = int | DimRange


def shape_text(shape: Sequence[Dim]) -> str:
    """1x3x224x224, or "scalar"."""
    return "x".join(map(str, shape)) or "scalar"


@dataclass(frozen=True)
class TensorSpec:
    """One input of the model. ``stream`` names the sensor that delivers it; ``rate_hz`` how often."""

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"
    modality: str | None = None
    stream: str = ""
    rate_hz: float | None = None

    @property
    def dynamic(self) -> bool:
        return any(isinstance(dim, DimRange) for dim in self.shape)

    @property
    def shape_text(self) -> str:
        return shape_text(self.shape)

    def smallest(self) -> tuple[int, ...]:
        """The shape with every dynamic dimension at its minimum."""
        return tuple(d.min if isinstance(d, DimRange) else d for d in self.shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            d.min <= n <= d.max if isinstance(d, DimRange) else d == n for d, n in zip(self.shape, shape)
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": [d if isinstance(d, int) else str(d) for d in self.shape]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        return cls(**{**data, "shape": tuple(parse_dim(dim) for dim in data["shape"])})


@dataclass(frozen=True)
class ModelSpec:
    """Inputs in the model's order, and the names of its outputs in theirs."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    def to_json(self) -> dict[str, Any]:
        return {"inputs": [spec.to_json() for spec in self.inputs], "outputs": list(self.outputs)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelSpec:
        return cls(tuple(TensorSpec.from_json(item) for item in data["inputs"]), tuple(data["outputs"]))


def parse_dim(value: object) -> Dim:
    """``8`` or ``"1..8"``; a ``ValueError`` says what was expected."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = re.fullmatch(r"(\d+)\.\.(\d+)", value) if isinstance(value, str) else None
    if match and 0 < int(match[1]) <= int(match[2]):
        low, high = int(match[1]), int(match[2])
        return DimRange(low, high) if low < high else low
    raise ValueError(f'{value!r} is not a dimension; expected a positive integer or a range such as "1..8"')


def make_tensor_spec(name: str, table: Mapping[str, Any], where: str) -> TensorSpec:
    """A checked :class:`TensorSpec` from the keys of a recipe's ``[inputs.NAME]``."""
    shape = table.get("shape")
    if not isinstance(shape, list):
        raise RecipeError("'shape' is missing or is not a list", where=where, hint="Example: shape = [1, 3, 224, 224]")
    try:
        dims = tuple(parse_dim(dim) for dim in shape)
    except ValueError as error:
        raise RecipeError(str(error), where=f"{where}.shape") from None
    dtype, modality = typed(table, "dtype", str, "float32", where), typed(table, "modality", str, None, where)
    if dtype not in DTYPES:
        raise RecipeError(f"dtype {dtype!r} is not supported", where=where, hint=nearest(dtype, DTYPES))
    if modality is not None and modality not in MODALITIES:
        raise RecipeError(f"modality {modality!r} is unknown", where=where, hint=nearest(modality, MODALITIES))
    rate = typed(table, "rate_hz", float, None, where)
    if rate is not None and rate <= 0:
        raise RecipeError(f"rate_hz is {rate!r}; expected a positive number", where=where)
    return TensorSpec(name, dims, dtype, modality, typed(table, "stream", str, name, where), rate)


def parse_input_flag(text: str) -> TensorSpec:
    """``name:1x3x224x224[:dtype[:modality]]``, the form of ``--input``."""
    name, _, rest = text.partition(":")
    shape, dtype, modality, *extra = [*rest.split(":"), "", ""][:4] if rest else ["", "", ""]
    if not name or not shape or (extra and extra[0]):
        raise UsageError(
            f"--input {text!r} is not NAME:SHAPE[:DTYPE[:MODALITY]]",
            hint="Example: --input image:1x3x224x224:float32:image",
        )
    dims = [int(d) if d.isdecimal() else d for d in shape.split("x")]
    table = {"shape": dims, "dtype": dtype or "float32", **({"modality": modality} if modality else {})}
    try:
        return make_tensor_spec(name, table, f"--input {name}")
    except RecipeError as error:
        raise UsageError(error.what, where=error.where, hint=error.hint) from None


def check_feed(feed: Feed, inputs: tuple[TensorSpec, ...]) -> None:
    """Raise :class:`FeedError` unless *feed* holds exactly the inputs, each of its dtype and shape."""
    names = {spec.name for spec in inputs}
    for name in feed:
        if name not in names:
            raise FeedError(f"there is no input {name!r}", hint=nearest(name, names))
    for spec in inputs:
        if spec.name not in feed:
            raise FeedError(f"input {spec.name!r} is missing", hint=f"The model takes: {', '.join(sorted(names))}.")
        array = feed[spec.name]
        if not isinstance(array, np.ndarray):
            raise FeedError(f"input {spec.name!r} is a {type(array).__name__}; expected a numpy array")
        if array.dtype != spec.dtype:
            raise FeedError(
                f"input {spec.name!r} has dtype {array.dtype}; expected {spec.dtype}",
                hint=f"Convert it with array.astype(np.{spec.dtype}).",
            )
        if not spec.fits(array.shape):
            raise FeedError(f"input {spec.name!r} has shape {shape_text(array.shape)}; expected {spec.shape_text}")
