"""Who is blamed for what, on really compiled bundles that are damaged on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgefuse.backends.onnxruntime import open_session
from edgefuse.blame import find_parts_at_fault, run_here
from edgefuse.blame.rest import Rest
from edgefuse.bundle import open_bundle
from edgefuse.bundle_writer import write_manifest
from edgefuse.errors import BundleError
from edgefuse.golden import read_golden
from edgefuse.part_answers import PartAnswers, answer
from edgefuse.partition import split
from edgefuse.quantize.fp16 import observe_floats, to_fp16
from tests.blame.damage import damage
from tests.blame.robots import BRANCHES, make_joined


def rewrite(path, change=lambda manifest: manifest):
    """A valid manifest for the files as they are now."""
    write_manifest(path, change(json.loads((path / "manifest.json").read_text())))
    return path


def test_a_sound_bundle_blames_nobody(blame, tiny_bundle, robot_bundle):
    for path, count in ((tiny_bundle, 60), (robot_bundle, 32)):
        found = blame(path)
        assert found.part is None and found.parts == () and found.stage is None, found.text
        assert "No part is at fault" in found.text and found.notes == ()
        assert found.whole.samples == count and found.whole.whole_db == pytest.approx(found.whole.compiled_db, abs=0.1)
        assert all(row.basis == "float" and row.alone_db == pytest.approx(row.graph_db, abs=0.5) for row in found.rows)


@pytest.mark.parametrize("part", ["camera", "state", "trunk"])
def test_the_damaged_part_of_shipped_parts_is_named(blame, copied, tiny_bundle, part):
    found = blame(damage(copied(tiny_bundle), [part]))
    assert (found.part, found.stage, len(found.parts)) == (part, "graph", 1), found.text
    assert f"The error starts in {part}: " in found.text and "in model.onnx itself" in found.text
    wrong = {row.name: row.alone_db < 20 for row in found.rows}
    assert wrong == {name: name == part for name in ("camera", "state", "trunk")}, "the others are sound alone"


@pytest.mark.parametrize("part", [*BRANCHES, "trunk"])
def test_the_damaged_part_is_named_where_no_parts_are_shipped(blame, copied, robot_bundle, part):
    found = blame(damage(copied(robot_bundle), [part]))
    assert (found.part, found.stage, len(found.parts)) == (part, "graph", 1), found.text


def test_two_damaged_parts_are_both_named_the_worst_first(blame, copied, robot_bundle):
    found = blame(damage(copied(robot_bundle), ["imu", "lidar"]))
    assert found.parts == ("lidar", "imu") and found.rows[0].fault is None
    assert "The error starts in lidar and imu: lidar " in found.text


def test_an_artifact_that_is_not_the_graphs_is_told_from_the_graph(blame, copied, robot_bundle):
    found = blame(damage(copied(robot_bundle), ["lidar"], what=["artifact"]))
    assert (found.part, found.stage) == (None, "artifact"), found.text
    assert "the compiled artifact, not the graph" in found.text


def test_a_shipped_part_that_is_not_the_graphs_is_named(blame, copied, tiny_bundle):
    found = blame(damage(copied(tiny_bundle), ["camera"], what=["artifact"], shipped=["camera"]))
    assert (found.parts, found.stage) == (("camera",), "artifact"), found.text
    assert found.whole.whole_db > 25, "a call runs the whole graph, which is sound: the stream is what is wrong"


def test_a_graph_that_is_not_what_was_compiled_is_said_and_blames_nobody(blame, copied, tiny_bundle, robot_bundle):
    shipped = blame(damage(copied(tiny_bundle), ["camera"], what=["graph"]))
    assert shipped.part is None and "But model.onnx is not what was compiled" in shipped.text
    fresh = blame(damage(copied(robot_bundle), ["camera"], what=["graph"]))
    assert fresh.part is None and "would be worse: camera." in fresh.text


def test_what_only_the_devices_toolchain_does_wrong_is_its_fault(robot_bundle):
    """A device that loses half of the lidar's features, in whatever it compiles."""
    with open_bundle(robot_bundle) as bundle:
        honest = run_here(bundle)

        def device(question, given, onnx_paths):
            found = honest(question, given, onnx_paths)
            rows = [{**row, "t1": row["t1"] * 0.5, "velocity": row["velocity"] * 0.5} for row in found.sequence]
            whole = [{**row, "velocity": row["velocity"] * 0.5} for row in found.whole]
            return PartAnswers(whole, rows, found.alone)

        found = find_parts_at_fault(bundle, device)
    assert (found.parts, found.stage) == (("lidar",), "toolchain"), found.text
    assert "in what this device's toolchain makes of it" in found.text


