"""Refused plans, in the vendor's words; layers; the timing cache."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgefuse.backends.tensorrt import engine, vendor
from edgefuse.backends.tensorrt.layers import count_precisions, read_layers
from edgefuse.backends.tensorrt.timing_cache import cache_file, read_cache, write_cache
from edgefuse.errors import DeviceMismatchError, ToolchainError

MISMATCHES = [
    "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion stdVersionRead == "
    "kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current Version: 239, Serialized Engine Version: "
    "237)",
    "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device, expecting compute 8.9 "
    "got compute 8.6, please rebuild.)",
    "Error Code 6: API Usage Error (The engine plan file is not compatible with this version of TensorRT, expecting "
    "library version 10.3.0.26 got 10.7.0.23, please rebuild.)",
]
DAMAGES = [
    "Error Code 1: Serialization (Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed.)",
    "Error Code 2: OutOfMemory (Requested size was 1048576 bytes.)",
]


@pytest.fixture(autouse=True)
def version(monkeypatch):
    monkeypatch.setattr(vendor, "version", lambda: "10.3.0.26")


@pytest.mark.parametrize("said", MISMATCHES)
def test_a_plan_of_another_machine_is_a_mismatch(said):
    found = engine.refusal(said, Path("model.plan"))
    assert isinstance(found, DeviceMismatchError) and said in found.what and "edgefuse compile" in found.hint


@pytest.mark.parametrize("said", DAMAGES)
def test_a_damaged_plan_is_not(said):
    found = engine.refusal(said, Path("model.plan"))
    assert type(found) is ToolchainError and said in found.what


def test_a_missing_plan_names_itself(tmp_path):
    with pytest.raises(ToolchainError, match="cannot be read: No such file") as caught:
        engine.load_engine(tmp_path / engine.PLAN, None)
    assert caught.value.where == engine.PLAN


def test_layers_are_read_as_versions_write_them():
    """The forms of 8.x/10.x (NVIDIA/TensorRT issue 4020) and of generated kernels and TensorRT-RTX."""
    text = json.dumps(
        {
            "Layers": [
                {
                    "Name": "conv0",
                    "LayerType": "CaskConvolution",
                    "Inputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
                    "TacticName": "sm80_xmma_fprop_implicit_gemm_i8i8",
                },
                {"Name": "a", "LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Row major linear FP32"}]},
                {"Name": "b", "LayerType": "kgen", "Inputs": [{"Format/Datatype": "Half"}], "TacticName": "__myl_Add"},
                {"Name": "c", "LayerType": "gemm", "Inputs": [{"Datatype": "Float", "Format": "Row major"}]},
                {"Name": "d", "LayerType": "Gather", "Inputs": [{"Format/Datatype": "Row major linear UINT8"}]},
                {"Name": "e", "LayerType": "x", "Inputs": [{"Format/Datatype": "BFloat16"}]},
                {"Name": "f", "LayerType": "Constant", "Inputs": [], "Outputs": [{"Format/Datatype": "Int32"}]},
                {"Name": "g", "LayerType": "shape_call", "Inputs": [], "Outputs": []},
                "only a name",
            ],
            "Bindings": [],
        }
    )
    layers = read_layers(text)
    assert [layer["precision"] for layer in layers] == [
        *("int8", "f32", "fp16", "f32", "integer", "bf16", "integer", "unknown", "unknown"),
    ]
    assert layers[0] == {"name": "conv0", "precision": "int8", "kernel": "sm80_xmma_fprop_implicit_gemm_i8i8"}
    assert layers[1]["kernel"] == "Reformat"
    assert count_precisions(layers) == {"int8": 1, "f32": 2, "fp16": 1, "integer": 2, "bf16": 1, "unknown": 2}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"Layers": 3}'])
def test_layers_in_another_form_are_a_typed_error(text):
    with pytest.raises(ToolchainError, match="in another form"):
        read_layers(text)


@pytest.fixture
def timings(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_file("10.3.0.26", "aarch64-sm87")


def test_the_timing_cache_is_one_file_per_version_and_gpu_that_only_the_owner_reads(timings, tmp_path):
    notes: list[str] = []
    assert timings == tmp_path / "cache" / "edgefuse" / "tensorrt-10.3.0.26-aarch64-sm87.timing"
    assert read_cache(timings, notes) == b""
    write_cache(timings, b"measured", notes)
    assert read_cache(timings, notes) == b"measured" and notes == []
    assert timings.parent.stat().st_mode & 0o777 == 0o700 and timings.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in timings.parent.iterdir()] == [timings.name]


def test_a_user_without_a_home_has_a_timing_cache_too(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_file("10.3.0.26", "aarch64-sm87").parent.name == f"edgefuse-{os.geteuid()}"


def test_a_folder_that_others_may_write_to_is_not_trusted(timings):
    notes: list[str] = []
    write_in = timings.parent
    write_in.mkdir(parents=True)
    write_in.chmod(0o777)
    timings.write_bytes(b"planted")
    assert read_cache(timings, notes) == b"" and "others may write" in notes[0]


def test_a_cache_that_cannot_be_used_is_a_note(timings, monkeypatch):
    notes: list[str] = []
    timings.parent.parent.mkdir()
    timings.parent.write_text("a file where the folder should be")
    assert read_cache(timings, notes) == b""
    write_cache(timings, b"measured", notes)
    assert len(notes) == 2 and "not read" in notes[0] and "not written" in notes[1]


def test_a_write_that_fails_leaves_the_old_cache_and_no_litter(timings, monkeypatch):
    notes: list[str] = []
    read_cache(timings, notes)
    write_cache(timings, b"old", notes)

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    write_cache(timings, b"new", notes)
    assert timings.read_bytes() == b"old" and len(list(timings.parent.iterdir())) == 1 and "disk full" in notes[0]
