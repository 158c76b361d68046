"""A loaded bundle: calls with a complete feed, streams, health, and an end. Needs numpy and one vendor library."""

from __future__ import annotations

import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np

from edgefuse.assembled import Assembled
from edgefuse.backends import Runner
from edgefuse.bundle import Bundle
from edgefuse.errors import FeedError, ToolchainError, nearest
from edgefuse.health import Health, Meter
from edgefuse.manifest import RECORDING_FOLDER
from edgefuse.parts import Part, Partition
from edgefuse.recordings.mapping import read_sources
from edgefuse.spec import Array, Feed, ModelSpec, TensorSpec, check_feed
from edgefuse.stream.absent import Absence, check_absences, measured_absences
from edgefuse.stream.features import Engine
from edgefuse.stream.policy import StreamPolicy, override, read_policies, sensor_inputs
from edgefuse.stream.session import Session

WHOLE = "whole"
Policies = Mapping[str, StreamPolicy | Mapping[str, Any]]
"""For some streams a policy, or the keys of one that differ from the bundle's."""


class Model:
    """A bundle that is ready to run: ``edgefuse.load`` makes it. Calls and steps of all its streams are serialised by
    one lock; results are the caller's own arrays.

    ``loaded`` (verified) → ``ready`` (a first run has succeeded) → ``closed``; ``degraded`` while the last run failed.
    """

    def __init__(
        self, bundle: Bundle, runner: Runner, held: ExitStack, open_parts: Callable[[], Assembled | None]
    ) -> None:
        self._bundle, self._runner, self._held, self._open_parts = bundle, runner, held, open_parts
        self._lock, self._pid = threading.RLock(), os.getpid()
        self._parts: Assembled | None = None
        self._sessions: list[weakref.ref[Session]] = []
        self._closed, self._warm, self._failing = False, False, False
        self._errors, self._last_error = 0, ""
        self._meter = Meter()
        self._chains: dict[str, Callable[[Any], Array]] = {}
        self.spec: ModelSpec = bundle.spec
        _MODELS.add(self)
        if bundle.manifest["verdict"] == "fail":
            warnings.warn(f"{self.name}: the bundle failed its gates when it was compiled", stacklevel=3)
        # What a call compares, ready made: dtype objects compare by identity first, and a tuple with ==.
        self._expected = [(s.name, s.dtype, None if s.dynamic else s.smallest()) for s in self.spec.inputs]

    @property
    def name(self) -> str:
        return str(self._bundle.manifest["name"])

    # -- a complete feed

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """All outputs for one complete feed: every input by name, dtype and shape as in ``spec``.

        Raises :class:`FeedError` that names the tensor. The arrays in *feed* are not kept.
        """
        if not isinstance(feed, Mapping) or len(feed) != len(self._expected):
            self._refuse(feed)
        for name, dtype, shape in self._expected:
            array = feed.get(name)
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
                self._refuse(feed)
                break
        self._check_usable()  # before the lock, which may have been held when this process was forked
        with self._lock:
            self._check_usable()
            started = time.perf_counter_ns()
            try:
                found = self._runner(feed)
            except BaseException as error:
                self._note(error)
                raise
            self._meter.add(time.perf_counter_ns() - started)
            self._note(None)
            return found

    def _refuse(self, feed: Feed) -> None:
        """Name what is wrong; a feed with dynamic shapes may still be right."""
        if not isinstance(feed, Mapping):
            raise FeedError(f"the feed is a {type(feed).__name__}; expected a dict of name to numpy array")
        check_feed(feed, self.spec.inputs)

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ToolchainError(
                f"the model was loaded in process {self._pid}, of which this one ({os.getpid()}) is a fork",
                hint="The vendor's threads do not survive a fork. Load the bundle again here, or start processes "
                'with multiprocessing\'s "spawn".',
            )
        if self._closed:
            raise ToolchainError("the model is closed", hint="Load it again with edgefuse.load(path).")

    def _note(self, error: BaseException | None) -> None:
        """How the last run ended."""
        if error is None:
            self._failing, self._warm = False, True
        else:
            self._errors, self._failing, self._last_error = self._errors + 1, True, f"{type(error).__name__}: {error}"

    def warm_up(self) -> None:
        """One run on zeros, which lets the vendor's library allocate what it needs; the state is "ready" then."""
        self._check_usable()
        with self._lock:
            run_once(self._runner, self.spec)
            self._note(None)

    # -- streams

    def stream(self, policy: Policies | None = None, *, timing: str = "measured") -> Session:
        """A multi-rate session (``docs/streaming.md``). *policy* overrides, for single streams, what the recipe says:
        ``{"camera": {"max_age_ms": 100, "on_stale": "hold"}}``.

        The first one loads the parts and runs them once, which takes as long as loading the model. Every session has
        its own data and state; all of them share the model's parts, one step at a time. Raises ``UsageError`` for a
        wrong policy.
        """
        self._check_usable()
        with self._lock:
            if self._parts is None:
                self._parts = self._find_parts()
            engine = Engine(self.spec, self._parts, self._lock, self._part_times(), self._check_usable, self._note)
            policies = self.policies(policy)
            session = Session(engine, policies, timing, self._absences(policies))
            self._sessions = [*(known for known in self._sessions if known() is not None), weakref.ref(session)]
            return session

    @property
    def streams(self) -> dict[str, tuple[TensorSpec, ...]]:
        """What each sensor delivers, by the stream's name; not the model's own state."""
        return sensor_inputs(self.spec, dict(self._state))

    def policies(self, changes: Policies | None = None) -> dict[str, StreamPolicy]:
        """Stream name to its policy: the bundle's, with *changes*. Raises ``UsageError`` also for a fallback whose
        effect was not measured when the bundle was compiled."""
        stored = read_policies(self._bundle.manifest["streams"], "the bundle's streams")
        found = override(stored, changes, self.streams)
        check_absences(self._absences(found), found)
        return found

    def transform(self, name: str, value: Any) -> Array:
        """What the input *name* takes, of what its driver hands over (pixels, ranges, a text): the transforms of the
        recipe's ``[recording.NAME]``, the same that made the calibration samples.

        Of a window one sample, or several. Raises :class:`FeedError` where *value* does not fit, or the recipe had no
        such table; ``MissingToolError`` where a transform needs a package that is not here.
        """
        if name not in self._chains:
            self._chains[name] = self._make_chain(name)
        try:
            return self._chains[name](value)
        except ValueError as error:
            raise FeedError(f"{name}: {error}") from None

    def _make_chain(self, name: str) -> Callable[[Any], Array]:
        from edgefuse.transforms import make_chain  # most applications do without

        sources = read_sources(self._bundle.manifest["recording"], "the bundle's recording")
        inputs = {item.name: item for item in self.spec.inputs}
        if name not in inputs:
            raise FeedError(f"there is no input {name!r}", hint=nearest(name, inputs))
        if name not in sources:
            hint = f"Add [recording.{name}] to the recipe and compile again."
            raise FeedError(f"the recipe says no transforms for {name!r}", hint=hint)
        policies = read_policies(self._bundle.manifest["streams"], "the bundle's streams")
        policy = policies.get(inputs[name].stream or name, StreamPolicy())
        axis = policy.axis if policy.kind == "window" else None
        return make_chain(sources[name], inputs[name], self._bundle.path / RECORDING_FOLDER, axis)

    def _absences(self, policies: Mapping[str, StreamPolicy]) -> frozenset[Absence]:
        """The streams that may be absent together."""
        return measured_absences(self._bundle.manifest["fallbacks"], policies)

    @property
    def _state(self) -> tuple[tuple[str, str], ...]:
        return self._bundle.partition.state

    def _find_parts(self) -> Assembled:
        """What streams run: the bundle's parts, or where it has none the whole graph as one."""
        if isinstance(self._runner, Assembled):
            return self._runner
        return self._open_parts() or one_part(self._runner, self.spec, self._state)

    def _part_times(self) -> dict[str, float | None]:
        made = self._bundle.manifest["artifact"] or {"p90_ms": None, "parts": []}
        return {WHOLE: made["p90_ms"], **{item["name"]: item["p90_ms"] for item in made["parts"]}}

    # -- the end

    def health(self) -> Health:
        """Counters, latency percentiles over a window, the last error; of calls and of every open stream. Waits for
        nobody."""
        state = "degraded" if self._failing else "ready" if self._warm else "loaded"
        return Health(
            name=self.name,
            state="closed" if self._closed else state,
            calls=self._meter.runs,
            errors=self._errors,
            last_error=self._last_error or None,
            latency=self._meter.percentiles(),
            cache=self._cached(),
            sessions=tuple(session.health() for session in self._open_streams()),
        )

    def _cached(self) -> dict[str, str]:
        cached = getattr(self._runner, "cached", "off")
        found = cached if isinstance(cached, dict) else {WHOLE: cached}
        return found if self._parts is None else {**self._parts.cached, **found}

    def close(self) -> None:
        """Close all streams, free the vendor's memory and the unpacked files; a second call does nothing."""
        if os.getpid() != self._pid:  # they are the parent's
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.close_streams()
            if self._parts is not None:
                self._parts.close()
            self._runner.close()
            self._held.close()

    def close_streams(self) -> None:
        """Their pushes are refused from now on; does not wait for a step that is running."""
        for session in self._open_streams():
            session.close()

    def _open_streams(self) -> list[Session]:
        """Those that somebody still has, in the order in which they were made."""
        return [session for known in self._sessions if (session := known()) is not None]

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run_once(runner: Runner, spec: ModelSpec) -> None:
    """On zeros: the vendor's library allocates what it needs, for which no deadline should have to wait."""
    runner({item.name: np.zeros(item.smallest(), item.dtype) for item in spec.inputs})


def one_part(runner: Runner, spec: ModelSpec, state: tuple[tuple[str, str], ...]) -> Assembled:
    """The whole graph, in *runner*, as the only part."""
    whole = Part(WHOLE, tuple(sensor_inputs(spec, dict(state))), spec.names, spec.outputs)
    return Assembled(Partition((whole,), (), state), {WHOLE: runner}, spec)


_MODELS: weakref.WeakSet[Model] = weakref.WeakSet()
_OF_THE_PARENT: list[Model] = []


def _in_forked_child() -> None:
    """The vendor's threads are gone, and freeing what they work for can wait for them for ever: a child never frees
    it, and its streams take nothing any more."""
    for model in _MODELS:
        _OF_THE_PARENT.append(model)
        model.close_streams()


os.register_at_fork(after_in_child=_in_forked_child)
