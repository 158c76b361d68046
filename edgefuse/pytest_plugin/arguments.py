"""Which of pytest's arguments are bundles, and which of their tests are wanted. Imports nothing of EdgeFuse's others.

pytest refuses ``folder::name``, and walks into folders that it is given. So bundles are taken out of its arguments
before it collects, and put to what it has collected (:mod:`edgefuse.pytest_plugin.collect`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgefuse.errors import nearest
from edgefuse.pytest_plugin import BUNDLE_SUFFIXES
from edgefuse.pytest_plugin.checks import CHECKS

Wanted = dict[Path, frozenset[str]]
"""Bundle to the names of its tests, in the order of the command line."""


def take_bundles(config: pytest.Config) -> Wanted:
    """The bundles of ``--edgefuse-bundle`` and of the arguments, which are left without them."""
    wanted: Wanted = {}
    folder = config.invocation_params.dir
    for name in config.option.edgefuse_bundle or ():
        _want(wanted, folder / name, CHECKS, f"--edgefuse-bundle {name}")
    rest = []
    for argument in config.args:
        name, _, check = argument.partition("::")
        if name.rstrip("/").endswith(BUNDLE_SUFFIXES):
            _want(wanted, folder / name, _named(check, argument), argument)
        else:
            rest.append(argument)
    config.args[:] = rest
    if config.option.edgefuse_update_golden and not wanted:
        raise pytest.UsageError("--edgefuse-update-golden: no bundle was named")
    return wanted


def _named(check: str, argument: str) -> Sequence[str]:
    if not check:
        return CHECKS
    if check not in CHECKS:
        raise pytest.UsageError(f"{argument}: there is no test {check!r} of a bundle. {nearest(check, CHECKS)}")
    return [check]


def _want(wanted: Wanted, path: Path, checks: Sequence[str], said: str) -> None:
    if not path.exists():
        raise pytest.UsageError(
            f"{said}: there is no such bundle. Make one with: edgefuse compile MODEL -o {path.name.partition('.')[0]}"
            ".edgefuse"
        )
    found = path.resolve()
    wanted[found] = wanted.get(found, frozenset()) | frozenset(checks)


def refuse_foreign_code(named: Sequence[str], root: Path) -> None:
    """pytest imports the conftest.py of a folder that it is given, and keeps its cache in its root folder: a bundle is
    nobody's code, and a file more makes it a damaged one. Raises ``pytest.UsageError``."""
    if root.name.endswith(BUNDLE_SUFFIXES):
        raise pytest.UsageError(
            f"pytest would take the bundle {root} for its root folder, and write into it. "
            f"Add --rootdir=. or write --edgefuse-bundle {root}"
        )
    for argument in named:
        path = Path(argument.partition("::")[0])
        if path.name.endswith(BUNDLE_SUFFIXES) and path.is_dir():
            code = next(iter([*path.glob("conftest.py"), *path.glob("test*/conftest.py")]), None)
            if code is not None:
                raise pytest.UsageError(f"{code}: is no file of a bundle, and pytest would run it. Remove it.")
