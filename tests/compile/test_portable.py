"""Compiling for a device that is another machine, and finishing on "the device" for real with OpenVINO."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

import edgefuse
from edgefuse.bundle import open_bundle, verify
from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.errors import BundleError, DeviceMismatchError, ToolchainError
from edgefuse.progress import Steps
from edgefuse.recipe import Accuracy, read_recipe
from edgefuse.recompile import Rerun, compile_bundle

ELSEWHERE = "atom-x6000e"
"""An OpenVINO target that no machine of ours is."""


def portable(tiny_recipe, out, target, precision="auto", **changes):
    recipe = replace(read_recipe(tiny_recipe / "recipe.toml"), **changes)
    request = Request(tiny_recipe / "model.onnx", recipe, load_device(target), out, precision)
    return compile_model(request, Steps(quiet=True))


@pytest.fixture(scope="module")
def for_jetson(tiny_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("jetson") / "tiny.edgefuse"
    return out, portable(tiny_recipe, out, "jetson")


@pytest.fixture(scope="module")
def for_atom(tiny_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("atom") / "tiny.edgefuse"
    return out, portable(tiny_recipe, out, ELSEWHERE)


def finish(path, out, **asked):
    with open_bundle(path) as bundle:
        return compile_bundle(bundle, Rerun(out=out, **asked), Steps(quiet=True))


def test_a_jetson_bundle_carries_every_graph_and_says_what_is_pending(for_jetson):
    out, report = for_jetson
    assert report["verdict"] == "pending" and report["target_alias"] == "jetson"
    assert {item["graph"] for item in report["graphs"]} == {"float", "fp16", "int8", "int8+fp16"}
    bundle = verify(out)
    assert bundle.portable and set(bundle.graphs) == {"float", "fp16", "int8", "int8+fp16"}
    assert all(path.is_file() for path in bundle.graphs.values())
    assert [gate["name"] for gate in report["gates"] if gate["verdict"] == "pending"] == ["compile"]
    assert report["finish"]["command"] == "edgefuse compile tiny.edgefuse"
    assert report["finish"]["trtexec"].startswith("trtexec --onnx=model.onnx")
    assert report["accuracy"][0]["emulated"] is True and report["accuracy"][0]["verdict"] == "pass"


def test_nothing_is_measured_where_the_device_is_not(for_jetson):
    _, report = for_jetson
    latency = report["latency"]
    assert latency["float"] is latency["compiled"] is latency["speedup"] is None
    assert "edgefuse compile tiny.edgefuse" in latency["compiled_reason"]
    assert all(row["p50_ms"] is None for row in report["plan"]["candidates"])
    assert report["backend"]["version"] is None


def test_the_int8_graph_is_what_tensorrt_wants_and_nvidias_parser_agrees(for_jetson):
    out, report = for_jetson
    graph = onnx.load(verify(out).graphs["int8"])
    assert graph.opset_import[0].version == 18
    facts = next(item for item in report["graphs"] if item["graph"] == "int8")
    assert facts["lint"] == [] and facts["int8"] == facts["eligible"] == 1, "the heads of one row stay float"
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs pip install 'edgefuse[trt-check]'")
    assert facts["toolchain"]["verdict"] == "pass" and "TensorRT-RTX" in facts["toolchain"]["text"]
    assert len(facts["toolchain"]["int8"]) == 1 and not facts["toolchain"]["fallback"]
    assert "Jetson" not in facts["toolchain"]["text"]


def test_a_portable_bundle_is_refused_at_load_with_the_command(for_jetson):
    with pytest.raises(DeviceMismatchError, match="not been compiled on its device") as caught:
        edgefuse.load(for_jetson[0])
    assert "edgefuse compile tiny.edgefuse" in caught.value.hint


def test_compiling_a_bundle_where_its_device_is_not_changes_nothing(for_jetson, tmp_path):
    before = (for_jetson[0] / "manifest.json").read_bytes()
    with pytest.raises(DeviceMismatchError, match="jetson-orin-nano-8gb, which is not here"):
        finish(for_jetson[0], for_jetson[0])
    assert (for_jetson[0] / "manifest.json").read_bytes() == before


def test_require_device_refuses_to_make_a_portable_bundle(tiny_recipe, tmp_path):
    recipe = read_recipe(tiny_recipe / "recipe.toml")
    device = load_device("jetson")
    request = Request(tiny_recipe / "model.onnx", recipe, device, tmp_path / "t.edgefuse", require_device=True)
    with pytest.raises(DeviceMismatchError, match="is not here") as caught:
        compile_model(request, Steps(quiet=True))
    assert caught.value.exit_code == 5 and not (tmp_path / "t.edgefuse").exists()


def test_an_emulated_failure_fails_here_and_now(tiny_recipe, tmp_path):
    report = portable(tiny_recipe, tmp_path / "t.edgefuse", "jetson", "int8", accuracy=Accuracy("sqnr", min_sqnr_db=90))
    assert report["verdict"] == "fail" and report["plan"]["precision"] == "int8"


def test_auto_puts_a_precision_first_that_keeps_the_limit(tiny_recipe, tmp_path):
    report = portable(tiny_recipe, tmp_path / "t.edgefuse", "jetson", accuracy=Accuracy("sqnr", min_sqnr_db=55))
    assert report["plan"]["precision"] == "fp16", "INT8 is below 55 dB"
    assert report["verdict"] == "pending"


def test_the_device_finishes_a_portable_bundle_in_place(for_atom, tmp_path):
    import shutil

    out, before = for_atom
    assert before["verdict"] == "pending" and before["finish"]["trtexec"] is None
    copy = shutil.copytree(out, tmp_path / "tiny.edgefuse")
    report = finish(copy, copy, target="host")
    assert report["verdict"] == "pass" and report["target"] == "host" and report["finish"] is None
    assert next(gate["name"] for gate in report["gates"]) == "export"
    assert {gate["verdict"] for gate in report["gates"]} == {"pass"}
    assert report["latency"]["compiled"]["p50_ms"] > 0 and report["latency"]["float"]["p50_ms"] > 0
    assert report["accuracy"][0]["emulated"] is False
    assert {row["precision"] for row in report["plan"]["candidates"]} >= {"float", "int8"}
    assert report["exported_on"] == before["environment"]
    assert json.loads((copy / "report.json").read_text()) == report
    with edgefuse.load(copy) as model:
        feed = {"image": np.ones((1, 1, 8, 8), np.float32), "state": np.ones((1, 6), np.float32)}
        assert np.isfinite(model(feed)["logits"]).all()
    again = finish(copy, copy)
    assert again["verdict"] == "pass", "a finished bundle can be compiled again, after an update of the library say"
    assert again["exported_on"] == before["environment"]


def test_the_device_compiles_what_it_is_told_to(for_atom, tmp_path):
    assert verify(for_atom[0]).manifest["graphs"] == {"float": "graphs/float.onnx", "int8": "model.onnx"}
    report = finish(for_atom[0], tmp_path / "f.edgefuse", target="host", precision="float", p90_ms=1000.0)
    assert report["plan"]["precision"] == "float" and report["latency"]["verdict"] == "pass"
    manifest = verify(tmp_path / "f.edgefuse").manifest
    assert manifest["limits"]["p90_ms"] == 1000.0 and manifest["target"]["name"] == "host"
    assert manifest["graphs"] == {"float": "model.onnx", "int8": "graphs/int8.onnx"}, "the chosen graph comes first"
    assert {item["graph"]: item["file"] for item in report["graphs"]} == manifest["graphs"]
    model = onnx.load(tmp_path / "f.edgefuse" / "model.onnx")
    assert not any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def test_a_bundle_of_another_version_is_compiled_again_from_its_graphs(tiny_bundle, tmp_path):
    report = finish(tiny_bundle, tmp_path / "again.edgefuse")
    assert report["plan"]["precision"] == "int8" and report["verdict"] == "pass"
    assert report["latency"]["float"]["p50_ms"] > 0 and len(report["fallbacks"]) == 2


def test_a_portable_bundle_without_its_samples_is_damaged(for_jetson, tmp_path):
    import shutil

    copy = shutil.copytree(for_jetson[0], tmp_path / "tiny.edgefuse")
    (copy / "search.npz").unlink()
    with pytest.raises(BundleError, match=r"search\.npz"):
        verify(copy)


def test_an_operation_that_falls_back_to_float_is_an_error_and_auto_goes_on_without_it(
    tiny_recipe, tmp_path, monkeypatch
):
    """The placement never does this; here it is made to: a scale of shape [1] runs in float, silently."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs pip install 'edgefuse[trt-check]'")
    from edgefuse.quantize import rewrite

    real = rewrite._Writer.constant
    monkeypatch.setattr(
        rewrite._Writer, "constant", lambda self, name, value: real(self, name, np.atleast_1d(np.asarray(value)))
    )
    monkeypatch.setattr("edgefuse.compile.toolchain.lint_model", lambda *a: [])
    with pytest.raises(ToolchainError, match="does not run the int8 graph in INT8"):
        portable(tiny_recipe, tmp_path / "a.edgefuse", "jetson", "int8")
    report = portable(tiny_recipe, tmp_path / "b.edgefuse", "jetson")
    assert report["plan"]["precision"] == "fp16"
    assert any("does not run" in row.get("failed", "") for row in report["plan"]["candidates"])


