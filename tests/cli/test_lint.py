"""``edgefuse lint`` as it is meant to be used: exit code, a list for people, JSON for machines."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest

from edgefuse.cli import lint
from edgefuse.device import Device
from edgefuse.lint import RULES
from tests.lint.cases import CASES, CLEAN

ORIN = Device("test-orin", "tensorrt", tensorrt="10.3.0", compute_capability="8.7", alias="orin")
NVIDIA = Device("test-gpu", "tensorrt")


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    """Profiles of our own, so that an edited one changes no test."""
    known = {"orin": ORIN, "gpu": NVIDIA, "cpu": Device("test-cpu", "openvino")}
    monkeypatch.setattr(lint, "load_device", lambda name: known[name])


@pytest.fixture
def saved(tmp_path):
    def save(model):
        onnx.save(model, tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    return save


def test_a_sound_graph_passes_and_says_what_was_checked(cli, saved):
    found = cli("lint", saved(CLEAN["MatMul"]), "--target", "orin")
    said = " ".join(found.out.split())
    assert found.code == 0 and found.err == ""
    assert f"no findings: the graph keeps all {len(RULES)} rules for TensorRT 10.3.0" in said
    assert "orin means test-orin, compute capability 8.7" in said


def test_an_error_is_exit_code_4_with_node_message_and_cure(cli, saved):
    found = cli("lint", saved(CASES["int32 bias"].model), "--target", "orin")
    assert found.code == 4 and found.err == ""
    assert "error E4  bias_node DequantizeLinear" in found.out
    assert "'bias_q' is int32" in found.out and "→ Leave biases in float32" in found.out
    assert "1 error, 0 warnings for TensorRT 10.3.0" in found.out


def test_warnings_alone_are_exit_code_0(cli, saved):
    found = cli("lint", saved(CASES["unequal concat"].model), "--target", "orin")
    assert found.code == 0 and "0 errors, 1 warning" in found.out


@pytest.mark.parametrize("name", CASES)
def test_the_list_fits_80_columns(cli, saved, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = cli("lint", saved(CASES[name].model), "--target", "gpu")
    assert max(map(len, found.out.splitlines())) <= 80


def test_json_has_target_version_findings_and_verdict(cli, saved):
    found = cli("lint", saved(CASES["zero point 3"].model), "--target", "orin", "--json")
    report = json.loads(found.out)
    assert found.code == 4 and list(report) == ["target", "tensorrt", "findings", "verdict"]
    assert (report["target"], report["tensorrt"], report["verdict"]) == ("test-orin", "10.3.0", "fail")
    assert [finding["rule"] for finding in report["findings"]] == ["E2"]
    assert json.loads(cli("lint", saved(CLEAN["MatMul"]), "--target", "orin", "--json").out)["verdict"] == "pass"


def test_the_targets_versions_decide(cli, saved):
    path = saved(CASES["Attention on 10.13"].model)
    assert cli("lint", path, "--target", "orin").code == 4
    newest = cli("lint", path, "--target", "gpu")
    assert newest.code == 0 and "the newest known" in newest.out


def test_a_bundle_is_linted_by_its_graph(cli, tiny_bundle, tmp_path):
    """It was quantized for OpenVINO, so it has what TensorRT refuses."""
    packed = shutil.make_archive(str(tmp_path / "b"), "zip", tiny_bundle)
    for bundle in (tiny_bundle, packed):
        found = cli("lint", bundle, "--target", "orin", "--json")
        assert found.code == 4 and "E1" in {finding["rule"] for finding in json.loads(found.out)["findings"]}


def test_another_backends_target_is_a_usage_error(cli, saved):
    found = cli("lint", saved(CLEAN["MatMul"]), "--target", "cpu")
    assert found.code == 2 and "lint is for TensorRT targets" in found.err and "openvino" in found.err


@pytest.mark.parametrize(
    ("content", "says"), [(None, "no such file"), (b"", "empty"), (b"hello, world\n" * 9, "m.onnx")]
)
def test_a_file_that_is_no_onnx_is_exit_code_4(cli, tmp_path, content, says):
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    found = cli("lint", tmp_path / "m.onnx", "--target", "orin")
    assert found.code == 4 and says in found.err and "Traceback" not in found.err


def test_rules_are_listed_without_a_model(cli):
    assert cli("lint").code == 2
    listed = cli("lint", "--rules")
    assert listed.code == 0 and all(f"{rule} " in listed.out for rule in RULES)
    assert [item["rule"] for item in json.loads(cli("lint", "--rules", "--json").out)] == list(RULES)
