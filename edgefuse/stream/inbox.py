"""Where deliveries of one stream wait for the next step. Any thread may push; the lock is held for a few microseconds
and never while the model runs. Standard library and numpy only.
"""

from __future__ import annotations

import operator
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from edgefuse.spec import Array, TensorSpec, shape_text
from edgefuse.stream.policy import StreamPolicy
from edgefuse.stream.results import Pushed
from edgefuse.stream.window import Window

MS = 1_000_000
ACCEPTED = Pushed(True)
MAX_STAMP = 2**63


class Delivery(NamedTuple):
    """Input name to array, and when that was acquired."""

    arrays: dict[str, Array]
    stamp_ns: int


class _Store(Protocol):
    """What keeps the data: the newest delivery, or a window of samples."""

    def add(self, arrays: dict[str, Array], stamp_ns: int) -> None: ...
    def peek(self) -> int | None:
        """Stamp of what :meth:`take` would give; None where there is nothing new."""

    def take(self) -> Delivery: ...
    def clear(self) -> None: ...


class Inbox:
    """Checks what is pushed, keeps what is newest and counts everything that is not used, by reason."""

    def __init__(self, name: str, inputs: tuple[TensorSpec, ...], policy: StreamPolicy) -> None:
        self.counts: Counter[str] = Counter()
        self._name, self._inputs, self._policy = name, inputs, policy
        self._lock = threading.Lock()
        self._offset_ns = round(policy.offset_ms * MS)
        self._early_ns, self._reset_ns = round(policy.max_early_ms * MS), round(policy.reset_after_ms * MS)
        self._store: _Store = _WindowStore(inputs[0], policy, self.counts) if policy.kind == "window" else _Newest(self)
        self._last_ns: int | None = None
        self._taken_ns: int | None = None
        self._seen_early = -1
        self._dtypes = {item.name: np.dtype(item.dtype) for item in inputs}  # ten times quicker to compare with

    # -- the pushing side

    def push(self, value: Array | Mapping[str, Array], stamp_ns: int) -> Pushed:
        """Take one delivery, or say why not. Copies the arrays; never waits for the model."""
        try:
            stamp = operator.index(stamp_ns) + self._offset_ns
        except TypeError:
            return self._drop("stamp", f"stamp_ns is a {type(stamp_ns).__name__}; expected int nanoseconds")
        if not 0 <= stamp < MAX_STAMP:
            offset = f" with offset_ms {self._policy.offset_ms:g}" if self._offset_ns else ""
            return self._drop("stamp", f"stamp_ns is {stamp_ns}{offset}; expected nanoseconds from 0 to 2^63")
        checked = self._checked(value)
        if isinstance(checked, Pushed):
            return self._drop(checked.reason, checked.detail)
        with self._lock:
            late_by = 0 if self._last_ns is None else self._last_ns - stamp
            if self._last_ns is None or not 0 <= late_by <= self._reset_ns:
                if late_by > 0:
                    self.counts["restarts"] += 1
                    if self._policy.kind == "window":  # of others the newest supersedes, and is counted
                        self._store.clear()
                self._last_ns = stamp
                self.counts["accepted"] += 1
                self._store.add(checked, stamp)
                return ACCEPTED
        return self._drop("backwards", f"stamp {stamp} is not later than {stamp + late_by}, the last one")

    def _drop(self, reason: str, detail: str) -> Pushed:
        with self._lock:
            self.counts[f"dropped: {reason}"] += 1
        return Pushed(False, reason, f"{self._name}: {detail}")

    def _checked(self, value: Array | Mapping[str, Array]) -> dict[str, Array] | Pushed:
        """Copies of the arrays by input name, or the refusal."""
        inputs = self._inputs
        if len(inputs) == 1 and not isinstance(value, Mapping):
            given: Mapping[str, Any] = {inputs[0].name: value}
        elif isinstance(value, Mapping) and value.keys() == {item.name for item in inputs}:
            given = value
        else:
            return Pushed(False, "names", f"got {_describe(value)}; expected {self._expected()}")
        found: dict[str, Array] = {}
        for item in inputs:
            checked = self._check_array(given[item.name], item)
            if isinstance(checked, Pushed):
                return checked
            found[item.name] = checked
        return found

    def _check_array(self, array: Any, item: TensorSpec) -> Array | Pushed:
        """A copy of *array* in the form that the store takes, or the refusal."""
        if not isinstance(array, np.ndarray):
            return Pushed(False, "type", f"{item.name} is a {type(array).__name__}; expected a numpy array")
        if array.dtype != self._dtypes[item.name]:
            return Pushed(False, "dtype", f"{item.name} is {array.dtype}; expected {item.dtype}")
        if self._policy.kind == "window":
            fitted = fit_samples(np.asarray(array), item, self._policy.axis)
        else:
            fitted = np.array(array, order="C") if item.fits(array.shape) else None  # of a masked array the plain data
        if fitted is None:
            return Pushed(False, "shape", f"{item.name} is {shape_text(array.shape)}; expected {self._shapes(item)}")
        if self._policy.check_finite and array.dtype.kind == "f" and not np.isfinite(fitted).all():
            return Pushed(False, "not finite", f"{item.name} has NaN or infinity")
        return fitted

    def _expected(self) -> str:
        names = [item.name for item in self._inputs]
        return "a numpy array" if len(names) == 1 else f"a dict with {', '.join(names)}"

    def _shapes(self, item: TensorSpec) -> str:
        if self._policy.kind != "window":
            return item.shape_text
        axis, shape = self._policy.axis, item.smallest()
        chunk = "x".join("N" if index == axis else str(size) for index, size in enumerate(shape))
        one = shape_text(_sample_shape(shape, axis))
        return f"{one} (one sample) or {chunk} (N samples)"

    # -- the step's side

    def take(self, now_ns: int) -> Delivery | None:
        """The newest data if they are new and not from the future, which wait (or, beyond ``reset_after_ms``, are
        dropped)."""
        if self._store.peek() is None:  # mostly; whatever comes now is for the next step
            return None
        with self._lock:
            stamp = self._store.peek()
            if stamp is None:
                return None
            if stamp <= now_ns + self._early_ns:
                self._taken_ns = stamp
                return self._store.take()
            if stamp - now_ns > self._reset_ns:
                self.counts["dropped: future"] += 1
                self._store.clear()
                self._last_ns = self._taken_ns
            elif stamp != self._seen_early:
                self.counts["early"] += 1
                self._seen_early = stamp
                if self._policy.kind != "window":  # one wrong stamp must not keep the right ones out
                    self._last_ns = self._taken_ns
        return None

    def clear(self, after_ns: int = -1) -> None:
        """Forget what waits, if its stamp is later than *after_ns*."""
        with self._lock:
            if self._last_ns is None or self._last_ns > after_ns:
                self._store.clear()
                self._last_ns = self._taken_ns = None

    def rewind(self) -> None:
        """The clock has gone back: whatever comes next is later than what came before."""
        with self._lock:
            self._last_ns = self._taken_ns = None

    @property
    def ahead(self) -> bool:
        """After :meth:`take`: whether something waits for its time."""
        return self._store.peek() is not None