def test_a_loss_that_was_there_from_the_start_is_shared_out(blame, copied, robot_bundle):
    """Not worse than on the day it was compiled, and yet beyond the limit."""
    path = copied(robot_bundle)

    def stricter(manifest):
        manifest["limits"]["accuracy"]["min_sqnr_db"] = 50.0
        return manifest

    found = blame(rewrite(path, stricter))
    assert found.whole.fails and found.stage is None and "Shares: camera" in found.text
    noises = {row.name: row.noise for row in found.rows}
    assert found.part == ("camera" if noises["camera"] / sum(noises.values()) >= 0.5 else None)


def test_dynamic_shapes_and_carried_state(blame, copied, dynamic_bundle):
    sound = blame(dynamic_bundle)
    assert sound.part is None and sound.whole.sequence_db > 25, sound.text
    found = blame(damage(copied(dynamic_bundle), ["imu"]))
    assert found.parts == ("imu",), found.text


def test_a_model_of_one_part_says_so(blame, tmp_path):
    path = make_joined(tmp_path)
    assert blame(path).part is None
    found = blame(damage(path, ["trunk"]))
    assert found.part == "trunk" and "The model is one part" in found.text and found.stage == "graph"


def without_float(path):
    (path / "graphs" / "float.onnx").unlink()
    (path / "graphs").rmdir()
    return rewrite(path, lambda manifest: {**manifest, "graphs": {"int8": "model.onnx"}})


def test_without_a_float_graph_the_graphs_fault_is_told_but_not_its_part(blame, copied, robot_bundle):
    path = without_float(damage(copied(robot_bundle), ["camera"]))
    found = blame(path)
    assert (found.part, found.stage) == (None, "graph"), found.text
    assert "cannot be told" in found.text and "no float graph" in found.notes[0]
    assert {row.basis for row in found.rows} == {"compiled"}


def test_without_a_float_graph_a_shipped_parts_artifact_is_still_named(blame, copied, tiny_bundle):
    path = without_float(damage(copied(tiny_bundle), ["state"], what=["artifact"]))
    found = blame(path)
    assert (found.parts, found.stage) == (("state",), "artifact"), found.text


