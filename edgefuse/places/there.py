"""A connected device: what :mod:`edgefuse.places.here` does, done over there by the jobs of
:mod:`edgefuse.worker.jobs.candidates`. Standard library and numpy.

Graphs and samples are sent once; artifacts stay on the device, but for the one that is fetched. Answers come over the
connection, so that gates are the same code as on this machine; latency is measured there.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgefuse.backends import Runner, Settings
from edgefuse.errors import CrashError
from edgefuse.latency import Latency
from edgefuse.part_times import PartSet, PartTime
from edgefuse.places import Timed
from edgefuse.places.here import ASK_TIMEOUT_S, BUILD_TIMEOUT_S
from edgefuse.places.sent import Sent
from edgefuse.plan import Candidate
from edgefuse.progress import Steps
from edgefuse.remote import RemoteDevice, connect
from edgefuse.spec import Array, Feed, ModelSpec
from edgefuse.worker.wire import Answer

TIMEOUT_S = 7200.0
"""A model of seconds a call is measured for more than half an hour."""

GRACE_S = 60.0
"""The device's own limit on a build ends first: it names what hangs."""

AT_ONCE = 32
"""Samples that are answered in one request."""


@contextlib.contextmanager
def connected_place(address: str, steps: Steps | None = None) -> Iterator[There]:
    """The device at *address* (``--device``), locked for us in the block. Raises :class:`DeviceError`."""
    with connect(address, steps=steps) as device:
        yield There(device)


