"""Device profiles (``devices/*.toml``, the user's ``--target``). Standard library only.

A profile may name a *family* (``devices/families/*.toml``): what its members share. The profile's keys win, limits and
sources add up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgefuse.errors import RecipeError, UsageError, nearest
from edgefuse.jetpack import Jetson, jetpack_named, jetpack_of
from edgefuse.machine import environment
from edgefuse.resources import shipped_names
from edgefuse.tables import check_keys, read_toml, subtable, typed

PRECISIONS = ("float", "tf32", "fp16", "bf16", "int8")
TEXTS = ("description", "match")
CHOICES = ("compute_capability", "check_capability", "jetpack")
FAMILY_KEYS = (
    *("backend", "also", "arch", "precisions", "threads", "workspace_mib", "sources", "limits"),
    *TEXTS,
    *CHOICES,
)
KEYS = (*FAMILY_KEYS, "name", "aliases", "family", "figures")


@dataclass(frozen=True)
class Figure:
    """A number, or a text such as "15, 25, MAXN_SUPER"; *source* says where it was read, or "unverified"."""

    value: float | str
    unit: str
    source: str


@dataclass(frozen=True)
class Device:
    """Where a model will run.

    ``threads`` 0: as many as the process may use where it is compiled. ``precisions`` is what a compile offers
    elsewhere; on the device itself, those of them that it has (empty: all that it has). ``match`` is a regular
    expression for the CPU's name as ``/proc/cpuinfo`` spells it, or for a Jetson's as its device tree does; "" finds
    any. ``alias`` is the name that the user asked by. ``check_capability`` is the nearest GPU architecture that
    TensorRT-RTX builds for without a GPU. ``jetpack`` and ``tensorrt`` are assumed, or for ``host``, found.
    ``workspace_mib`` is EdgeFuse's choice of scratch memory for TensorRT's kernels. ``limits`` are sentences for the
    user; ``limit_sources`` says of each who says so.
    """

    name: str
    backend: str
    description: str = ""
    arch: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    threads: int = 0
    sources: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    alias: str = ""
    match: str = ""
    compute_capability: str | None = None
    check_capability: str | None = None
    jetpack: str | None = None
    tensorrt: str | None = None
    workspace_mib: int = 1024
    figures: dict[str, Figure] = field(default_factory=dict, hash=False)
    limits: tuple[str, ...] = ()
    limit_sources: tuple[str, ...] = ()

    def target_json(self) -> dict[str, Any]:
        """The manifest's ``target``."""
        return {"name": self.name, "backend": self.backend, "compute_capability": self.compute_capability}


def device_names() -> list[str]:
    return sorted([*shipped_names("devices", "*.toml"), "host"])


def load_device(name: str) -> Device:
    """The profile called *name*, or whose alias that is; ``host`` is the profile that fits this machine."""
    files = shipped_names("devices", "*.toml")
    if name == "host":
        return host_of(environment())
    if name in files:
        return read_device(files[name])
    profiles = [read_device(path) for path in files.values()]
    for profile in profiles:
        if name in profile.aliases:
            return replace(profile, alias=name)
    known = [*device_names(), *(alias for profile in profiles for alias in profile.aliases)]
    raise UsageError(f"there is no device {name!r}", where="--target", hint=nearest(name, known))


def read_device(path: Path) -> Device:
    """The profile in *path*, with what its family says; raises :class:`RecipeError`."""
    own, where = read_toml(path), str(path)
    check_keys(own, KEYS, where)
    table = _with_family(own, path)
    limits = [_limit(item, where) for item in typed(table, "limits", list, [], where)]
    jetpack = typed(table, "jetpack", str, None, where)
    return Device(
        name=typed(table, "name", str, path.stem, where),
        backend=typed(table, "backend", str, "openvino", where),
        also=_texts(table, "also", where),
        arch=_texts(table, "arch", where),
        precisions=_precisions(table, where),
        threads=typed(table, "threads", int, 0, where),
        sources=_texts(table, "sources", where),
        aliases=_texts(table, "aliases", where),
        tensorrt=jetpack_named(jetpack, where).tensorrt if jetpack else None,
        workspace_mib=typed(table, "workspace_mib", int, Device.workspace_mib, where),
        figures={key: _figure(table["figures"], key, where) for key in subtable(table, "figures", where)},
        limits=tuple(text for text, _ in limits),
        limit_sources=tuple(source for _, source in limits),
        **{key: typed(table, key, str, "", where) for key in TEXTS},
        **{key: typed(table, key, str, None, where) for key in CHOICES},
    )


