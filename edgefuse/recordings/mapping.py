"""Which topic of a recording feeds which input, and what is done to its messages on the way: the recipe's
``[recording.INPUT]`` tables, which the bundle carries. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgefuse.errors import RecipeError, nearest
from edgefuse.tables import check_keys, typed

LABEL = "label"
"""In place of an input's name: what the model should answer."""

KEYS = ("topic", "field", "transforms", "tolerance_ms")


@dataclass(frozen=True)
class Step:
    """One transform: its name in :data:`edgefuse.transforms.TRANSFORMS`, and the value that the recipe gives it."""

    name: str
    value: Any


@dataclass(frozen=True)
class Source:
    """Where an input's arrays come from.

    ``topic``         the recording's name for it: a ROS or MCAP topic, a LeRobot feature, a dataset of an HDF5 file
    ``field``         what of a message is taken: dotted paths (``"twist.linear.x"``), whose values are put one behind
                      the other; empty: what a message of that type is made for (an image's pixels, a scan's ranges …)
    ``transforms``    applied in order
    ``tolerance_ms``  in a calibration sample data may be older than the sample by at most this; None: until the
                      stream's policy calls them stale. Also how far apart the stamps of one delivery may be, where
                      the stream's inputs have several topics; None: half a period of the declared rate, or 10 ms
    """

    topic: str
    field: tuple[str, ...] = ()
    transforms: tuple[Step, ...] = ()
    tolerance_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        steps = [{step.name: step.value} for step in self.transforms]
        return {
            "topic": self.topic,
            "field": list(self.field),
            "transforms": steps,
            "tolerance_ms": self.tolerance_ms,
        }


Sources = Mapping[str, Source]
"""Input name, or ``LABEL``, to where it comes from."""


def read_sources(tables: Mapping[str, Any], where: str) -> dict[str, Source]:
    """``[recording]`` of a recipe, or the manifest's ``recording``; raises :class:`RecipeError` that names the key."""
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise RecipeError(
                f"{name!r} is {table!r}; expected a table", where=where, hint=f"Write [recording.{name}]."
            )
    return {name: _read_source(table, f"{where}.{name}") for name, table in tables.items()}


def _read_source(table: Mapping[str, Any], where: str) -> Source:
    check_keys(table, KEYS, where)
    given = {key: value for key, value in table.items() if value is not None}
    topic, field = typed(given, "topic", str, None, where), given.get("field", [])
    if not topic:
        raise RecipeError("'topic' is missing", where=where, hint='Example: topic = "/camera/image_raw"')
    fields = [field] if isinstance(field, str) else field
    if not isinstance(fields, list) or not all(isinstance(item, str) and item for item in fields):
        raise RecipeError(f"field is {field!r}; expected a string or a list of them", where=where)
    tolerance_ms = typed(given, "tolerance_ms", float, None, where)
    if tolerance_ms is not None and tolerance_ms <= 0:
        raise RecipeError(f"tolerance_ms is {tolerance_ms:g}; expected more than 0", where=where)
    steps = typed(given, "transforms", list, [], where)
    return Source(topic, tuple(fields), tuple(_read_steps(steps, f"{where}.transforms")), tolerance_ms)


def _read_steps(steps: Iterable[Any], where: str) -> Iterable[Step]:
    for step in steps:
        if not isinstance(step, Mapping) or len(step) != 1:
            raise RecipeError(f"{step!r} is no transform", where=where, hint="Write a list of { NAME = VALUE }.")
        yield from (Step(str(name), value) for name, value in step.items())


def check_sources(sources: Sources, inputs: Iterable[str], where: str) -> None:
    """Every source must be for an input that there is, or the label."""
    known = (*inputs, LABEL)
    for name in sources:
        if name not in known:
            raise RecipeError(f"the model has no input {name!r}", where=where, hint=nearest(name, known))