class There:
    """A :class:`~edgefuse.places.Place`. What is built lies in the connection's folder there, and goes with it."""

    is_here = False
    _all = itertools.count(1)

    def __init__(self, device: RemoteDevice) -> None:
        """Made by :func:`connected_place`."""
        self.name = f"the device ({device.address.text.partition('?')[0]})"
        self.environment: dict[str, Any] = device.about["environment"]
        self.sent, self.closed = Sent(), list[int]()
        self._device, self._folder = device, f"candidates-{next(self._all)}"
        self._capabilities: dict[str, dict[str, Any]] = {}
        self._files: dict[Path, str] = {}

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._device.ask("state", {}, what="Reading the device's state").value
        return found

    def capabilities(self, backend: str) -> dict[str, Any]:
        if backend not in self._capabilities:
            what, limit_s = f"Asking {backend} for its devices", ASK_TIMEOUT_S + GRACE_S
            self._capabilities[backend] = self.ask("capabilities", {"backend": backend}, what, timeout_s=limit_s).value
        return self._capabilities[backend]

    def compile_artifact(self, group: Sequence[Candidate], golden: Path, spec: ModelSpec) -> None:
        arguments = {
            "onnx": self._graph(group[0].onnx_path),
            "group": [self._candidate(item) for item in group],
            "golden": self.file(golden),
            "spec": spec.to_json(),
        }
        self.ask("compile_artifact", arguments, f"Compiling {group[0].name}", timeout_s=BUILD_TIMEOUT_S + GRACE_S)

    def compile_parts(self, parts: PartSet, onnx_paths: Mapping[str, Path], golden: Path) -> None:
        arguments = {
            "onnx": {name: self._graph(path) for name, path in onnx_paths.items()},
            "parts": self._part_set(parts),
            "golden": self.file(golden),
        }
        what = f"Compiling the parts of the {parts.graph} graph"
        self.ask("compile_parts", arguments, what, timeout_s=BUILD_TIMEOUT_S + GRACE_S)

    def open(self, candidate: Candidate, spec: ModelSpec) -> Runner:
        arguments = {"candidate": self._candidate(candidate), "spec": spec.to_json()}
        return OpenThere(self, "open", arguments, candidate.name)

    def open_parts(
        self, parts: PartSet, settings: Mapping[str, Settings], lanes: Sequence[Sequence[str]] = ()
    ) -> Runner:
        arguments = {
            "parts": self._part_set(parts),
            "settings": {name: asdict(how) for name, how in settings.items()},
            "lanes": [list(lane) for lane in lanes],
        }
        return OpenThere(self, "open_parts", arguments, f"the parts of the {parts.graph} graph")

    def measure(self, runners: Mapping[str, Runner], samples: Path, **how: Any) -> Timed:
        opened = {name: runner for name, runner in runners.items() if isinstance(runner, OpenThere)}
        if len(opened) < len(runners):
            raise TypeError("latency is measured on the device, and a runner is not there")
        numbers = {name: runner.number for name, runner in opened.items()}
        arguments = {"runners": numbers, "samples": self.file(samples), "how": how}
        answer = self.ask_open(opened.values(), lambda: self.ask("measure", arguments, "Measuring latency"))
        found = {name: Latency(answer.arrays[name], answer.value["warmup"][name]) for name in runners}
        return Timed(found, answer.value["others"])

    def measure_parts(self, sets: Sequence[PartSet], samples: Path) -> list[PartTime]:
        arguments = {"sets": [self._part_set(item) for item in sets], "samples": self.file(samples)}
        rows = self.ask("measure_parts", arguments, "Measuring the parts").value
        return [PartTime(**{**row, "settings": Settings(**row["settings"])}) for row in rows]

    def fetch(self, artifact: Path, folder: Path) -> None:
        folder.mkdir()
        self._device.fetch(self._key(artifact), folder)

    def ask(
        self,
        job: str,
        arguments: Mapping[str, Any],
        what: str,
        *,
        arrays: Mapping[str, Array] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """What was closed since the last request is closed first."""
        closed, self.closed = self.closed, []
        arguments = {**arguments, "closed": closed}
        return self._device.ask(job, arguments, arrays=arrays, timeout_s=timeout_s, what=what)

    def ask_open(self, runners: Iterable[OpenThere], ask: Callable[[], Answer]) -> Answer:
        """The answer that *ask* gets of *runners*. Where the process that held them has crashed meanwhile, of another
        one, they are opened again."""
        answer = ask()
        if answer.value["gone"]:
            self.sent = Sent()
            for runner in runners:
                runner.open()
            answer = ask()
        if answer.value["gone"]:
            raise CrashError("a model that was opened on the device is not there any more", where=self.name)
        return answer

    def file(self, path: Path) -> str:
        """What the device knows *path* by, which is sent once."""
        if path not in self._files:
            self._files[path] = self._device.put_file(path)
        return self._files[path]

    def _graph(self, path: Path) -> list[str]:
        """The file keeps its name, which vendors' messages tell."""
        if path not in self._files:
            self._files[path] = self._device.put_folder(path)
        return [self._files[path], path.name]

    def _key(self, artifact: Path) -> str:
        return f"{self._folder}/{artifact.parent.name}/{artifact.name}"

    def _candidate(self, item: Candidate) -> dict[str, Any]:
        return {**asdict(item), "onnx_path": item.onnx_path.name, "artifact": self._key(item.artifact)}

    def _part_set(self, parts: PartSet) -> dict[str, Any]:
        return {
            "backend": parts.backend,
            "graph": parts.graph,
            "spec": parts.spec.to_json(),
            "partition": parts.partition.to_json(),
            "folder": self._key(parts.folder),
            "ways": [asdict(way) for way in parts.ways],
        }


class OpenThere:
    """A :class:`~edgefuse.backends.Runner` on the device; ``number`` is what it is called there, ``notes`` what it does
    otherwise than asked."""

    _all = itertools.count(1)

    def __init__(self, place: There, job: str, arguments: Mapping[str, Any], name: str) -> None:
        self.number, self.notes = next(self._all), list[str]()
        self._place, self._job, self._name = place, job, name
        self._arguments = {**arguments, "number": self.number}
        self.open()

    def open(self) -> None:
        self.notes = self._place.ask(self._job, self._arguments, f"Opening {self._name}").value

    def __call__(self, feed: Feed) -> dict[str, Array]:
        def ask() -> Answer:
            named, new = self._place.sent.to_send(feed)
            arguments = {"number": self.number, "feed": named}
            return self._place.ask("call", arguments, f"Running {self._name}", arrays=new)

        return dict(self._place.ask_open([self], ask).arrays)

    def over(self, samples: Path) -> Runner:
        """The answers to *samples*, one after another from the first on; the file is sent once, and many are answered
        in one request."""
        return Ahead(self._rows(self._place.file(samples)))

    def _rows(self, samples: str) -> Iterator[dict[str, Array]]:
        for start in itertools.count(0, AT_ONCE):
            arguments = {"number": self.number, "samples": samples, "start": start, "count": AT_ONCE}
            ask = functools.partial(self._place.ask, "outputs", arguments, f"Running {self._name}")
            answer = self._place.ask_open([self], ask)
            for index in range(answer.value["count"]):
                yield {name: array[index] for name, array in answer.arrays.items()}
            if answer.value["count"] < AT_ONCE:
                return

    def close(self) -> None:
        """With the next request: where the connection has just been lost there is none."""
        self._place.closed.append(self.number)


class Ahead:
    """A runner whose next answers are there already, whatever it is fed."""

    def __init__(self, rows: Iterator[dict[str, Array]]) -> None:
        self._rows = rows

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return next(self._rows)

    def close(self) -> None:
        self._rows = iter(())