def test_a_float_graph_that_is_not_the_goldens_is_not_believed(blame, copied, tiny_bundle):
    path = copied(tiny_bundle)
    model = onnx.load(path / "graphs" / "float.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "state_w":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    onnx.save(model, path / "graphs" / "float.onnx")
    found = blame(rewrite(path))
    assert found.part is None and "does not give the float answers" in found.notes[0]


def renamed(old):
    """*old*, under a name that the float graph does not have."""

    def change(model, nodes):
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [f"{old}_of_another_exporter" if name == old else name for name in names]
        del model.graph.value_info[:]

    return change


def test_a_boundary_tensor_that_the_float_graph_does_not_have_leaves_the_others_tellable(blame, copied, robot_bundle):
    path = damage(copied(robot_bundle), ["lidar"], double=renamed("t1"))
    found = blame(path)
    assert found.part is None and "t1_of_another_exporter" in found.notes[0]
    assert {row.name: row.basis for row in found.rows} == {
        "camera": "float", "lidar": "compiled", "imu": "float", "trunk": "compiled",
    }  # fmt: skip
    found = blame(damage(path, ["camera"]))
    assert (found.parts, found.stage) == (("camera",), "graph"), found.text


def test_where_it_cannot_be_told_the_parts_that_are_left_are_listed(blame, copied, robot_bundle):
    path = damage(damage(copied(robot_bundle), ["lidar"], double=renamed("t1")), ["lidar"])
    found = blame(path)
    assert (found.part, found.stage) == (None, "graph") and "in which part (lidar and trunk)" in found.text


def quantized_seam(maker=1.0, reader=1.0):
    """The lidar's features ``t1`` cross as uint8, with these factors on either side's scale."""

    def change(model, nodes):
        graph = model.graph
        zero = np.array(128, np.uint8)
        for name, factor in (("a", maker), ("b", reader)):
            graph.initializer.append(numpy_helper.from_array(np.array(4 / 255 * factor, np.float32), f"scale_{name}"))
        graph.initializer.append(numpy_helper.from_array(zero, "zero"))
        place = next(index for index, node in enumerate(graph.node) if "t1" in node.output)
        for node in graph.node:
            node.input[:] = ["t1.dq" if name == "t1" else name for name in node.input]
        pair = [
            helper.make_node("QuantizeLinear", ["t1", "scale_a", "zero"], ["t1.q"], name="t1.Q"),
            helper.make_node("DequantizeLinear", ["t1.q", "scale_b", "zero"], ["t1.dq"], name="t1.DQ"),
        ]
        nodes = [*graph.node[: place + 1], *pair, *graph.node[place + 1 :]]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)

    return change


@pytest.mark.parametrize(
    ("factors", "part"), [((1.0, 1.0), None), ((4.0, 1.0), "lidar"), ((1.0, 4.0), "trunk"), ((1.0, 0.25), "trunk")]
)
def test_whose_scale_is_wrong_at_an_int8_seam(blame, copied, robot_bundle, factors, part):
    path = damage(copied(robot_bundle), ["lidar"], double=quantized_seam(*factors))
    found = blame(path)
    with open_bundle(path) as bundle:
        assert bundle.spec.outputs == ("velocity", "seen", "h_out")
    assert found.part == part and len(found.parts) <= 1, found.text
    assert [note for note in found.notes if "written with one scale and read with another" in note] == [
        "t1.q is written with one scale and read with another"
    ] * (part is not None)


def in_half(double=""):
    """FP16 casts in place of the INT8; the weight *double* is twice what it was."""

    def change(model, path):
        flo = path / "graphs" / "float.onnx"
        ranges = observe_floats(flo, [sample.feed for sample in read_golden(path / "golden.npz")])
        to_fp16(flo, path / "half.onnx", ranges)
        model.CopyFrom(onnx.load(path / "half.onnx"))
        (path / "half.onnx").unlink()
        for tensor in model.graph.initializer:
            if double and tensor.name.startswith(double):
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))

    return change


@pytest.mark.parametrize(("double", "part"), [("", None), ("l_w", "lidar"), ("o_w", "trunk")])
def test_tensors_that_cross_in_fp16(blame, copied, robot_bundle, double, part):
    path = copied(robot_bundle)
    damage(path, ["lidar"], double=lambda model, nodes: in_half(double)(model, path))

    def as_fp16(manifest):
        plan = {**manifest["plan"], "precision": "fp16", "graph": "fp16"}
        return {**manifest, "plan": plan, "graphs": {"fp16": "model.onnx", "float": "graphs/float.onnx"}}

    found = blame(rewrite(path, as_fp16))
    with open_bundle(path) as bundle:
        halves = split(onnx.load(path / "model.onnx"), bundle.spec, {"h": "h_out"}).partition.tensors
    assert {tensor.dtype for tensor in halves} == {"float16"}
    assert found.part == part and {row.basis for row in found.rows} == {"float"}, found.text
    assert all(row.alone_db > 55 for row in found.rows if row.name != part)


