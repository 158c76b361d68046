"""One run of pytest with EdgeFuse in it: the device, the bundles that are open, and what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgefuse.child import os_error
from edgefuse.errors import EdgeFuseError
from edgefuse.pytest_plugin.checks import load_check
from edgefuse.pytest_plugin.options import Settings, read_settings
from edgefuse.pytest_plugin.outcome import Finding, failed_check, raise_worst

if TYPE_CHECKING:
    from edgefuse.bundle import Bundle
    from edgefuse.pytest_plugin.arguments import Wanted
    from edgefuse.pytest_plugin.connection import Connection
    from edgefuse.pytest_plugin.limits import Limits

FINDINGS = pytest.StashKey[list[dict[str, Any]]]()
FACTS = ("name", "checksum", "verdict", "plan", "artifact", "limits")
"""Of a bundle's manifest, for the report."""


def run_of(config: pytest.Config) -> Run:
    """The run of *config*, begun where nothing of EdgeFuse has been used yet."""
    if RUN not in config.stash:
        from edgefuse.pytest_plugin.hooks import RunHooks

        config.stash[RUN] = Run(config, read_settings(config))
        config.pluginmanager.register(RunHooks(config.stash[RUN]), "edgefuse-run")
    return config.stash[RUN]


class Run:
    """``wanted`` are the bundles to test by themselves; ``found`` the findings of all tests, ``devices`` what was used
    to measure and ``bundles`` what was measured, as JSON."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config, self.settings = config, settings
        self.wanted: Wanted = {}
        self.found: list[dict[str, Any]] = []
        self.devices: list[dict[str, Any]] = []
        self.bundles: dict[str, dict[str, Any]] = {}
        self._stack = ExitStack()
        self._open: dict[Path, Bundle] = {}
        self._device: Connection | None = None
        self._folder: Path | None = None

    @property
    def is_worker(self) -> bool:
        """Of pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @property
    def device(self) -> Connection:
        """Not connected yet. Raises ``UsageError`` for an address that is none."""
        if self._device is None:
            from edgefuse.pytest_plugin.connection import Connection

            self._device = Connection(self.settings.device, self.settings.timeout_s, turns=self.is_worker)
        return self._device

    def bundle(self, path: Path) -> Bundle:
        """Verified once, and kept open until the run ends. Raises ``BundleError``."""
        from edgefuse.bundle import open_bundle

        if path not in self._open:
            found = self._stack.enter_context(open_bundle(path))
            self._open[path] = found
            self.bundles[str(path)] = {key: found.manifest[key] for key in FACTS}
        return self._open[path]

    @property
    def folder(self) -> Path:
        """For what this run keeps; removed at its end."""
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edgefuse-")))
        return self._folder

    def check(self, path: Path, name: str, limits: Limits) -> Finding:
        """One check of the bundle at *path*; where it cannot be done, that is the finding."""
        from edgefuse.pytest_plugin.case import Case

        try:
            case = Case(path, self.bundle(path), self.device, limits, self.settings, self.folder)
            return load_check(name).run(case)
        except (EdgeFuseError, OSError) as error:
            if self.config.option.fulltrace:
                raise
            return failed_check(name, error if isinstance(error, EdgeFuseError) else self._refused(error))

    def _refused(self, error: OSError) -> EdgeFuseError:
        """A full disk, say: no defect. Of a file that is being written the system does not say the name."""
        found = os_error(error)
        found.where = found.where or str(self.folder)
        return found

    def settle(self, item: pytest.Item, bundle: Path, findings: Sequence[Finding]) -> None:
        """Note *findings* of *bundle* in *item*, and raise what they make of it."""
        judged = [finding.strict() for finding in findings] if self.settings.strict else list(findings)
        self.note(item, bundle, judged)
        raise_worst(judged)

    def note(self, item: pytest.Item, bundle: Path, findings: Sequence[Finding]) -> None:
        """For the report, the summary and JUnit."""
        noted = item.stash.setdefault(FINDINGS, [])
        for finding in findings:
            noted.append({"test": item.nodeid, "bundle": str(bundle), **finding.to_json()})
            figures = {"verdict": finding.verdict, **finding.figures}
            item.user_properties += [(f"edgefuse.{finding.check}.{key}", value) for key, value in figures.items()]

    def pause(self) -> None:
        """Give the device back; the next request takes it again."""
        if self._device is not None:
            self._device.release()

    def close(self) -> None:
        self.pause()
        if self._device is not None:
            self.devices += self._device.records
        self._stack.close()


RUN = pytest.StashKey[Run]()
