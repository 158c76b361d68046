"""A bundle as pytest sees it: a file that holds one test for each of its checks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgefuse.pytest_plugin.checks import CHECKS

if TYPE_CHECKING:
    from edgefuse.pytest_plugin.arguments import Wanted


def bundle_nodes(session: pytest.Session, wanted: Wanted) -> list[BundleFile]:
    return [BundleFile.of(session, path, names) for path, names in wanted.items()]


class BundleFile(pytest.File):
    """``path`` is the bundle, a folder or a zip."""

    names: frozenset[str]

    @classmethod
    def of(cls, session: pytest.Session, path: Path, names: frozenset[str]) -> BundleFile:
        nodeid = Path(os.path.relpath(path, session.config.rootpath)).as_posix()
        found: BundleFile = cls.from_parent(session, path=path, nodeid=nodeid)
        found.names = names
        return found

    def collect(self) -> Iterator[BundleTest]:
        for name in CHECKS:
            if name in self.names:
                test: BundleTest = BundleTest.from_parent(self, name=name)
                test.add_marker(pytest.mark.edgefuse)
                yield test


class BundleTest(pytest.Item):
    """One check; its name is the check's."""

    fixturenames: tuple[str, ...] = ()
    """As a function's: labgrid's plugin (26.0.1) looks into it without asking whether an item has any."""

    def runtest(self) -> None:
        from edgefuse.pytest_plugin.limits import limits_of
        from edgefuse.pytest_plugin.outcome import ERROR, Finding
        from edgefuse.pytest_plugin.run import run_of

        run, limits = run_of(self.config), limits_of(self)
        try:
            found = run.check(self.path, self.name, limits)
        except Exception as error:  # a defect of EdgeFuse: shown as one, and not left out of the report
            run.note(
                self, self.path, [Finding(self.name, ERROR, f"a defect of EdgeFuse: {type(error).__name__}: {error}")]
            )
            raise
        run.settle(self, self.path, [found])

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.path.name}: {self.name}"