class _Newest:
    """The newest delivery; one that no step has seen is superseded."""

    def __init__(self, inbox: Inbox) -> None:
        self._counts = inbox.counts
        self._waiting: Delivery | None = None

    def add(self, arrays: dict[str, Array], stamp_ns: int) -> None:
        if self._waiting is not None:
            self._counts["superseded"] += 1
        self._waiting = Delivery(arrays, stamp_ns)

    def peek(self) -> int | None:
        waiting = self._waiting
        return None if waiting is None else waiting.stamp_ns

    def take(self) -> Delivery:
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        return waiting

    def clear(self) -> None:
        self._waiting = None


class _WindowStore:
    """A ring buffer; each step that finds new samples in it gets the whole window."""

    def __init__(self, item: TensorSpec, policy: StreamPolicy, counts: Counter[str]) -> None:
        self._name, self._counts = item.name, counts
        self._window = Window(item.smallest(), item.dtype, policy.axis, policy.sample_hz, policy.gap)
        self._fresh = False

    def add(self, arrays: dict[str, Array], stamp_ns: int) -> None:
        filled = self._window.add(arrays[self._name], stamp_ns)
        if filled:
            self._counts["gaps"] += 1
            self._counts["filled samples"] += max(filled, 0)
        self._fresh = self._window.full

    def peek(self) -> int | None:
        return self._window.stamp_ns if self._fresh else None

    def take(self) -> Delivery:
        self._fresh = False
        return Delivery({self._name: self._window.copy()}, self._window.stamp_ns)

    def clear(self) -> None:
        self._window.clear()
        self._fresh = False


def _sample_shape(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """One sample's: without the axis of time, and without the batch in front of it."""
    rest = shape[:axis] + shape[axis + 1 :]
    return rest[1:] if axis > 0 and rest and rest[0] == 1 else rest


def fit_samples(array: Array, item: TensorSpec, axis: int) -> Array | None:
    """*array* with its samples in front, (N, *the input's other dimensions*); None where it has another shape."""
    shape = item.smallest()
    rest = shape[:axis] + shape[axis + 1 :]
    if array.ndim == len(shape):
        moved = array.transpose(axis, *range(axis), *range(axis + 1, array.ndim))  # a fifth of moveaxis' time
        return moved.copy() if moved.shape[1:] == rest and len(moved) else None
    return array.reshape(1, *rest).copy() if array.shape == _sample_shape(shape, axis) else None


def _describe(value: object) -> str:
    return f"a dict with {', '.join(map(str, value))}" if isinstance(value, Mapping) else f"a {type(value).__name__}"
