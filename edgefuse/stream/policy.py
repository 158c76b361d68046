"""What a robot wants of each sensor's stream: how old its data may get, and what happens then. Standard library
and numpy only.

The recipe's ``[streams.NAME]`` tables hold the model owner's choice, the bundle carries it, and
``model.stream(policy)`` overrides single keys of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from edgefuse.errors import RecipeError, UsageError, nearest
from edgefuse.spec import DimRange, ModelSpec, TensorSpec
from edgefuse.tables import check_keys, typed

KINDS = ("latest", "window", "latched")
ON_STALE = ("fail", "hold", "fallback")
GAPS = ("hold", "zero", "restart")


@dataclass(frozen=True)
class StreamPolicy:
    """One stream's rules.

    ``kind``            "latest": the newest delivery is used (camera, LiDAR). "window": deliveries are samples that a
                        ring buffer collects (IMU, audio). "latched": delivered once, valid until the next (a goal,
                        intrinsics); it has no age limit
    ``max_age_ms``      data older than this, at the time of the step, are stale; None: five periods of the declared
                        rate, but at least 100 ms; never where no rate is declared
    ``on_stale``        "fail": no outputs. "hold": the old data go on being used, and the result says so.
                        "fallback": ``fallback`` takes their place
    ``required``        whether there are no outputs before the stream has delivered; otherwise ``fallback`` stands in,
                        also for old data unless ``on_stale`` says "hold"
    ``fallback``        the number that fills the stream's inputs when there are no data
    ``offset_ms``       added to every stamp: -25 for a driver that stamps 25 ms after the exposure
    ``priority``        where a deadline is near, streams of low priority are held first
    ``check_finite``    whether a delivery with NaN or infinity is dropped
    ``max_early_ms``    clocks differ: a stamp up to this much after the step's time is taken as of now
    ``reset_after_ms``  a stamp that lies back by more is a stream that starts again (a looped recording), by less is
                        a late delivery, which is dropped

    For windows: ``axis`` of the input along which time runs; ``sample_hz``, without which gaps are not seen; and
    ``gap``, what stands for samples that were lost: "hold" repeats the last one, "zero" puts zeros, "restart" fills
    the window anew. A gap as long as the window always restarts it.
    """

    kind: str = "latest"
    max_age_ms: float | None = None
    on_stale: str = "fail"
    required: bool = True
    fallback: float = 0.0
    offset_ms: float = 0.0
    priority: int = 0
    check_finite: bool = True
    max_early_ms: float = 5.0
    reset_after_ms: float = 1000.0
    axis: int = 1
    sample_hz: float | None = None
    gap: str = "hold"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


KEYS = {field.name: field for field in fields(StreamPolicy)}
_TYPES = {"str": str, "int": int, "bool": bool, "float": float, "float | None": float}
_CHOICES = {"kind": KINDS, "on_stale": ON_STALE, "gap": GAPS}
_POSITIVE = ("max_age_ms", "sample_hz", "reset_after_ms")
_MILLISECONDS = ("max_age_ms", "offset_ms", "max_early_ms", "reset_after_ms")
LONGEST_MS = 2**63 / 1e6
"""All the time that stamps can tell apart."""
SLOWEST_HZ, FASTEST_HZ = 1e-6, 1e9
"""The fastest has one sample a nanosecond, which is the finest stamp."""
_WINDOW_ONLY = ("axis", "sample_hz", "gap")


def read_policy(table: Mapping[str, Any], where: str, base: StreamPolicy | None = None) -> StreamPolicy:
    """The checked policy that *table* describes, on top of *base*; raises :class:`RecipeError` that names the key.
    None is "not given", as JSON has it."""
    check_keys(table, KEYS, where)
    given = {
        name: typed(table, name, _TYPES[str(KEYS[name].type)], None, where)
        for name, value in table.items()
        if value is not None
    }
    if given.get("required") is False and (base or StreamPolicy()).on_stale == "fail":
        given = {"on_stale": "fallback", **given}
    found = replace(base or StreamPolicy(), **given)
    for name, choices in _CHOICES.items():
        if getattr(found, name) not in choices:
            raise RecipeError(f"{name} is {getattr(found, name)!r}", where=where, hint=nearest(given[name], choices))
    for name in _POSITIVE:
        value = getattr(found, name)
        if value is not None and value <= 0:
            raise RecipeError(f"{name} is {value:g}; expected more than 0", where=where)
    if found.max_early_ms < 0:
        raise RecipeError(f"max_early_ms is {found.max_early_ms:g}; expected 0 or more", where=where)
    for name in _MILLISECONDS:
        value = getattr(found, name)
        if value is not None and abs(value) > LONGEST_MS:
            raise RecipeError(f"{name} is {value:g}; expected at most {LONGEST_MS:g}", where=where)
    if found.sample_hz is not None and not SLOWEST_HZ <= found.sample_hz <= FASTEST_HZ:
        expected = f"expected {SLOWEST_HZ:g} to {FASTEST_HZ:g}"
        raise RecipeError(f"sample_hz is {found.sample_hz:g}; {expected}", where=where)
    _refuse_pointless(given, found, where)
    return found


def _refuse_pointless(given: Mapping[str, Any], found: StreamPolicy, where: str) -> None:
    """Keys that have no effect were meant otherwise."""
    if found.kind != "window":
        for name in _WINDOW_ONLY:
            if name in given and given[name] != KEYS[name].default:
                raise RecipeError(f"{name} is for windows, and kind is {found.kind!r}", where=where)
    if found.kind == "latched" and found.max_age_ms is not None:
        raise RecipeError("max_age_ms is given, and what is latched does not age", where=where)


PERIODS, SHORTEST_MS = 5, 100.0
"""Fewer lost deliveries are everyday life on a robot's bus; 100 ms are what watchdogs of drives commonly wait."""


