"""Every candidate precision as a vendor artifact at its place: building, opening, measuring, storing.

At the workstation and on the device this is the same code. Numpy only; the vendor's library is the place's.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner, Settings
from edgefuse.bundle import sha256
from edgefuse.check import latency_json
from edgefuse.device import Device, is_machine_of
from edgefuse.errors import DeviceError, DeviceMismatchError, ToolchainError, left_out
from edgefuse.places import Place
from edgefuse.plan import Candidate
from edgefuse.precision import FLOAT, PRECISIONS, base_of
from edgefuse.progress import Steps
from edgefuse.spec import ModelSpec

BUSY = 0.1


@dataclass(frozen=True)
class Reach:
    """What a place can do for a device: ``found`` is the backend's capabilities, None where the device is not there;
    then ``why`` says what is missing and ``cure`` how to get it."""

    found: dict[str, Any] | None
    why: str = ""
    cure: str = ""


def reach(device: Device, place: Place) -> Reach:
    """Whether *device* is the machine at *place*.

    Raises :class:`MissingToolError` where it is and its vendor's library is not installed.
    """
    if device.backend != "tensorrt":
        if not is_machine_of(device, place.environment):
            return Reach(None, f"{place.name} is not {device.name}")
        return Reach(_with_precisions(device, place.capabilities(device.backend)))
    try:
        found = place.capabilities(device.backend)
    except DeviceError:
        raise
    except ToolchainError as error:
        return Reach(None, error.what, error.hint)
    there = str(found["compute_capability"])
    if device.compute_capability and device.compute_capability != there:
        wanted = f"{device.name} has compute capability {device.compute_capability}"
        return Reach(None, f"{wanted}; the {found['name']} of {place.name} has {there}")
    return Reach(_with_precisions(device, found))


def _with_precisions(device: Device, found: dict[str, Any]) -> dict[str, Any]:
    allowed = device.precisions or found["precisions"]
    return {**found, "precisions": [name for name in found["precisions"] if name in allowed]}


class Builder:
    """What every candidate of one compilation shares: the folder *work*, the golden samples to try, the device, and the
    *place* where it is. *artifacts* is where what was built stays if the work is interrupted; what is there already is
    not built again. *others* are further backends that this device can run (:func:`other_backends`)."""

    def __init__(
        self,
        work: Path,
        golden: Path,
        spec: ModelSpec,
        device: Device,
        place: Place,
        artifacts: Path | None = None,
        others: Sequence[str] = (),
    ) -> None:
        self.work, self.golden, self.spec, self.device, self.place = work, golden, spec, device, place
        self.artifacts = artifacts or work / "artifacts"
        self.backends = (device.backend, *others)
        self.threads: int = device.threads or place.environment["cores"]
        self._digests: dict[Path, str] = {}

    def on(self, backend: str) -> Builder:
        """The same for one backend."""
        device = replace(self.device, backend=backend)
        return Builder(self.work, self.golden, self.spec, device, self.place, self.artifacts)

    def build(
        self, graphs: Mapping[str, Path], precisions: Iterable[str], required: set[str], steps: Steps
    ) -> tuple[dict[str, Candidate], dict[str, str]]:
        """The candidates that those *graphs* and *precisions* make, by name, and why others failed; of a precision that
        is *required* it raises instead."""
        wanted = [
            self._candidate(backend, precision, graph, path)
            for backend in self.backends
            for graph, path in graphs.items()
            for precision in precisions
            if PRECISIONS[precision][0] == base_of(graph)
            and (backend == self.device.backend or PRECISIONS[precision][1] == "f32")
        ]
        built: dict[str, Candidate] = {}
        failed: dict[str, str] = {}
        with steps.bar("Building candidates", len({item.artifact for item in wanted})) as bar:
            for _, group in itertools.groupby(wanted, key=lambda item: item.artifact):
                built |= self._build_together(list(group), failed, required)
                bar.advance()
        return built, failed

    def _candidate(self, backend: str, precision: str, graph: str, onnx_path: Path) -> Candidate:
        settings = Settings(self.threads, PRECISIONS[precision][1], workspace_mib=self.device.workspace_mib)
        kind = "" if self.place.capabilities(backend)["one_artifact"] else f"-{precision}"
        folder = self.artifacts / f"{backend}-{graph}-{self._digest(onnx_path)[:12]}{kind}"
        foreign = backend != self.device.backend
        return Candidate(backend, precision, graph, onnx_path, folder, settings, foreign=foreign)

    def _build_together(
        self, group: list[Candidate], failed: dict[str, str], required: set[str]
    ) -> dict[str, Candidate]:
        """Candidates of one artifact in one child process; where it fails each has one of its own, to name the one."""
        if len(group) > 1:
            with contextlib.suppress(ToolchainError):
                self._build(group)
                return {item.name: item for item in group}
        built = {}
        for item in group:
            with left_out(item.name, failed, {item.name} if item.precision in required else ()):
                self._build([item])
                built[item.name] = item
        return built

    def _build(self, group: list[Candidate]) -> None:
        group = [item for item in group if not self._mark(item).exists()]
        if not group:
            return
        self.place.compile_artifact(group, self.golden, self.spec)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        for item in group:
            self._mark(item).touch()

    def _mark(self, candidate: Candidate) -> Path:
        """Is there once *candidate* has been built and tried, from exactly this graph and these settings."""
        digest = hashlib.sha256(self.key(candidate).encode()).hexdigest()[:16]
        return self.artifacts / f"{candidate.artifact.name}.{digest}.built"

    def other_threads(self, candidates: Iterable[Candidate], failed: dict[str, str]) -> dict[str, Candidate]:
        """*candidates* with other numbers of threads, where the device has a choice: each tried in a child process."""
        if self.device.threads or self.device.backend == "tensorrt":
            return {}
        counts = [count for count in dict.fromkeys([self.threads // 2, 1]) if 0 < count < self.threads]
        found = [item.with_threads(count) for item in candidates for count in counts]
        built: dict[str, Candidate] = {}
        for _, group in itertools.groupby(found, key=lambda item: item.artifact):
            built |= self._build_together(list(group), failed, set())
        return built

    def key(self, candidate: Candidate) -> str:
        """What a result of *candidate* belongs to: the graph's content, how it is executed, the vendor's version."""
        settings = json.dumps(asdict(candidate.settings), sort_keys=True)
        identity = json.dumps(self.place.capabilities(candidate.backend)["identity"], sort_keys=True)
        return f"{self._digest(candidate.onnx_path)} {settings} {candidate.backend} {identity}"

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = sha256(path)
        return self._digests[path]

    @contextlib.contextmanager
    def opened(
        self, candidates: Mapping[str, Candidate], failed: dict[str, str] | None = None
    ) -> Iterator[dict[str, Runner]]:
        """A runner for each candidate, closed at the end of the block. One that does not open (not enough memory for
        all of them, say) is left out and its reason put into *failed*, or raised where that is None."""
        with contextlib.ExitStack() as stack:
            runners: dict[str, Runner] = {}
            for name, candidate in candidates.items():
                with left_out(name, failed if failed is not None else {}, candidates if failed is None else ()):
                    runners[name] = self.place.open(candidate, self.spec)
                    stack.callback(runners[name].close)
            yield runners

    def measure(
        self,
        chosen: Candidate,
        baseline: Candidate | None,
        limit_ms: float | None,
        open_parts: Callable[[], Runner] | None = None,
    ) -> dict[str, Any]:
        """The report's ``latency``: float, compiled and compiled again, in turns in one process; what is compiled is
        the *chosen* candidate, or what *open_parts* opens."""
        arms = {"compiled": chosen, "again": chosen}
        if baseline is not None:
            arms = {FLOAT: baseline, **arms}
        with contextlib.ExitStack() as stack:
            runners = stack.enter_context(self.opened(arms))
            for name in ("compiled", "again") if open_parts is not None else ():
                runners[name] = open_parts()  # type: ignore[misc]
                stack.callback(runners[name].close)
            timed = self.place.measure(runners, self.golden)
            notes = [*getattr(runners["compiled"], "notes", ()), *self._busy_note(timed.others)]
            return {**latency_json(timed.latency, limit_ms), "notes": notes}

    def _busy_note(self, others: float) -> list[str]:
        """Latencies of a busy machine are not its own: what is fastest then may not be otherwise."""
        return [f"others used {others:.0%} of {self.place.name} while latency was measured"] if others > BUSY else []


def kernel_counts(artifact: Path) -> dict[str, int] | None:
    """How many kernels run in which precision, where the toolchain's inspector tells (TensorRT)."""
    path = artifact / "layers.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["counts"]) if path.exists() else None


