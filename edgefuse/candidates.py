"""Every candidate precision as a vendor artifact on this machine: building, opening, measuring, storing.

The vendor's compilation and first inference run in a child process, which may crash. Numpy and one vendor library: at
the workstation and on the device this is the same code.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgefuse import child
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.bundle import sha256
from edgefuse.check import latency_json
from edgefuse.device import Device, is_this_machine
from edgefuse.errors import DeviceMismatchError, ToolchainError, left_out
from edgefuse.golden import read_golden
from edgefuse.latency import measure
from edgefuse.machine import ProcessorTime, processor_time
from edgefuse.plan import Candidate
from edgefuse.precision import FLOAT, PRECISIONS, base_of
from edgefuse.progress import Steps
from edgefuse.spec import Feed, ModelSpec

LATENCY_FEEDS = 16
BUSY = 0.1
BUILD_TIMEOUT_S = 3600.0
"""A large engine takes minutes on a desktop GPU and can take half an hour on an Orin Nano."""


@dataclass(frozen=True)
class Reach:
    """What this machine can do for a device: ``found`` is the backend's capabilities, None where the device is not
    here; then ``why`` says what is missing and ``cure`` how to get it."""

    found: dict[str, Any] | None
    why: str = ""
    cure: str = ""


def reach(device: Device) -> Reach:
    """Whether *device* is this machine. The vendor is asked in a child process.

    Raises :class:`MissingToolError` where this is the device and its vendor's library is not installed.
    """
    if device.backend != "tensorrt":
        if not is_this_machine(device):
            return Reach(None, f"this machine is not {device.name}")
        return Reach(_with_precisions(device, ask_backend(device.backend)))
    try:
        found = ask_backend(device.backend)
    except ToolchainError as error:
        return Reach(None, error.what, error.hint)
    here = str(found["compute_capability"])
    if device.compute_capability and device.compute_capability != here:
        wanted = f"{device.name} has compute capability {device.compute_capability}"
        return Reach(None, f"{wanted}; this machine's {found['name']} has {here}")
    return Reach(_with_precisions(device, found))


def ask_backend(backend: str) -> dict[str, Any]:
    """The backend's version, identity and capabilities on this machine, from a child process."""
    what = f"Asking {backend} for its devices"
    found: dict[str, Any] = child.call("edgefuse.probe:capabilities", {"backend": backend}, what=what, timeout_s=120)
    return found


def _with_precisions(device: Device, found: dict[str, Any]) -> dict[str, Any]:
    allowed = device.precisions or found["precisions"]
    return {**found, "precisions": [name for name in found["precisions"] if name in allowed]}


