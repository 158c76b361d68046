"""Running a bundle inside an application: ``edgefuse.load(path)``. Needs numpy and one vendor library.

with edgefuse.load("rover.edgefuse") as model:
    out = model({"image": x, "imu": y})["velocity"]
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.errors import DeviceMismatchError, FeedError
from edgefuse.spec import Array, Feed, ModelSpec, check_feed

IDENTITY = {"arch": "architecture", "version": "{} version", "gpu": "GPU", "driver": "driver"}
"""What people call the keys of a backend's ``identity``."""


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
    if bundle.portable:
        target = bundle.manifest["target"]["name"]
        raise DeviceMismatchError(
            f"is portable: it has not been compiled on its device yet (target {target})",
            where=str(bundle.shown),
            hint=_compile_here(bundle),
        )
    made = bundle.manifest["artifact"]
    name = str(made["backend"])
    backend = load_backend(name)
    for key, value in backend.identity().items():
        if made.get(key) != value:
            install = f"Install {name}=={made[key]}, or compile" if key == "version" else "Compile"
            raise DeviceMismatchError(
                f"was made for {IDENTITY.get(key, key).format(name)} {made.get(key)}; this machine has {value}",
                where=str(bundle.shown),
                hint=f"{install} it again on this machine: {_compile_here(bundle)}",
            )
    if made["calls"] == "parts":
        return open_parts(bundle)
    return backend.open(bundle.artifact, bundle.spec, bundle.settings)


def open_parts(bundle: Bundle) -> Assembled:
    """The bundle's parts, put together; only where its artifact has some."""
    made, partition = bundle.manifest["artifact"], bundle.partition
    assert partition is not None  # the manifest was checked
    backend, runners = load_backend(str(made["backend"])), {}
    for item in made["parts"]:
        spec = part_spec(partition[item["name"]], partition, bundle.spec)
        runners[item["name"]] = backend.open(bundle.path / item["path"], spec, Settings(**item["settings"]))
    return Assembled(partition, runners, bundle.spec, made["lanes"])


def _compile_here(bundle: Bundle) -> str:
    return f"edgefuse compile {bundle.shown.name}"


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