def other_backends(device: Device, place: Place) -> list[str]:
    """Those of the device's further backends whose library is installed at *place*."""
    found = []
    for name in device.also:
        try:
            place.capabilities(name)
        except DeviceError:
            raise
        except ToolchainError:
            continue
        found.append(name)
    return found


def store_artifact(place: Place, folder: Path, chosen: Candidate, device: Device, p90_ms: float) -> dict[str, Any]:
    """Move the artifact that was *chosen* for *device* from *place* into the bundle *folder*; returns the manifest's
    ``artifact``. *p90_ms* is of one call."""
    identity = dict(place.capabilities(chosen.backend)["identity"])
    relative = Path("artifacts") / f"{chosen.backend}-{identity['version']}-{identity['arch']}"
    (folder / relative).mkdir(parents=True)
    place.fetch(chosen.artifact, folder / relative / "whole")
    return {
        "path": f"{relative.as_posix()}/whole",
        "backend": chosen.backend,
        **identity,
        "made_on": place.capabilities(device.backend)["name"],
        "settings": asdict(chosen.settings),
        "calls": "whole",
        "p90_ms": p90_ms,
        "parts": [],
        "lanes": [],
    }


def refuse_elsewhere(device: Device, here: Reach, place: Place) -> DeviceMismatchError:
    """The error of a command that must run on *device* and does not."""
    if place.is_here:
        where, what = "--require-device", f"{device.name} is not here: {here.why}"
        otherwise = "Run it on the device, or leave --require-device out to get a portable bundle."
    else:
        where, what = "--device", f"{device.name} is not there: {here.why}"
        if not is_machine_of(device, place.environment):
            what += f" but {place.environment['cpu']}, {place.environment['arch']}"
        otherwise = "Leave --target out to compile for the machine that --device names."
    cure = f"\n{here.cure}" if here.cure and is_machine_of(device, place.environment) else ""
    return DeviceMismatchError(what, where=where, hint=f"{otherwise}{cure}")
