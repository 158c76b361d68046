"""Places to compile at: this machine, and this machine as a device behind a connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgefuse.places import Place
from edgefuse.places.here import Here
from edgefuse.places.there import There, connected_place
from edgefuse.spec import ModelSpec, TensorSpec
from tests.remote.asyncssh_server import asyncssh_server
from tests.remote.device_venv import torch_free_python

__all__ = ["asyncssh_server", "torch_free_python"]

SPEC = ModelSpec(
    (
        TensorSpec("image", (1, 1, 8, 8), stream="camera", rate_hz=30.0),
        TensorSpec("state", (1, 6), stream="state", rate_hz=100.0),
    ),
    ("logits",),
)
"""Of the tiny model."""


@pytest.fixture(scope="module")
def there() -> Iterator[There]:
    with connected_place("local") as place:
        yield place


@pytest.fixture
def own_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[There]:
    """One to damage."""
    monkeypatch.setenv("EDGEFUSE_LOCK", str(tmp_path / "lock"))
    with connected_place("local") as place:
        yield place


@pytest.fixture(params=["here", "there"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "here":
        yield Here()
    else:
        yield request.getfixturevalue("there")


@pytest.fixture
def golden(tiny_bundle: Path) -> Path:
    """60 samples of the tiny model, with the float model's answers."""
    return tiny_bundle / "golden.npz"