class Builder:
    """What every candidate of one compilation shares: the folder *work*, the golden samples to try, the device.
    *artifacts* is where what was built stays if the work is interrupted; what is there already is not built again.
    *others* are further backends that this device can run (:func:`other_backends`)."""

    def __init__(
        self,
        work: Path,
        golden: Path,
        spec: ModelSpec,
        device: Device,
        artifacts: Path | None = None,
        others: Sequence[str] = (),
    ) -> None:
        self.work, self.golden, self.spec, self.device = work, golden, spec, device
        self.artifacts = artifacts or work / "artifacts"
        self.backend, self.backends = load_backend(device.backend), (device.backend, *others)
        self._digests: dict[Path, str] = {}

    def on(self, backend: str) -> Builder:
        """The same for one backend."""
        return Builder(self.work, self.golden, self.spec, replace(self.device, backend=backend), self.artifacts)

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
        settings = Settings(
            self.device.resolve_threads(), PRECISIONS[precision][1], workspace_mib=self.device.workspace_mib
        )
        kind = "" if load_backend(backend).ONE_ARTIFACT else f"-{precision}"
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
        first, group = group[0], [item for item in group if not self._mark(item).exists()]
        if not group:
            return
        if not any(self.artifacts.glob(f"{first.artifact.name}.*.built")):  # half of one
            shutil.rmtree(first.artifact, ignore_errors=True)
        first.artifact.mkdir(parents=True, exist_ok=True)
        arguments = {
            "backend": first.backend,
            "onnx_path": str(first.onnx_path),
            "out": str(first.artifact),
            "golden": str(self.golden),
            "spec": self.spec.to_json(),
            "settings": [asdict(item.settings) for item in group],
        }
        what = f"{first.backend}, compiling the {' and '.join(item.name for item in group)} graph,"
        child.call("edgefuse.probe:compile_artifact", arguments, what=what, timeout_s=BUILD_TIMEOUT_S)
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
        usable = self.device.resolve_threads()
        counts = [count for count in dict.fromkeys([usable // 2, 1]) if 0 < count < usable]
        found = [item.with_threads(count) for item in candidates for count in counts]
        built: dict[str, Candidate] = {}
        for _, group in itertools.groupby(found, key=lambda item: item.artifact):
            built |= self._build_together(list(group), failed, set())
        return built

    def key(self, candidate: Candidate) -> str:
        """What a result of *candidate* belongs to: the graph's content, how it is executed, the vendor's version."""
        settings = json.dumps(asdict(candidate.settings), sort_keys=True)
        identity = json.dumps(load_backend(candidate.backend).identity(), sort_keys=True)
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
                    backend = load_backend(candidate.backend)
                    runners[name] = backend.open(candidate.artifact, self.spec, candidate.settings)
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
            before = processor_time()
            found = latency_json(measure(runners, first_feeds(self.golden)), limit_ms)
            notes = [*getattr(runners["compiled"], "notes", ()), *_busy_note(before, processor_time())]
            return {**found, "notes": notes}


def _busy_note(before: ProcessorTime | None, after: ProcessorTime | None) -> list[str]:
    """Latencies of a busy machine are not its own: what is fastest then may not be otherwise."""
    others = after.others_since(before) if before and after else 0.0
    return [f"others used {others:.0%} of this machine while latency was measured"] if others > BUSY else []


def kernel_counts(artifact: Path) -> dict[str, int] | None:
    """How many kernels run in which precision, where the toolchain's inspector tells (TensorRT)."""
    path = artifact / "layers.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["counts"]) if path.exists() else None


def first_feeds(golden: Path) -> list[Feed]:
    """The feeds that latency is measured with."""
    return [sample.feed for sample in itertools.islice(read_golden(golden), LATENCY_FEEDS)]


def other_backends(device: Device) -> list[str]:
    """Those of the device's further backends whose library is installed here."""
    found = []
    for name in device.also:
        with contextlib.suppress(ToolchainError):
            ask_backend(name)
            found.append(name)
    return found


def store_artifact(folder: Path, chosen: Candidate, found: Mapping[str, Any], p90_ms: float) -> dict[str, Any]:
    """Move the chosen artifact into the bundle *folder* (its work folder is there too); returns the manifest's
    ``artifact``. *p90_ms* is of one call."""
    identity = dict(load_backend(chosen.backend).identity() if chosen.foreign else found["identity"])
    relative = Path("artifacts") / f"{chosen.backend}-{identity['version']}-{identity['arch']}"
    (folder / relative).mkdir(parents=True)
    shutil.move(chosen.artifact, folder / relative / "whole")  # the cache may be on another disk
    return {
        "path": f"{relative.as_posix()}/whole",
        "backend": chosen.backend,
        **identity,
        "made_on": found["name"],
        "settings": asdict(chosen.settings),
        "calls": "whole",
        "p90_ms": p90_ms,
        "parts": [],
        "lanes": [],
    }


def refuse_elsewhere(device: Device, here: Reach) -> DeviceMismatchError:
    """The error of a command that must run on *device* and does not."""
    otherwise = "Run it on the device, or leave --require-device out to get a portable bundle."
    return DeviceMismatchError(
        f"{device.name} is not here: {here.why}",
        where="--require-device",
        hint=f"{otherwise}\n{here.cure}" if here.cure and is_this_machine(device) else otherwise,
    )
