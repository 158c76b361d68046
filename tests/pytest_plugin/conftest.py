"""What the pytests inside these tests have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def inner_options(pytester, monkeypatch):
    """labgrid's plugin, which comes with its package, cannot be started twice in one process."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:labgrid -p no:hypothesispytest -p no:anyio")
    monkeypatch.delenv("CI", raising=False)
