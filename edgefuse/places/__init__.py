"""The machine that will run the model: where candidates are built, opened, measured, and whence the chosen one is
taken. The exporters and the quantizer are elsewhere: at the workstation.

:class:`Here` is this machine (:mod:`edgefuse.places.here`), :class:`There` a connected device
(:mod:`edgefuse.places.there`), which does the same with the same code over there. Numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgefuse.backends import Runner, Settings
from edgefuse.latency import Latency
from edgefuse.part_times import PartSet, PartTime
from edgefuse.plan import Candidate
from edgefuse.spec import ModelSpec


@dataclass(frozen=True)
class Timed:
    """Latencies by runner, and ``others``: the share of the machine's processors that others used meanwhile."""

    latency: dict[str, Latency]
    others: float


class Place(Protocol):
    """Folders of artifacts are named by paths of this machine, wherever they are: what was built under a path is opened
    and fetched by it. Files to build from and samples lie at their paths on this machine."""

    @property
    def name(self) -> str:
        """For people: "this machine"."""

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, where what was built is there again after an interruption."""

    @property
    def environment(self) -> dict[str, Any]:
        """:func:`edgefuse.machine.environment`, as it is there."""

    def state(self) -> dict[str, Any]:
        """:func:`edgefuse.device_state.read_state` there."""

    def capabilities(self, backend: str) -> dict[str, Any]:
        """``version``, ``identity``, ``one_artifact`` and the capabilities of *backend* there. Raises
        ``ToolchainError`` where it is not installed."""

    def compile_artifact(self, group: Sequence[Candidate], golden: Path, spec: ModelSpec) -> None:
        """Build the one artifact of *group*, unless it is there, and try each with a few samples of *golden*; in a
        process of its own, which may crash. Raises ``ToolchainError``."""

    def compile_parts(self, parts: PartSet, onnx_paths: Mapping[str, Path], golden: Path) -> None:
        """The same for all *parts* of a graph, by name."""

    def open(self, candidate: Candidate, spec: ModelSpec) -> Runner:
        """The candidate's artifact. Raises ``ToolchainError``."""

    def open_parts(
        self, parts: PartSet, settings: Mapping[str, Settings], lanes: Sequence[Sequence[str]] = ()
    ) -> Runner:
        """The parts put together, each with its *settings*; several *lanes* run at the same time."""

    def measure(self, runners: Mapping[str, Runner], samples: Path, **how: Any) -> Timed:
        """:func:`edgefuse.latency.measure`, with the first feeds of *samples*, in one process there."""

    def measure_parts(self, sets: Sequence[PartSet], samples: Path) -> list[PartTime]:
        """:func:`edgefuse.part_times.measure_parts`, with the first feeds of *samples*."""

    def fetch(self, artifact: Path, folder: Path) -> None:
        """Move what was built under *artifact* to *folder* on this machine."""
