"""What the doctor finds, on machines that this one is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgefuse import doctor
from edgefuse.doctor import Finding, can_run
from edgefuse.errors import CrashError, MissingToolError
from edgefuse.jetpack import Jetson

ORIN = "NVIDIA Jetson Orin Nano Developer Kit"
MISSING = MissingToolError("TensorRT is not installed", hint="pip install tensorrt")


def machine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    jetson: Jetson | None = None,
    driver: bool = False,
    answers: dict[str, Any] | None = None,
    packages: tuple[str, ...] = (),
    python: tuple[int, int] = (3, 10),
    arch: str = "x86_64",
) -> dict[str, Finding]:
    """What the doctor finds where the backends in *answers* answer (or raise that) and *packages* are installed."""

    def call(function: str, arguments: dict[str, Any], **_: Any) -> Any:
        answer = (answers or {}).get(arguments["backend"], MISSING)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(doctor, "this_jetson", lambda: jetson)
    monkeypatch.setattr(doctor.platform, "machine", lambda: arch)
    monkeypatch.setattr(doctor, "_has_driver", lambda: driver)
    monkeypatch.setattr(doctor.child, "call", call)
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.2" if name in packages else None)
    monkeypatch.setattr(doctor, "sys", SimpleNamespace(version_info=(*python, 0)))
    return {item.name: item for item in doctor.examine()}


GPU = {"version": "10.3.0", "name": "Orin (8.7)", "precisions": ["float", "fp16", "int8"]}
CPU = {"version": "2026.4.1", "name": "Intel(R) N100", "precisions": ["float", "int8"]}


def test_an_intel_box_without_a_gpu_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(monkeypatch, answers={"openvino": CPU}, packages=("openvino",))
    assert can_run([*found.values()]) and found["openvino"].text == "2026.4.1: Intel(R) N100, float, int8"
    assert found["nvidia"].ok is None and found["nvidia"].text == "none" and "driver" in found["nvidia"].cure
    assert found["trt-check"].ok is None and found["trt-check"].cure == "pip install 'edgefuse[trt-check]'"
    assert "jetpack" not in found


def test_an_arm_board_is_not_sent_to_install_what_is_not_made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = {**CPU, "name": "ARM (0xd0b)"}
    found = machine(monkeypatch, answers={"openvino": arm}, packages=("openvino",), arch="aarch64")
    assert can_run([*found.values()])
    assert found["trt-check"].ok is None and found["trt-check"].cure == "" and "x86_64" in found["trt-check"].text


def test_tensorrt_alone_is_enough_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(monkeypatch, driver=True, answers={"tensorrt": GPU}, packages=("tensorrt",))
    assert can_run([*found.values()]) and found["nvidia"].text == "10.3.0: Orin (8.7), float, fp16, int8"
    assert found["openvino"].ok is False


def test_neither_vendor_library_is_not_enough_nor_is_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_run([*machine(monkeypatch).values()])
    old = machine(monkeypatch, answers={"openvino": CPU}, packages=("openvino",), python=(3, 9))
    assert not can_run([*old.values()])


def test_a_driver_without_tensorrt_is_missing_something(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(monkeypatch, driver=True)["nvidia"]
    assert found.ok is False and found.cure == "pip install 'edgefuse[tensorrt]'"
    crash = CrashError("Importing tensorrt was killed", hint="Try another version.")
    found = machine(monkeypatch, driver=True, answers={"tensorrt": crash}, packages=("tensorrt",))["nvidia"]
    assert (found.ok, found.text, found.cure) == (False, "Importing tensorrt was killed", "Try another version.")


@pytest.mark.parametrize("packages", [(), ("tensorrt",)])
def test_on_a_jetson_tensorrt_comes_from_jetpack_and_never_from_pip(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...]
) -> None:
    found = machine(monkeypatch, jetson=Jetson(ORIN, "36.4.3"), packages=packages)
    assert found["nvidia"].ok is False and "--system-site-packages" in found["nvidia"].cure
    assert "sudo apt install tensorrt python3-libnvinfer" in found["nvidia"].cure
    for item in found.values():
        assert "pip install tensorrt" not in item.cure and "edgefuse[tensorrt]" not in item.cure
        assert "edgefuse[trt-check]" not in item.cure, "the board has TensorRT itself"


def test_a_jetson_that_is_well_says_its_jetpack_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine(monkeypatch, jetson=Jetson(ORIN, "36.4.3"), answers={"tensorrt": GPU}, packages=("tensorrt",))
    assert next(iter(found)) == "jetpack" and found["jetpack"].ok and can_run([*found.values()])
    assert found["jetpack"].text == f"6.2 (L4T 36.4.3, TensorRT 10.3.0) on {ORIN}"


@pytest.mark.parametrize(
    ("l4t", "python", "ok", "says"),
    [
        ("36.3.0", (3, 10), False, "JetPack 6.1 or later"),
        ("35.4.1", (3, 10), False, "trtexec only"),
        ("36.4.3", (3, 12), False, "/usr/bin/python3.10"),
        ("99.1", (3, 10), None, ""),
        ("", (3, 10), None, ""),
    ],
)
def test_a_jetpack_that_does_not_serve_says_why(
    monkeypatch: pytest.MonkeyPatch, l4t: str, python: tuple[int, int], ok: bool | None, says: str
) -> None:
    found = machine(monkeypatch, jetson=Jetson(ORIN, l4t), python=python)["jetpack"]
    assert found.ok is ok and says in found.cure and ORIN in found.text


def test_the_check_without_a_gpu_needs_libraries_and_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("tensorrt-rtx-cu12-libs", "tensorrt-rtx-cu12-bindings")
    assert machine(monkeypatch, packages=both)["trt-check"].ok
    assert machine(monkeypatch, packages=both[:1])["trt-check"].ok is None


def test_a_driver_is_known_by_its_files_or_its_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "DRIVER_FILES", (tmp_path / "version",))
    assert not doctor._has_driver()
    (tmp_path / "version").touch()
    assert doctor._has_driver()


def test_what_recordings_need_is_told_with_its_cure_and_is_no_fault(monkeypatch):
    there = {"rosbags", "mcap", "mcap-protobuf-support", "pillow", "h5py"}
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.0" if name in there else None)
    found = doctor._recordings()
    assert found.ok is None and found.text == "ros yes, lerobot no, hdf5 yes, text no"
    assert found.cure == "pip install 'edgefuse[lerobot,text]'"
