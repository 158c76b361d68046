"""This machine, which compiles for itself: at the workstation and on the device. Numpy and one vendor library.

The vendor's compilation and first inference run in a child process, which may crash.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgefuse import child
from edgefuse.assembled import Assembled
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.device_state import read_state
from edgefuse.golden import first_feeds
from edgefuse.latency import measure
from edgefuse.machine import environment, processor_time
from edgefuse.part_times import PartSet, PartTime, measure_parts, open_assembled
from edgefuse.places import Timed
from edgefuse.plan import Candidate
from edgefuse.spec import ModelSpec

ASK_TIMEOUT_S = 120.0
BUILD_TIMEOUT_S = 3600.0
"""A large engine takes minutes on a desktop GPU and can take half an hour on an Orin Nano."""


class Here:
    """A :class:`~edgefuse.places.Place`; what a backend has said of itself is not asked again."""

    name = "this machine"
    is_here = True
    state = staticmethod(read_state)

    def __init__(self) -> None:
        self._capabilities: dict[str, dict[str, Any]] = {}

    @property
    def environment(self) -> dict[str, Any]:
        return environment()

    def capabilities(self, backend: str) -> dict[str, Any]:
        if backend not in self._capabilities:
            what = f"Asking {backend} for its devices"
            self._capabilities[backend] = child.call(
                "edgefuse.probe:capabilities", {"backend": backend}, what=what, timeout_s=ASK_TIMEOUT_S
            )
        return self._capabilities[backend]

    def compile_artifact(self, group: Sequence[Candidate], golden: Path, spec: ModelSpec) -> None:
        first = group[0]
        first.artifact.parent.mkdir(parents=True, exist_ok=True)
        arguments = {
            "backend": first.backend,
            "onnx_path": str(first.onnx_path),
            "out": str(first.artifact),
            "golden": str(golden),
            "spec": spec.to_json(),
            "settings": [asdict(item.settings) for item in group],
        }
        what = f"{first.backend}, compiling the {' and '.join(item.name for item in group)} graph,"
        child.call("edgefuse.probe:compile_artifact", arguments, what=what, timeout_s=BUILD_TIMEOUT_S)

    def compile_parts(self, parts: PartSet, onnx_paths: Mapping[str, Path], golden: Path) -> None:
        parts.folder.mkdir(parents=True)
        arguments = {
            "backend": parts.backend,
            "onnx_paths": {name: str(path) for name, path in onnx_paths.items()},
            "out": str(parts.folder),
            "golden": str(golden),
            "spec": parts.spec.to_json(),
            "partition": parts.partition.to_json(),
            "settings": [asdict(item) for item in parts.ways],
        }
        what = f"{parts.backend}, compiling the parts of the {parts.graph} graph,"
        child.call("edgefuse.probe:compile_parts", arguments, what=what, timeout_s=BUILD_TIMEOUT_S)

    def open(self, candidate: Candidate, spec: ModelSpec) -> Runner:
        return load_backend(candidate.backend).open(candidate.artifact, spec, candidate.settings)

    def open_parts(
        self, parts: PartSet, settings: Mapping[str, Settings], lanes: Sequence[Sequence[str]] = ()
    ) -> Assembled:
        return open_assembled(parts, settings, lanes)

    def measure(self, runners: Mapping[str, Runner], samples: Path, **how: Any) -> Timed:
        before = processor_time()
        found = measure(runners, first_feeds(samples), **how)
        after = processor_time()
        return Timed(found, after.others_since(before) if before and after else 0.0)

    def measure_parts(self, sets: Sequence[PartSet], samples: Path) -> list[PartTime]:
        return measure_parts(sets, first_feeds(samples))

    def fetch(self, artifact: Path, folder: Path) -> None:
        shutil.move(artifact, folder)  # the cache may be on another disk