def _with_family(own: dict[str, Any], path: Path) -> dict[str, Any]:
    name = typed(own, "family", str, "", str(path))
    if not name:
        return own
    shared = path.parent / "families" / f"{name}.toml"
    table = read_toml(shared)
    check_keys(table, FAMILY_KEYS, str(shared))
    both = {
        key: [*typed(table, key, list, [], str(shared)), *typed(own, key, list, [], str(path))]
        for key in ("limits", "sources")
    }
    return {**table, **own, **both}


def _texts(table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = typed(table, key, list, [], where)
    if not all(isinstance(value, str) for value in values):
        raise RecipeError(f"{key} is {values!r}; expected a list of strings", where=where)
    return tuple(values)


def _precisions(table: dict[str, Any], where: str) -> tuple[str, ...]:
    for name in (found := _texts(table, "precisions", where)):
        if name not in PRECISIONS:
            raise RecipeError(f"there is no precision {name!r}", where=where, hint=nearest(name, PRECISIONS))
    return found


def _limit(item: Any, where: str) -> tuple[str, str]:
    if not isinstance(item, dict) or not item.get("text") or not item.get("source"):
        raise RecipeError(f"the limit {item!r} lacks its text or its source", where=where)
    check_keys(item, ("text", "source"), where)
    return typed(item, "text", str, "", where), typed(item, "source", str, "", where)


def _figure(figures: dict[str, Any], key: str, where: str) -> Figure:
    here = f"{where}, figures.{key}"
    table = subtable(figures, key, where)
    check_keys(table, ("value", "unit", "source"), here)
    value, source = table.get("value"), typed(table, "source", str, "", here)
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not source:
        raise RecipeError(f"value {value!r}, source {source!r}; expected a number or text, and its source", where=here)
    return Figure(value, typed(table, "unit", str, "", here), source)


def host_of(machine: Mapping[str, Any]) -> Device:
    """The profile, under the name ``host``, of the *machine* whose :func:`edgefuse.machine.environment` this is: a
    Jetson's (its memory tells modules of one name apart), elsewhere the generic CPU profile of its architecture."""
    jetson = Jetson(machine["board"], machine["l4t"]) if "board" in machine else None
    profile = jetson_profile(jetson.model, machine["memory_gib"]) if jetson else None
    if jetson and profile:
        found = jetpack_of(jetson.l4t)
        return replace(
            profile,
            name="host",
            aliases=(),
            description=f"this machine: {jetson.model}",
            jetpack=found.jetpack if found else None,
            tensorrt=found.tensorrt if found else None,
        )
    generic = load_device("intel-cpu" if machine["arch"] in ("x86_64", "AMD64") else "arm-cpu")
    unknown = f"; its board, {jetson.model}, has no profile: name one of jetson-*" if jetson else ""
    description = f"this machine: {machine['cpu']}{unknown}"
    return replace(generic, name="host", description=description, arch=(machine["arch"],))


def jetson_profile(model: str, memory: float) -> Device | None:
    """Of the profiles whose ``match`` finds the device tree's *model*, the smallest that has *memory* GiB."""
    profiles = [read_device(path) for path in shipped_names("devices", "jetson-*.toml").values()]
    fitting = sorted((profile for profile in profiles if re.search(profile.match, model)), key=_memory)
    return next((profile for profile in fitting if memory <= _memory(profile)), fitting[-1] if fitting else None)


def _memory(profile: Device) -> float:
    figure = profile.figures.get("memory_gb")
    return float(figure.value) if figure and not isinstance(figure.value, str) else math.inf


def is_machine_of(device: Device, machine: Mapping[str, Any]) -> bool:
    """Whether the architecture and the name (a Jetson's board, else the CPU) of the *machine* whose
    :func:`edgefuse.machine.environment` this is are the profile's.

    The processor's side only: whether a profile's GPU is there is its backend's to say.
    """
    if device.arch and machine["arch"] not in device.arch:
        return False
    return re.search(device.match, machine.get("board") or machine["cpu"]) is not None


def meaning(device: Device) -> str:
    """What the alias that the user asked by stands for, as a sentence; "" when the user asked by name."""
    return f"{device.alias} means {device.name}, the family's default" if device.alias else ""


def assumed(device: Device) -> str:
    """Which versions the profile takes for granted, or ``host`` has, as a sentence; "" when none."""
    if not device.jetpack:
        return ""
    row = jetpack_named(device.jetpack, device.name)
    verb = "has" if device.name == "host" else "assumes"
    return f"{verb} JetPack {row.jetpack} (TensorRT {row.tensorrt}, CUDA {row.cuda}, Python {row.python})"