def test_a_part_that_gives_nan_is_named(robot_bundle):
    with open_bundle(robot_bundle) as bundle:
        honest = partial(answer, bundle)

        def device(question, given, onnx_paths):
            found = honest(question, given, onnx_paths)
            lost = {"g0", "h_out", "velocity"}
            rows = [{n: a * np.nan if n in lost else a for n, a in row.items()} for row in found.sequence]
            whole = [{**row, "velocity": row["velocity"] * np.nan} for row in found.whole]
            return PartAnswers(whole, rows, found.alone)

        found = find_parts_at_fault(bundle, device)
    assert found.parts == ("imu",) and "no signal left" in found.text
    json.dumps(found.to_json(), allow_nan=False)


def test_what_the_plan_says_of_the_day_it_was_compiled_is_shown(blame, copied, robot_bundle):
    path = copied(robot_bundle)
    report = json.loads((path / "report.json").read_text())
    nodes = {"nodes": [], "macs": 0, "drop": None}
    report["plan"]["sensitivity"] = [
        {"name": "camera", "part": "camera", "sqnr_db": 38.25, **nodes},
        {"name": "camera/1", "part": "camera", "sqnr_db": 40.0, **nodes},
    ]
    (path / "report.json").write_text(json.dumps(report))
    found = blame(damage(rewrite(path), ["camera"]))
    assert [row.expected_db for row in found.rows] == [38.25, None, None, None]
    assert "dB alone (38.2 dB when it was compiled, on the calibration samples)" in found.text


def test_fewer_samples_are_spread_over_all(tiny_bundle):
    seen = []
    with open_bundle(tiny_bundle) as bundle:
        honest = run_here(bundle)

        def noted(question, given, onnx_paths):
            seen.append((question.rows, len(given)))
            return honest(question, given, onnx_paths)

        find_parts_at_fault(bundle, noted, samples=4)
    assert seen == [((0, 15, 30, 45), 4)]


def test_a_portable_bundle_has_nothing_to_blame(tiny_bundle):
    with open_bundle(tiny_bundle) as bundle:
        portable = replace(bundle, manifest={**bundle.manifest, "artifact": None})
        with pytest.raises(BundleError, match="portable"):
            find_parts_at_fault(portable, run_here(portable))


def test_the_json_is_the_reports(blame, copied, tiny_bundle):
    found = json.loads(json.dumps(blame(damage(copied(tiny_bundle), ["state"])).to_json()))
    assert found["part"] == "state" and found["parts"] == ["state"] and found["stage"] == "graph"
    assert [row["name"] for row in found["rows"]] == ["camera", "state", "trunk"]
    assert found["rows"][1]["streams"] == ["state"] and found["rows"][1]["fault"] == "graph"
    assert found["metric"] == "top1" and found["rows"][0]["drop"] is not None
    assert found["limit_db"] == pytest.approx(found["compiled_db"] - 6)


def test_the_rest_of_a_graph_gives_the_whole_graphs_answers(robot_bundle):
    """Started from its own values in the middle, and with an output that is such a value."""
    model = onnx.load(robot_bundle / "graphs" / "float.onnx")
    names = ["c4", "l1", "h_out"]
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names[:2])
    session = open_session(observed.SerializeToString(), optimize="none")
    golden = np.load(robot_bundle / "golden.npz")
    feed = {item.name: golden[f"inputs.{item.name}"][0] for item in session.get_inputs()}
    outputs = [value.name for value in model.graph.output]
    values = dict(zip([*outputs, *names[:2]], session.run([*outputs, *names[:2]], feed)))
    found = Rest(model, names, {**feed, **values})({**feed, **values})
    for name in outputs:
        np.testing.assert_allclose(found[name], values[name], rtol=1e-6, atol=1e-7)
    moved = Rest(model, names, {**feed, **values})({**feed, **values, "l1": values["l1"] + 1})
    assert not np.allclose(moved["velocity"], values["velocity"]) and np.array_equal(moved["seen"], found["seen"])
