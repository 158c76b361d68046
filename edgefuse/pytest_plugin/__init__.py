"""The pytest plugin: a bundle's accuracy, latency and memory on a device as tests. ``docs/pytest.md`` is the guide.

    pytest --edgefuse-bundle rover.edgefuse --edgefuse-device ssh://robot@10.0.0.5

Every pytest loads this module where EdgeFuse is installed. It imports nothing of EdgeFuse and no numpy: what the hooks
and the fixtures do stands in the modules beside it, which are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgefuse.bundle import Bundle
    from edgefuse.pytest_plugin.connection import Connection
    from edgefuse.pytest_plugin.fixtures import Check, GoldenSamples, RemoteModel, Replay

BUNDLE_SUFFIXES = (".edgefuse", ".edgefuse.zip")
MARKER = (
    'edgefuse(max_drop="1%", min_sqnr_db=30, p90_ms=20, max_growth_bytes=64): limits of EdgeFuse\'s checks in this '
    "test, in place of the bundle's own"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    from edgefuse.pytest_plugin.options import add_options

    add_options(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Before pytest imports what it finds in a folder that was named, which may be a bundle."""
    arguments = early_config.invocation_params.args
    if any(_is_bundle(str(argument)) or str(argument).startswith("--edgefuse-") for argument in arguments):
        from edgefuse.pytest_plugin.rootdir import settle_rootdir

        settle_rootdir(early_config)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    given = [value for name, value in vars(config.option).items() if name.startswith("edgefuse_")]
    if any(value is not None and value is not False for value in given):
        from edgefuse.pytest_plugin.run import run_of

        run_of(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    option = session.config.option
    named = any(_is_bundle(argument) for argument in session.config.args)
    if named or option.edgefuse_bundle or option.edgefuse_update_golden:
        from edgefuse.pytest_plugin.arguments import take_bundles
        from edgefuse.pytest_plugin.run import run_of

        run_of(session.config).wanted = take_bundles(session.config)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """A bundle is data: nothing in it is run, whatever its files are called."""
    return True if collection_path.name.endswith(BUNDLE_SUFFIXES) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "edgefuse_bundle" in metafunc.fixturenames:
        from edgefuse.pytest_plugin.fixtures import one_test_a_bundle

        one_test_a_bundle(metafunc)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Before tests are left out, and again for markers that a conftest.py has added."""
    _check_markers(items)
    result = yield
    _check_markers(items)
    return result


def _check_markers(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("edgefuse")]
    if marked:
        from edgefuse.pytest_plugin.limits import check_markers

        check_markers(marked)


def _is_bundle(argument: str) -> bool:
    """By its name, as a command line's argument or a node id."""
    return argument.partition("::")[0].rstrip("/").endswith(BUNDLE_SUFFIXES)


@pytest.fixture(scope="session")
def edgefuse_device(pytestconfig: pytest.Config) -> Connection:
    """The device of --edgefuse-device (default: this machine, through a connection too): ``about``, ``ask``,
    ``put_bundle``, ``put_file``."""
    from edgefuse.pytest_plugin.fixtures import open_device

    return open_device(pytestconfig)


@pytest.fixture(scope="session")
def edgefuse_bundle(request: pytest.FixtureRequest) -> Bundle:
    """The verified bundle of --edgefuse-bundle; a test that uses it runs once for each. Skipped where there is none."""
    from edgefuse.pytest_plugin.fixtures import open_bundle_of

    return open_bundle_of(request)


@pytest.fixture(scope="session")
def edgefuse_golden(edgefuse_bundle: Bundle) -> GoldenSamples:
    """The bundle's held-out samples, one in memory at a time: ``feed``, ``reference`` (the float model's outputs),
    ``label``, ``group``, ``stamp_ns``. Has a length, and can be gone through again."""
    from edgefuse.pytest_plugin.fixtures import GoldenSamples

    return GoldenSamples.of(edgefuse_bundle)


@pytest.fixture(scope="session")
def edgefuse_model(edgefuse_device: Connection, edgefuse_bundle: Bundle) -> RemoteModel:
    """The bundle on the device as a function: feed (name → array) to outputs (name → array)."""
    from edgefuse.pytest_plugin.fixtures import RemoteModel

    return RemoteModel(edgefuse_device, edgefuse_bundle)


@pytest.fixture
def edgefuse_replay(request: pytest.FixtureRequest, edgefuse_bundle: Bundle) -> Replay:
    """``edgefuse_replay(path)`` replays a recording (default: --edgefuse-recording) through the bundle on the device;
    the result is that of ``edgefuse replay --json``."""
    from edgefuse.pytest_plugin.fixtures import Replay

    return Replay(request, edgefuse_bundle)


@pytest.fixture
def edgefuse_check(request: pytest.FixtureRequest, edgefuse_bundle: Bundle) -> Check:
    """``edgefuse_check("accuracy", "latency")`` runs ready-made checks, all without a name, with the limits of the
    test's marker, and fails, or is inconclusive, as they do."""
    from edgefuse.pytest_plugin.fixtures import Check

    return Check(request, edgefuse_bundle)
