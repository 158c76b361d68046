"""What can be chosen: the candidates of one compilation, and the choice among them. Standard library only.

:mod:`edgefuse.search` chooses, by measurement on the device that will run the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefuse.backends import Settings
from edgefuse.errors import DeviceMismatchError
from edgefuse.precision import FLOAT, base_of, possible_precisions


@dataclass(frozen=True)
class Candidate:
    """One way to run the whole model: a graph ("int8", "int8-residuals" …) in an ONNX file, how it is executed, and
    the folder of the backend's artifact of it, which several candidates may share. ``foreign``: its backend is not the
    device's first."""

    backend: str
    precision: str
    graph: str
    onnx_path: Path
    artifact: Path
    settings: Settings
    default_threads: bool = True
    foreign: bool = False

    @property
    def name(self) -> str:
        """Unique, for people: the precision, what sets its graph apart, and backend and threads where they
        are not the device's: "int8+bf16 residuals, 1 thread"."""
        variant = self.graph.removeprefix(base_of(self.graph)).replace("-", " ")
        threads = self.settings.threads
        count = "" if self.default_threads else f", {threads} thread{'' if threads == 1 else 's'}"
        where = f" on {self.backend}" if self.foreign else ""
        return f"{self.precision}{variant}{where}{count}"

    def with_threads(self, threads: int) -> Candidate:
        return replace(self, settings=replace(self.settings, threads=threads), default_threads=False)


@dataclass(frozen=True)
class Choice:
    """``name`` is the candidate's; ``candidates``: one row each with ``name``, ``precision``, ``graph``, ``threads``,
    ``drop``, ``sqnr_db``, ``samples``, ``p50_ms``, ``p90_ms``, ``passes``, or with ``failed``, the reason; empty where
    nothing was searched. ``ended_early``: the time budget, where it cut the search short."""

    name: str
    precision: str
    graph: str
    reason: str
    candidates: tuple[dict[str, Any], ...] = ()
    ended_early: str | None = None


def wanted_precisions(asked: str, supported: Sequence[str], device: str) -> list[str]:
    """The precisions to build: what was *asked* for, or for "auto" all that the device has. Float always comes first
    (it is the baseline); raises :class:`DeviceMismatchError` for one that the device lacks."""
    possible = possible_precisions(supported)
    if asked == "auto":
        return possible
    if asked not in possible:
        raise DeviceMismatchError(
            f"EdgeFuse does not offer {asked} for {device}; it offers {', '.join(possible)}",
            where="--precision",
            hint="Choose one of these, or --precision auto.",
        )
    return list(dict.fromkeys([FLOAT, asked]))


def as_asked(candidates: Mapping[str, Candidate], precision: str, graph: str = "") -> Choice:
    """What was asked for is not chosen; of several graphs in that precision it is *graph*."""
    fitting = [item for item in candidates.values() if item.precision == precision]
    chosen = next((item for item in fitting if item.graph == graph), fitting[0])
    return Choice(chosen.name, precision, chosen.graph, f"{precision}: as asked for")
