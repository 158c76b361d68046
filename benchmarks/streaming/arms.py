"""Ways to answer at every tick from sensors at their own rates; all of them get the same deliveries.

Only ``EdgeFuseArm`` is a library's. The others keep the latest data in a dict and check nothing: as little as works.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import openvino as ov

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.bundle import Bundle
from edgefuse.model import Policies
from edgefuse.parts import Part
from edgefuse.spec import Array
from edgefuse.stream import Session, StepResult
from edgefuse.stream.features import Engine
from edgefuse.stream.policy import override, sensor_inputs
from streaming.by_hand import TRUNK, HandSplit
from streaming.recording import START_NS, Recording


class Arm(Protocol):
    title: str

    def deliver(self, stream: str, value: Array, stamp_ns: int) -> None: ...
    def tick(self, now_ns: int) -> Mapping[str, Array]:
        """The outputs, the caller's own."""

    def close(self) -> None: ...


class EdgeFuseArm:
    """``model.stream()``, with *changes* of the policies by stream; ``last`` is what the last step said, and
    ``deadline_ns`` is the next one's."""

    def __init__(
        self, model: Streams, recording: Recording, title: str = "EdgeFuse stream", **changes: dict[str, Any]
    ) -> None:
        self.title = title
        self.deadline_ns: int | None = None
        policy = {name: window.policy() for name, window in recording.windows.items()}
        self.session = model.stream({name: policy.get(name, {}) | changes.get(name, {}) for name in recording.first})
        for name, value in recording.first.items():
            assert self.session.push(name, value, START_NS - 1)
        self.last: StepResult = self.session.step(START_NS)

    def deliver(self, stream: str, value: Array, stamp_ns: int) -> None:
        self.session.push(stream, value, stamp_ns)

    def tick(self, now_ns: int) -> Mapping[str, Array]:
        self.last = self.session.step(now_ns, self.deadline_ns)
        return self.last.outputs or {}

    def close(self) -> None:
        self.session.close()


class PreparedArm(EdgeFuseArm):
    """Runs a branch between the ticks, as soon as its sensor has delivered: ``stream.prepare``."""

    def __init__(self, model: Streams, recording: Recording, title: str) -> None:
        super().__init__(model, recording, title)
        self._now_ns = START_NS

    def deliver(self, stream: str, value: Array, stamp_ns: int) -> None:
        super().deliver(stream, value, stamp_ns)
        if stream != "imu":
            self.session.prepare(self._now_ns)

    def tick(self, now_ns: int) -> Mapping[str, Array]:
        self._now_ns = now_ns
        return super().tick(now_ns)


class Streams(Protocol):
    def stream(self, policy: Policies | None = None) -> Session: ...


class OneThread:
    """In the place of a model: the bundle's parts with one thread each, one after another, whatever its plan says."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle, self._items, partition = bundle, bundle.manifest["artifact"]["parts"], bundle.partition
        backend, runners = load_backend("openvino"), {}
        for item in self._items:
            spec = part_spec(partition[item["name"]], partition, bundle.spec)
            settings = Settings(**{**item["settings"], "threads": 1, "pinned": True})
            runners[item["name"]] = backend.open(bundle.path / item["path"], spec, settings)
        self._parts = Assembled(partition, runners, bundle.spec)

    def stream(self, policy: Policies | None = None) -> Session:
        spec, p90_ms = self._bundle.spec, {item["name"]: item["p90_ms"] for item in self._items}
        engine = Engine(spec, self._parts, threading.RLock(), p90_ms, lambda: None, lambda error: None)
        return Session(engine, override({}, policy, sensor_inputs(spec, {})))


def one_thread_whole(bundle: Bundle) -> Runner:
    """The bundle's whole graph with one thread."""
    settings = replace(bundle.settings, threads=1, pinned=True)
    return load_backend("openvino").open(bundle.artifact, bundle.spec, settings)


class Latest:
    """The newest data of each stream by input name; a window's pieces are put behind the last ones."""

    def __init__(self, recording: Recording, inputs: Mapping[str, str]) -> None:
        self.inputs, self._windows = inputs, recording.windows
        self.feed = {inputs[name]: value.copy() for name, value in recording.first.items()}
        self.fresh = set(inputs)

    def deliver(self, stream: str, value: Array, stamp_ns: int) -> None:
        window, name = self._windows.get(stream), self.inputs[stream]
        if window is None:
            self.feed[name] = value
        else:
            kept = np.split(self.feed[name], [value.shape[window.axis]], window.axis)[1]
            self.feed[name] = np.concatenate([kept, value], window.axis)
        self.fresh.add(stream)


