"""Every verb as it is meant to be used: exit code, stdout for results, stderr for talk."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgefuse.golden import read_golden


@pytest.fixture
def feed(tiny_bundle, tmp_path):
    sample = next(read_golden(tiny_bundle / "golden.npz"))
    np.savez(tmp_path / "feed.npz", **sample.feed)
    return tmp_path / "feed.npz"


def test_compile_talks_on_stderr_and_prints_the_report_on_stdout(cli, tiny_recipe, tmp_path):
    found = cli("compile", tiny_recipe, "--precision", "float", "-o", tmp_path / "t.edgefuse", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out) == json.loads((tmp_path / "t.edgefuse" / "report.json").read_text())
    assert "Exporting to ONNX" in found.err


def test_a_bundle_in_one_file_is_written_replaced_checked_and_run(cli, tiny_recipe, feed, tmp_path):
    out = tmp_path / "out" / "t.edgefuse.zip"
    for _ in range(2):
        found = cli("compile", tiny_recipe, "--precision", "float", "-o", out, "-q")
        assert found.code == 0 and "report.html in the zip" in found.out, found.err
        assert [path.name for path in out.parent.iterdir()] == [out.name] and out.is_file()
    assert cli("check", out, "-q").code == 0
    assert cli("run", out, "--input", feed).out.startswith("logits")


def test_quiet_says_only_the_result(cli, tiny_recipe, tmp_path):
    found = cli("compile", tiny_recipe, "--precision", "float", "-o", tmp_path / "t.edgefuse", "-q")
    assert found.code == 0 and found.err == "" and "PASS" in found.out


def test_a_flag_beats_the_recipe(cli, tiny_recipe, tmp_path):
    found = cli("compile", tiny_recipe, "--precision", "float", "--max-drop", "0.01pt", "--max-latency", "900ms",
                "-o", tmp_path / "t.edgefuse", "--json")  # fmt: skip
    report = json.loads(found.out)
    assert found.code == 3 and report["verdict"] == "inconclusive"
    assert report["accuracy"][0]["limit"] == pytest.approx(1e-4) and report["latency"]["limit_p90_ms"] == 900.0


def test_a_limit_that_cannot_be_met_is_exit_code_1(cli, tiny_bundle):
    found = cli("check", tiny_bundle, "--max-latency", "0.001us", "--json")
    assert found.code == 1 and json.loads(found.out)["latency"]["verdict"] == "fail"


def test_check_says_pass(cli, tiny_bundle):
    found = cli("check", tiny_bundle)
    assert found.code == 0 and "PASS" in found.out and "Checking accuracy" in found.err


def test_inspect_shows_a_bundle_and_a_model(cli, tiny_bundle, tiny_onnx):
    bundle, model = cli("inspect", tiny_bundle), cli("inspect", tiny_onnx)
    assert bundle.code == 0 and "1x1x8x8" in bundle.out and "int8" in bundle.out and "every hash right" in bundle.out
    assert model.code == 0 and "1x1x8x8" in model.out and "logits" in model.out
    assert json.loads(cli("inspect", tiny_bundle, "--json").out)["model"]["outputs"] == ["logits"]


def test_run_prints_writes_and_gives_json(cli, tiny_bundle, feed, tmp_path):
    shown = cli("run", tiny_bundle, "--input", feed)
    assert shown.code == 0 and shown.out.startswith("logits  float32 1x4")
    assert cli("run", tiny_bundle, "--input", feed, "-o", tmp_path / "out.npz").code == 0
    values = json.loads(cli("run", tiny_bundle, "--input", feed, "--json").out)["values"]
    with np.load(tmp_path / "out.npz") as archive:
        assert np.allclose(archive["logits"], values)


def test_devices_and_recipes_list_what_ships(cli):
    assert {item["name"] for item in json.loads(cli("devices", "--json").out)} >= {"host", "intel-cpu"}
    assert set(json.loads(cli("recipes", "--json").out)) == {
        "act",
        "digits",
        "digits-early",
        "digits-decision",
        "rover",
    }
    assert "OPTIMIZATION_CAPABILITIES" in cli("devices", "intel-cpu").out


def test_a_device_is_shown_with_its_sources_its_limits_and_what_is_assumed(cli):
    shown = cli("devices", "jetson")
    assert shown.code == 0 and "jetson means jetson-orin-nano-8gb, the family's default" in shown.out
    for words in ("assumes JetPack 6.2", "int8_tops_dense = 33.4 TOPS", "unverified", "FP8 needs", "JetPack    6.2: "):
        assert words in shown.out
    [found] = json.loads(cli("devices", "jetson", "--json").out)
    assert (found["name"], found["alias"], found["tensorrt"]) == ("jetson-orin-nano-8gb", "jetson", "10.3.0")
    assert found["figures"]["sms"]["source"] and found["jetpacks"] == ["5.1", "6.0", "6.1", "6.2", "7.2"]


def test_the_jetpack_table_is_listed(cli):
    listed = cli("devices", "--jetpack")
    assert listed.code == 0 and "TensorRT 10.3.0" in listed.out and "L4T 36.4.3 to 36.5" in listed.out
    assert {row["jetpack"] for row in json.loads(cli("devices", "--jetpack", "--json").out)} >= {"5.1", "6.2", "7.1"}
    assert cli("devices", "jetson", "--jetpack").code == 2


def test_doctor_finds_the_vendor_library_and_names_a_cure_for_what_is_missing(cli, monkeypatch):
    found = cli("doctor")
    assert found.code == 0 and "openvino" in found.out
    monkeypatch.setattr("edgefuse.doctor.installed_version", lambda name: None)
    broken = cli("doctor")
    assert broken.code == 5 and "pip install 'edgefuse[openvino]'" in broken.out


@pytest.mark.parametrize("verb", ["devices", "recipes"])
def test_lists_fit_80_columns(cli, verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, cli(verb).out.splitlines())) <= 80
