"""Which library is taken, what is said where there is none, and the logger; imports are faked by name where the real
library cannot be had here."""

from __future__ import annotations

import importlib.abc
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import edgefuse
from edgefuse.backends.tensorrt import offline, vendor
from edgefuse.errors import MissingToolError, ToolchainError


class Refuse(importlib.abc.MetaPathFinder):
    """As if none of *names* were installed; with *said*, as if they were and did not load."""

    def __init__(self, *names: str, said: str = "") -> None:
        self.names, self.said = names, said

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in self.names:
            if self.said:
                raise ImportError(self.said)
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@pytest.fixture
def fresh(monkeypatch):
    """No library was asked for yet; puts importers in front."""
    for function in (vendor.library, vendor.rtx_library):
        function.cache_clear()
    for name in [name for name in sys.modules if name.startswith("tensorrt")]:
        monkeypatch.delitem(sys.modules, name)
    yield lambda finder: monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    for function in (vendor.library, vendor.rtx_library):
        function.cache_clear()


def install(monkeypatch, name, version):
    module = ModuleType(name)
    module.__version__ = version
    module.plugins = []
    module.init_libnvinfer_plugins = lambda logger, namespace: module.plugins.append((logger, namespace))
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_tensorrt_is_taken_before_rtx(fresh, monkeypatch):
    module = install(monkeypatch, "tensorrt", "10.3.0.26")
    install(monkeypatch, "tensorrt_rtx", "1.7.1.116")
    assert vendor.library() is module and vendor.version() == "10.3.0.26"
    assert module.plugins == [(None, "")], "loaded once, before anything is parsed or deserialized"


def test_rtx_says_so_in_its_version(fresh, monkeypatch):
    fresh(Refuse("tensorrt"))
    install(monkeypatch, "tensorrt_rtx", "1.7.1.116")
    assert vendor.version() == "rtx-1.7.1.116" and vendor.is_rtx(vendor.library())


@pytest.mark.parametrize("release", ["8.6.2", "9.1.0"])
def test_a_tensorrt_before_10_is_refused_with_what_works(fresh, monkeypatch, release):
    install(monkeypatch, "tensorrt", release)
    with pytest.raises(ToolchainError, match=rf"{release} is too old: EdgeFuse needs 10\.0.*JetPack 6\.1") as caught:
        vendor.library()
    assert "trtexec" in caught.value.hint


@pytest.mark.parametrize(
    ("machine", "cure"), [("aarch64", "sudo apt install nvidia-jetpack"), ("x86_64", "pypi.nvidia.com")]
)
def test_no_library_names_the_cure_for_this_kind_of_machine(fresh, monkeypatch, machine, cure):
    fresh(Refuse("tensorrt", "tensorrt_rtx", "tensorrt_rtx_libs", "tensorrt_rtx_bindings"))
    monkeypatch.setattr(vendor.platform, "machine", lambda: machine)
    with pytest.raises(MissingToolError, match="TensorRT is not installed") as caught:
        vendor.version()
    assert cure in caught.value.hint
    assert offline.available() is None


def test_a_tensorrt_that_does_not_load_is_not_replaced_by_rtx(fresh):
    fresh(Refuse("tensorrt", said="libnvinfer.so.10: cannot open shared object file"))
    with pytest.raises(MissingToolError, match=r"installed but cannot be loaded: libnvinfer\.so\.10"):
        vendor.library()


def test_an_rtx_that_does_not_load_is_not_available_and_says_why(fresh):
    fresh(Refuse("tensorrt_rtx", "tensorrt_rtx_libs", said="libcudart.so.12: cannot open shared object file"))
    assert offline.available() is None
    with pytest.raises(MissingToolError, match=r"libcudart\.so\.12"):
        vendor.rtx_library()


def test_importing_the_backend_imports_no_vendor_library():
    code = (
        "import json, sys; before = set(sys.modules)\n"  # cuda-bindings puts a stub there at the interpreter's start
        "import edgefuse.backends.tensorrt, edgefuse.backends.tensorrt.offline\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(edgefuse.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found = set(json.loads(done.stdout))
    assert "numpy" in found
    assert not {name for name in found if name.startswith(("tensorrt", "cuda", "torch", "onnx", "click", "pytest"))}


def stub():
    severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

    class ILogger:
        Severity = severity

    return SimpleNamespace(ILogger=ILogger), severity


def test_the_logger_prints_nothing_and_keeps_what_was_said(capfd):
    trt, severity = stub()
    log = vendor.make_logger(trt, wanted=lambda message: message.startswith("Layers:"))
    for index in range(1000):
        log.log(severity.WARNING, f"warning {index}")
        log.log(severity.VERBOSE, "chatter")
    log.log(severity.ERROR, "first")
    log.log(severity.INTERNAL_ERROR, "[a.cpp::12]   Error Code 4:\n  second")
    log.log(severity.VERBOSE, "Layers:\nName: …")
    assert vendor.last_words(log) == "[a.cpp::12] Error Code 4: second"
    assert len(log.warnings) == vendor.KEPT_MESSAGES and log.said == ["Layers:\nName: …"]
    assert capfd.readouterr() == ("", "")


def test_a_vendor_that_says_nothing_is_not_quoted():
    assert vendor.last_words(vendor.make_logger(stub()[0])) == "it gave no reason"
