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
