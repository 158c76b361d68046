"""What the plugin's fixtures give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgefuse.bundle import Bundle
from edgefuse.errors import RecordingError, UsageError, nearest
from edgefuse.golden import GoldenSample, check_golden, read_golden
from edgefuse.manifest import GOLDEN
from edgefuse.pytest_plugin.checks import CHECKS
from edgefuse.pytest_plugin.connection import Connection
from edgefuse.pytest_plugin.limits import limits_of
from edgefuse.pytest_plugin.run import run_of
from edgefuse.recipe import require_recipe
from edgefuse.remote.verbs import metric_argument
from edgefuse.spec import Array, Feed

NO_BUNDLE = "no bundle to test: add --edgefuse-bundle PATH"


def open_device(config: pytest.Config) -> Connection:
    """Connected now, so that what is wrong with it is told here. Raises ``DeviceError``."""
    device = run_of(config).device
    device.remote()
    return device


def one_test_a_bundle(metafunc: pytest.Metafunc) -> None:
    """With several bundles a test runs for each; with one it keeps its name."""
    paths = list(dict.fromkeys(path.resolve() for path in run_of(metafunc.config).settings.bundles))
    if len(paths) > 1:
        names = [path.name for path in paths]
        ids = names if len(set(names)) == len(names) else [str(path) for path in paths]
        metafunc.parametrize("edgefuse_bundle", paths, ids=ids, indirect=True, scope="session")


def open_bundle_of(request: pytest.FixtureRequest) -> Bundle:
    """Raises ``BundleError``."""
    run = run_of(request.config)
    if not run.settings.bundles:
        pytest.skip(NO_BUNDLE)
    return run.bundle(getattr(request, "param", run.settings.bundles[0].resolve()))


@dataclass(frozen=True)
class GoldenSamples:
    path: Path
    count: int

    @classmethod
    def of(cls, bundle: Bundle) -> GoldenSamples:
        path = bundle.path / GOLDEN
        return cls(path, check_golden(path, bundle.spec, labelled=False))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[GoldenSample]:
        return read_golden(self.path)


@dataclass(frozen=True)
class RemoteModel:
    device: Connection
    bundle: Bundle

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """All outputs for one complete feed. Raises ``FeedError``, and as :meth:`Connection.ask`."""
        arguments = {"bundle": self.device.put_bundle(self.bundle.path, self.bundle.shown)}
        return dict(self.device.ask("answers", arguments, arrays=feed, what="Running one feed").arrays)


@dataclass(frozen=True)
class Replay:
    request: pytest.FixtureRequest
    bundle: Bundle

    def __call__(
        self,
        recording: str | Path | None = None,
        *,
        tick: str | None = None,
        deadline_ms: float | None = None,
        policy: Mapping[str, Mapping[str, Any]] | None = None,
        real_time: bool = False,
        staleness_ms: tuple[float, ...] = (),
    ) -> dict[str, Any]:
        """Replay *recording* (default: --edgefuse-recording) on the device; arguments as ``edgefuse replay`` has them.
        Raises ``RecordingError``, ``UsageError``, and as :meth:`Connection.ask`."""
        run = run_of(self.request.config)
        path = Path(recording) if recording is not None else run.settings.recording
        if path is None:
            pytest.skip("no recording to replay: add --edgefuse-recording PATH")
        if not path.exists():
            raise RecordingError("there is no such recording", where=str(path))
        device = run.device
        folder = require_recipe(run.settings.recipe).resolve().parent if run.settings.recipe else None
        arguments = {
            "bundle": device.put_bundle(self.bundle.path, self.bundle.shown),
            "recording": device.put_folder(path),
            "name": path.name if path.is_file() else "",
            "tick": tick,
            "deadline_ms": deadline_ms,
            "policy": {name: dict(keys) for name, keys in (policy or {}).items()},
            "real_time": real_time,
            "staleness_ms": list(staleness_ms),
            "metric": metric_argument(device.remote(), self.bundle.path, folder),
        }
        result: dict[str, Any] = device.ask("replay", arguments, what="Replaying the recording").value
        return result


@dataclass(frozen=True)
class Check:
    request: pytest.FixtureRequest
    bundle: Bundle

    def __call__(self, *names: str) -> None:
        """Run the checks *names*, all without one, and raise what they found: all of it, once all have run."""
        for name in names:
            if name not in CHECKS:
                raise UsageError(f"there is no check {name!r}", hint=nearest(name, CHECKS))
        run, item = run_of(self.request.config), self.request.node
        limits = limits_of(item)
        path = self.bundle.shown
        run.settle(item, path, [run.check(path, name, limits) for name in names or CHECKS])
