"""The CUDA runtime's stand-in, in place of cuda-python for one test; and both ways to run an engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgefuse.backends import Settings
from edgefuse.backends.tensorrt import cuda
from tests.backends.tensorrt.host_cuda import HostCuda


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[HostCuda], HostCuda]:
    def put(host: HostCuda) -> HostCuda:
        monkeypatch.setattr(cuda, "runtime", lambda: host)
        return host

    return put


@pytest.fixture(params=[False, True], ids=["discrete", "integrated"])
def host(request: pytest.FixtureRequest, install: Callable[[HostCuda], HostCuda]) -> HostCuda:
    """A GPU with memory of its own, and one that shares the CPU's."""
    return install(HostCuda(integrated=request.param))


@pytest.fixture(params=[False, True], ids=["plain", "graph"])
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings(cuda_graph=request.param)