def age_limit_ms(policy: StreamPolicy, inputs: tuple[TensorSpec, ...]) -> float | None:
    """The age above which the stream's data are stale; None: never."""
    if policy.kind == "latched" or policy.max_age_ms is not None:
        return policy.max_age_ms
    rates = [item.rate_hz for item in inputs if item.rate_hz]
    return max(PERIODS * 1e3 / min(rates), SHORTEST_MS) if rates else None


def sensor_inputs(spec: ModelSpec, state: Mapping[str, str]) -> dict[str, tuple[TensorSpec, ...]]:
    """Stream name to the inputs that it delivers; not those that carry the model's own *state*."""
    found: dict[str, tuple[TensorSpec, ...]] = {}
    for item in spec.inputs:
        if item.name not in state:
            name = item.stream or item.name
            found[name] = (*found.get(name, ()), item)
    return found


def check_policy(name: str, policy: StreamPolicy, inputs: tuple[TensorSpec, ...], where: str) -> None:
    """Raise :class:`RecipeError` where *policy* does not fit the stream's *inputs*."""
    if not policy.required and policy.on_stale == "fail":
        raise RecipeError(
            "the stream is not required, and its old data would fail every step",
            where=where,
            hint='Say what stands in for them: on_stale = "fallback" or "hold".',
        )
    if any(item.dynamic for item in inputs) and (policy.on_stale == "fallback" or not policy.required):
        raise RecipeError(f"the stream {name!r} has a dynamic shape, so it can have no fallback", where=where)
    for item in inputs:
        if not _can_hold(item.dtype, policy.fallback):
            raise RecipeError(f"fallback is {policy.fallback:g}, and {item.name!r} is {item.dtype}", where=where)
    if policy.kind != "window":
        return
    if len(inputs) > 1:
        names = ", ".join(item.name for item in inputs)
        raise RecipeError(f"a window has one input; the stream {name!r} has {names}", where=where)
    shape = inputs[0].shape
    if not 0 <= policy.axis < len(shape):
        raise RecipeError(f"axis is {policy.axis}; the input {inputs[0].name!r} is {inputs[0].shape_text}", where=where)
    if any(isinstance(dim, DimRange) for dim in shape):
        raise RecipeError(f"a window needs a fixed shape; {inputs[0].name!r} is {inputs[0].shape_text}", where=where)


def _can_hold(dtype: str, number: float) -> bool:
    """Whether *number* is one of *dtype*; of floats, the nearest one is."""
    if dtype == "bool":
        return number in (0.0, 1.0)
    if dtype.startswith("float"):
        return abs(number) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return number == int(number) and limits.min <= int(number) <= limits.max


def read_policies(tables: Mapping[str, Any], where: str) -> dict[str, StreamPolicy]:
    """``[streams]`` of a recipe, or the manifest's ``streams``."""
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise RecipeError(f"{name!r} is {table!r}; expected a table", where=where, hint=f"Write [streams.{name}].")
    return {name: read_policy(table, f"{where}.{name}") for name, table in tables.items()}


def check_policies(
    policies: Mapping[str, StreamPolicy], streams: Mapping[str, tuple[TensorSpec, ...]], where: str
) -> None:
    """Every policy must be for a stream that there is, and fit it."""
    for name, policy in policies.items():
        if name not in streams:
            raise RecipeError(f"the model has no stream {name!r}", where=where, hint=nearest(name, streams))
        check_policy(name, policy, streams[name], f"{where}.{name}")


def override(
    policies: Mapping[str, StreamPolicy],
    changes: Mapping[str, StreamPolicy | Mapping[str, Any]] | None,
    streams: Mapping[str, tuple[TensorSpec, ...]],
) -> dict[str, StreamPolicy]:
    """A policy for every stream: the bundle's, with the caller's *changes*; raises :class:`UsageError`."""
    found = {name: policies.get(name, StreamPolicy()) for name in streams}
    try:
        if not isinstance(changes, Mapping | None):
            raise RecipeError(f"is {changes!r}; expected a dict of stream name to policy", where="policy")
        for name, change in (changes or {}).items():
            if isinstance(change, StreamPolicy):
                found[name] = read_policy(change.to_json(), f"policy[{name!r}]")  # made by hand, it is not checked yet
            elif isinstance(change, Mapping):
                found[name] = read_policy(change, f"policy[{name!r}]", found.get(name))
            else:
                raise RecipeError(f"is {change!r}; expected a dict or a StreamPolicy", where=f"policy[{name!r}]")
        check_policies(found, streams, "policy")
    except RecipeError as error:
        raise UsageError(error.what, where=error.where, hint=error.hint) from None
    return found