def test_for_tensorrt_8_the_graph_is_lowered_and_only_trtexec_is_named(tiny_recipe, tmp_path):
    report = portable(tiny_recipe, tmp_path / "t.edgefuse", "jetson-xavier-nx")
    bundle = verify(tmp_path / "t.edgefuse")
    assert onnx.load(bundle.graphs["float"]).opset_import[0].version == 17
    assert report["finish"]["command"] is None and "--int8" in report["finish"]["trtexec"]
    assert "int8+fp16" not in bundle.graphs, "FP16 scales need opset 19"
    assert report["verdict"] == "pending"


def test_what_was_asked_for_is_asked_for_again_on_the_device(tiny_recipe, tmp_path):
    report = portable(tiny_recipe, tmp_path / "a b.edgefuse", "jetson", "int8")
    assert report["finish"]["command"] == "edgefuse compile 'a b.edgefuse' --precision int8"
    assert set(verify(tmp_path / "a b.edgefuse").graphs) == {"float", "int8"}


def rewrite_manifest(path, change):
    from edgefuse.bundle_writer import write_manifest

    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    write_manifest(path, manifest)


CHANGES = {
    "no limits": (lambda m: m["limits"].pop("accuracy"), "limits.accuracy"),
    "a limit as text": (lambda m: m["limits"].update(p90_ms="5"), "limits.p90_ms"),
    "an unknown limit": (lambda m: m["limits"]["accuracy"].update(nope=1), "unknown key 'nope'"),
    "an output of another model": (lambda m: m["limits"]["accuracy"].update(output="nope"), "'nope'"),
    "no outputs": (lambda m: m["model"].update(outputs=[]), "without inputs or outputs"),
    "an input named by a number": (lambda m: m["model"]["inputs"][0].update(name=3), r"inputs\[0\].name"),
    "no plan": (lambda m: m.update(plan=None), "plan"),
    "an unknown graph": (lambda m: m["graphs"].update(fp9="graphs/float.onnx"), "graphs.fp9"),
    "a graph that is not there": (lambda m: m["graphs"].update(float="graphs/nope.onnx"), "graphs.float"),
    "one file for two graphs": (lambda m: m["graphs"].update(float="model.onnx"), "one file for two"),
    "a graph outside": (lambda m: m["graphs"].update(float="../float.onnx"), "graphs.float"),
    "a limit below 0": (lambda m: m["limits"].update(p90_ms=-1.0), "limits.p90_ms"),
    "a verdict of its own": (lambda m: m.update(verdict="great"), "verdict is 'great'"),
    "no target": (lambda m: m["target"].pop("name"), "target.name"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_somebody_edited_is_damaged_and_says_where(for_atom, tmp_path, name):
    import shutil

    change, said = CHANGES[name]
    copy = shutil.copytree(for_atom[0], tmp_path / "tiny.edgefuse")
    rewrite_manifest(copy, change)
    with pytest.raises(BundleError, match=f"manifest is damaged: .*{said}"):
        verify(copy)


def resave(path, change):
    arrays = dict(np.load(path))
    change(arrays)
    np.savez(path, **arrays)


SAMPLES = {
    "golden.npz": [
        (lambda a: a.pop("inputs.image"), "lacks the array 'inputs.image'"),
        (lambda a: a.update({k: v[:0] for k, v in a.items()}), "have 0 rows"),
        (lambda a: a.update({"label": a["label"][:3]}), "expected equally many"),
        (lambda a: a.update({"inputs.state": a["inputs.state"].astype(np.float64)}), "expected float32 1x6"),
        (lambda a: a.update({k: v[:30] for k, v in a.items()}), r"answers to 60 samples; golden.npz has 30"),
    ],
    "search.npz": [(lambda a: a.pop("reference.logits"), "lacks the array 'reference.logits'")],
    "emulated.npz": [
        (lambda a: a.pop("int8.logits"), "lacks the array 'int8.logits'"),
        (lambda a: a.update({k: v[:3] for k, v in a.items()}), "answers to 3 samples; golden.npz has 60"),
        (lambda a: a.update({"float.logits": np.full(60, "text")}), "expected numbers"),
    ],
    "report.json": [
        ('{"graphs": []}', "model"),
        ("[]", "expected a table"),
        ("not JSON", "damaged"),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000, "damaged"),
    ],
}


@pytest.mark.parametrize(("file", "index"), [(file, i) for file, cases in SAMPLES.items() for i in range(len(cases))])
def test_samples_that_somebody_exchanged_are_told_before_anything_is_built(for_atom, tmp_path, file, index):
    import shutil

    change, said = SAMPLES[file][index]
    copy = shutil.copytree(for_atom[0], tmp_path / "tiny.edgefuse")
    if callable(change):
        resave(copy / file, change)
    else:
        (copy / file).write_text(change)
    rewrite_manifest(copy, lambda manifest: None)
    with pytest.raises(BundleError, match=said):
        finish(copy, copy, target="host")


def test_where_plain_int8_is_beyond_the_limit_a_mixed_graph_is_made_for_the_device(tiny_recipe, tmp_path):
    """The limit is two decibels above what plain INT8 has, so that leaving the worst operation in float helps."""
    plain = portable(
        tiny_recipe, tmp_path / "plain.edgefuse", ELSEWHERE, accuracy=Accuracy(metric="sqnr", min_sqnr_db=1.0)
    )
    assert not [row for row in plain["plan"]["candidates"] if "mixed" in row["name"]]
    int8 = next(row for row in plain["plan"]["candidates"] if row["name"] == "int8")
    strict = Accuracy(metric="sqnr", min_sqnr_db=int8["sqnr_db"] + 2.0)
    report = portable(tiny_recipe, tmp_path / "mixed.edgefuse", ELSEWHERE, accuracy=strict)
    rows = {row["name"]: row for row in report["plan"]["candidates"]}
    mixed = [row for name, row in rows.items() if name.startswith("int8-mixed")]
    assert not rows["int8"]["passes"] and mixed
    assert all(row["sqnr_db"] > rows["int8"]["sqnr_db"] for row in mixed)
    assert {row["graph"] for row in mixed} <= set(verify(tmp_path / "mixed.edgefuse").graphs)
    assert any("/" in loss["name"] for loss in report["plan"]["sensitivity"])  # by block


def test_a_finished_bundle_with_a_variant_of_a_graph_is_compiled_again(copy_of_bundle, tmp_path):
    new = {"float": "float", "int8": "int8-parts"}

    def change(manifest):
        manifest["graphs"] = {new[name]: file for name, file in manifest["graphs"].items()}
        manifest["plan"]["graph"] = "int8-parts"

    report = json.loads((copy_of_bundle / "report.json").read_text())
    report["graphs"] = [{**item, "graph": new[item["graph"]]} for item in report["graphs"]]
    (copy_of_bundle / "report.json").write_text(json.dumps(report))
    rewrite_manifest(copy_of_bundle, change)
    report = finish(copy_of_bundle, tmp_path / "again.edgefuse")
    assert report["plan"]["graph"] == "int8-parts" and report["plan"]["precision"] == "int8"
    assert verify(tmp_path / "again.edgefuse").manifest["plan"]["name"] == "int8 parts"
