"""Error codes as errors that say what to do; the GPU as the stand-in describes it."""

from __future__ import annotations

import sys

import pytest

from edgefuse.backends import tensorrt as backend
from edgefuse.backends.tensorrt import cuda
from edgefuse.errors import DeviceMismatchError, MissingToolError, ToolchainError
from tests.backends.tensorrt.host_cuda import HostCuda


def test_a_gpu_is_described_by_its_properties(install):
    install(HostCuda(integrated=True))
    assert cuda.device() == cuda.Device("Orin", "8.7", 8, 7_990_000_000, True)
    assert cuda.cuda_version() == "12.6"


@pytest.mark.parametrize("code", [35, 100])
def test_no_driver_is_a_mismatch_that_says_so(install, code):
    host = install(HostCuda())
    host.fail("cudaGetDeviceCount", 1, code)
    with pytest.raises(DeviceMismatchError, match=f"no NVIDIA driver here that works \\(CUDA error {code}"):
        cuda.device()


def test_no_gpu_is_a_mismatch(install):
    install(HostCuda(gpus=0))
    with pytest.raises(DeviceMismatchError, match="no NVIDIA GPU"):
        cuda.device()


def test_out_of_memory_says_how_much_was_asked_for(install):
    host = install(HostCuda())
    host.fail("cudaMalloc", 1, 2)
    with pytest.raises(ToolchainError, match="memory is full: allocating 123456 bytes on the GPU failed"):
        cuda.malloc(123456)


def test_any_other_error_carries_cudas_own_words(install):
    host = install(HostCuda())
    host.fail("cudaMalloc", 1, 700)
    with pytest.raises(ToolchainError, match=r"an illegal memory access was encountered \(error 700\)"):
        cuda.malloc(1)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (buildbrain)", "540.4.0"),
        ("", "CUDA 12.6"),
    ],
)
def test_the_drivers_release_comes_from_the_kernel(install, monkeypatch, tmp_path, text, release):
    install(HostCuda())
    monkeypatch.setattr(cuda, "DRIVER_FILE", tmp_path / "version")
    if text:
        (tmp_path / "version").write_text(text)
    assert cuda.driver_version() == release


def test_a_cuda_python_that_cannot_be_loaded_says_why(monkeypatch):
    cuda.runtime.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(MissingToolError, match="cuda-python cannot be loaded: ") as caught:
        cuda.runtime()
    assert "cuda-python==12.6" in caught.value.hint
    cuda.runtime.cache_clear()


@pytest.mark.parametrize(
    ("capability", "precisions"),
    [
        ("5.2", ["float"]),
        ("6.1", ["float", "int8"]),
        ("6.2", ["float", "fp16"]),
        ("7.2", ["float", "fp16", "int8"]),
        ("7.5", ["float", "fp16", "int8"]),
        ("8.7", ["float", "tf32", "fp16", "int8"]),
        ("11.0", ["float", "tf32", "fp16", "int8"]),
        ("12.0", ["float", "tf32", "fp16", "int8"]),
    ],
)
def test_precisions_follow_the_compute_capability(capability, precisions):
    assert backend.precisions(capability) == precisions


def test_identity_and_capabilities_agree(install, monkeypatch):
    install(HostCuda(integrated=True))
    monkeypatch.setattr(backend.vendor, "version", lambda: "10.3.0.26")
    monkeypatch.setattr(backend.platform, "machine", lambda: "aarch64")
    identity, capabilities = backend.identity(), backend.capabilities()
    assert identity["version"] == "10.3.0.26" and identity["gpu"] == capabilities["name"] == "Orin"
    assert identity["arch"] == capabilities["arch"] == "aarch64-sm87"
    assert identity["multiprocessors"] == "8" and capabilities["multiprocessors"] == 8
    assert all(isinstance(value, str) for value in identity.values())
    assert capabilities["compute_capability"] == "8.7" and capabilities["cuda"] == "12.6"
    assert capabilities["memory_gb"] == 8.0
