"""Where pytest has its root folder when a bundle, or another path of an option, lies elsewhere. Imports nothing of
EdgeFuse's others.

pytest looks for its root folder and its configuration before it knows the options of plugins, and takes each of their
values that is a path for a test. So it may read another configuration, and take the bundle itself for its root folder,
whose conftest.py it imports, and where it writes its cache. A bundle is nobody's code, and a file more damages it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgefuse.pytest_plugin import BUNDLE_SUFFIXES

CONFIGURATIONS = {
    "pytest.toml": "",
    ".pytest.toml": "",
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
"""File to what makes it pytest's."""

GIVEN = ("--rootdir", "-c", "--config-file")


def settle_rootdir(config: pytest.Config) -> None:
    """Make the current folder the root where pytest has taken a bundle for it. Raises ``pytest.UsageError`` where a
    configuration was not read that should have been, or where what lies in a bundle would be run."""
    arguments = [str(argument) for argument in config.invocation_params.args]
    folder, known = config.invocation_params.dir, config.known_args_namespace
    if not any(argument.startswith(GIVEN) for argument in arguments):
        _check_configuration(config, arguments)
        if _in_bundle(config.rootpath) and config.inipath is None:
            vars(config)["_rootpath"] = folder  # there is no public way, and what follows finds out whether this worked
            known.confcutdir = str(folder)
    if _in_bundle(config.rootpath):
        raise pytest.UsageError(
            f"pytest would take the bundle {config.rootpath} for its root folder, and write into it. Add --rootdir=."
        )
    for argument in known.file_or_dir:
        _refuse_code(folder / argument.partition("::")[0])


def _in_bundle(path: Path) -> bool:
    return any(part.name.endswith(BUNDLE_SUFFIXES) for part in (path, *path.parents))


def _check_configuration(config: pytest.Config, arguments: list[str]) -> None:
    expected = next(_configurations(config.invocation_params.dir), None)
    paths = [(option, value) for option, value in itertools.pairwise(arguments) if option.startswith("--edgefuse-")]
    for option, value in paths:
        moved = "=" not in option and (config.invocation_params.dir / value).exists()
        if moved and expected is not None and config.inipath != expected:
            raise pytest.UsageError(
                f"pytest has not read {expected}: it takes the path behind {option} for a test. Write {option}={value}"
            )


def _configurations(folder: Path) -> Iterator[Path]:
    for place in (folder, *folder.parents):
        for name, mark in CONFIGURATIONS.items():
            path = place / name
            if path.is_file() and (not mark or mark in path.read_text(encoding="utf-8", errors="replace")):
                yield path


def _refuse_code(path: Path) -> None:
    if path.name.endswith(BUNDLE_SUFFIXES) and path.is_dir():
        code = next(iter([*path.glob("conftest.py"), *path.glob("test*/conftest.py")]), None)
        if code is not None:
            raise pytest.UsageError(f"{code}: is no file of a bundle, and pytest would run it. Remove it.")
