"""Running a bundle inside an application: ``edgefuse.load(path)``. Needs numpy and one vendor library.

with edgefuse.load("rover.edgefuse") as model:
    out = model({"image": x, "imu": y})["velocity"]
"""

from __future__ import annotations

import os
import platform
import threading
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from edgefuse.backends import Runner, load_backend
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.errors import DeviceMismatchError, FeedError
from edgefuse.spec import Array, Feed, ModelSpec, check_feed


def load(path: str | os.PathLike[str]) -> Model:
    """Verify the bundle (hashes, device, inputs and outputs) and make it ready to run.

    Raises ``BundleError`` where the bundle is damaged, ``DeviceMismatchError`` where it was made for another
    architecture or toolchain version, ``ToolchainError`` where the vendor's library refuses it.
    """
    with ExitStack() as stack:
        bundle = stack.enter_context(open_bundle(Path(path)))
        runner = open_runner(bundle)
        return Model(bundle, runner, stack.pop_all())


def open_runner(bundle: Bundle) -> Runner:
    """The bundle's artifact in its backend, after the device has been found to match."""
    made = bundle.manifest["artifact"]
    backend = load_backend(str(made["backend"]))
    here = {"version": backend.version(), "arch": platform.machine()}
    for key, name in (("arch", "architecture"), ("version", f"{made['backend']} version")):
        if made[key] != here[key]:
            raise DeviceMismatchError(
                f"was made for {name} {made[key]}; this machine has {here[key]}",
                where=str(bundle.path),
                hint=f"Install {made['backend']}=={made[key]}, or compile the model again on this machine."
                if key == "version"
                else "Compile the model again on this machine.",
            )
    return backend.open(bundle.artifact, bundle.spec, bundle.settings)


class Model:
    """A loaded bundle. Calls are serialised by a lock; results are the caller's own arrays."""

    def __init__(self, bundle: Bundle, runner: Runner, held: ExitStack) -> None:
        self._bundle, self._runner, self._held = bundle, runner, held
        self._lock = threading.Lock()
        self._closed = False
        self.spec: ModelSpec = bundle.spec
        if bundle.manifest["verdict"] == "fail":
            warnings.warn(f"{self.name}: the bundle failed its gates when it was compiled", stacklevel=3)
        # What a call compares, ready made: dtype objects compare by identity first, and a tuple with ==.
        self._expected = [(s.name, s.dtype, None if s.dynamic else s.smallest()) for s in self.spec.inputs]

    @property
    def name(self) -> str:
        return str(self._bundle.manifest["name"])

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
        with self._lock:
            return self._runner(feed)

    def _refuse(self, feed: Feed) -> None:
        """Name what is wrong; a feed with dynamic shapes may still be right."""
        if not isinstance(feed, Mapping):
            raise FeedError(f"the feed is a {type(feed).__name__}; expected a dict of name to numpy array")
        check_feed(feed, self.spec.inputs)

    def close(self) -> None:
        """Free the vendor's memory and the unpacked files; a second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._runner.close()
                self._held.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
