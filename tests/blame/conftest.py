"""Bundles to damage, each compiled once a session."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from edgefuse.blame import find_parts_at_fault
from edgefuse.bundle import open_bundle
from edgefuse.part_answers import answer
from tests.blame.robots import make_robot


@pytest.fixture(scope="session")
def robot_bundle(tmp_path_factory) -> Path:
    """Three sensors, carried state; INT8, no parts shipped. Read only."""
    return make_robot(tmp_path_factory.mktemp("robot"))


@pytest.fixture(scope="session")
def dynamic_bundle(tmp_path_factory) -> Path:
    """The same with a batch of 1 to 4. Read only."""
    return make_robot(tmp_path_factory.mktemp("dynamic"), batch=None)


@pytest.fixture
def copied(tmp_path):
    """``copied(bundle)``: a copy to damage."""
    return lambda bundle: Path(shutil.copytree(bundle, tmp_path / bundle.name))


@pytest.fixture
def blame():
    """``blame(path)``: the parts at fault in a bundle, run in this process: quicker than ``run_here``'s child."""

    def find(path, **options):
        with open_bundle(path) as bundle:
            return find_parts_at_fault(bundle, partial(answer, bundle), **options)

    return find