class WholeArm(Latest):
    """The bundle's call with a complete feed: at every tick, or where *paced* at the first one after that stream has
    delivered, with the outputs held in between."""

    def __init__(
        self, model: Runner, recording: Recording, inputs: Mapping[str, str], title: str, paced: str | None = None
    ) -> None:
        super().__init__(recording, inputs)
        self.title, self._model, self._paced = title, model, paced
        self._outputs = model(self.feed)

    def tick(self, now_ns: int) -> Mapping[str, Array]:
        if self._paced is None or self._paced in self.fresh:
            self._outputs = self._model(self.feed)
            self.fresh.clear()
        return self._outputs

    def close(self) -> None:
        pass


class HandArm(Latest):
    """The hand-written split: features of each branch in a dict."""

    title = "split by hand"

    def __init__(self, split: HandSplit, recording: Recording, inputs: Mapping[str, str]) -> None:
        super().__init__(recording, inputs)
        self._split, self._features = split, dict[str, Array]()
        self.tick(0)

    def tick(self, now_ns: int) -> Mapping[str, Array]:
        for stream in self.fresh:
            self._features[stream] = self._split.calls[stream]([self.feed[self.inputs[stream]]])[0]
        self.fresh.clear()
        return {"velocity": self._split.calls[TRUNK]([self._features[name] for name in self.inputs])[0]}

    def close(self) -> None:
        pass


class VendorArm(Latest):
    """The bundle's own parts in the same schedule through OpenVINO's own calls, one after another: inputs are written
    into the requests' memory, features stay where the branch has put them and the trunk reads them there."""

    title = "bare OpenVINO calls"

    def __init__(
        self, bundle: Bundle, recording: Recording, inputs: Mapping[str, str], threads: int | None = None
    ) -> None:
        super().__init__(recording, inputs)
        self._partition, self._outputs = bundle.partition, bundle.spec.outputs
        parts = bundle.manifest["artifact"]["parts"]
        self._requests = {item["name"]: _request(bundle, item, threads) for item in parts}
        made = {name: self._requests[part.name] for part in bundle.partition.parts for name in part.outputs}
        self._memory = {}
        for part in bundle.partition.parts:
            for name in part.inputs:
                if name in made:
                    self._requests[part.name].set_tensor(name, made[name].get_tensor(name))
                else:
                    self._memory[name] = self._requests[part.name].get_tensor(name).data
        self._result = {name: made[name].get_tensor(name).data for name in self._outputs}
        self._plans: dict[frozenset[str], Sequence[Any]] = {}
        self.tick(0)

    def tick(self, now_ns: int) -> Mapping[str, Array]:
        fresh = frozenset(self.fresh)
        self.fresh.clear()
        for stream in fresh:
            name = self.inputs[stream]
            self._memory[name][...] = self.feed[name]
        for request in self._plan(fresh):
            request.infer()
        return {name: memory.copy() for name, memory in self._result.items()}

    def _plan(self, fresh: frozenset[str]) -> Sequence[Any]:
        if fresh not in self._plans:
            parts: Sequence[Part] = self._partition.affected(fresh)
            self._plans[fresh] = [self._requests[part.name] for part in parts]
        return self._plans[fresh]

    def close(self) -> None:
        self._requests.clear()


class AloneArm(VendorArm):
    """The ticking sensor's branch and the trunk, and nothing else, ever: what the others' ticks are compared with."""

    title = "IMU's branch + trunk alone"

    def deliver(self, stream: str, value: Array, stamp_ns: int) -> None:
        if stream == "imu":
            super().deliver(stream, value, stamp_ns)


def _request(bundle: Bundle, item: Mapping[str, Any], threads: int | None) -> Any:
    """With the plan's *threads* where they are None."""
    settings = {**item["settings"], **({} if threads is None else {"threads": threads, "pinned": True})}
    how = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": settings["threads"],
        "INFERENCE_PRECISION_HINT": settings["inference_precision"],
        "ENABLE_CPU_PINNING": settings["pinned"],
    }
    core = ov.Core()
    graph = core.read_model(bundle.path / item["path"] / "model.xml")
    return core.compile_model(graph, "CPU", how).create_infer_request()
