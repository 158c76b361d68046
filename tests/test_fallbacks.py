"""What a bundle knows of answers without a sensor, and the float graph that it carries beside the compiled one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import edgefuse
from edgefuse.bundle import open_bundle
from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.errors import BundleError, UsageError
from edgefuse.golden import read_golden
from edgefuse.manifest import GOLDEN
from edgefuse.progress import Steps
from edgefuse.recheck import check_bundle
from edgefuse.recipe import read_recipe
from edgefuse.recompile import Rerun, compile_bundle
from edgefuse.runtime import open_float
from edgefuse.stream.policy import StreamPolicy


def test_each_sensors_absence_is_measured_as_a_loop_by_hand_measures_it(tiny_bundle):
    with edgefuse.load(tiny_bundle) as model, open_bundle(tiny_bundle) as bundle:
        rows = {tuple(row["absent"]): row for row in bundle.manifest["fallbacks"]}
        assert rows.keys() == {("camera",), ("state",)}
        samples = list(read_golden(bundle.path / GOLDEN))
        for name, row in zip(("image", "state"), rows.values()):
            right = [
                model({**s.feed, name: np.zeros_like(s.feed[name])})["logits"].argmax() == s.label for s in samples
            ]
            found = row["runners"]["compiled"]
            assert found["value"] == pytest.approx(np.mean(right)) and row["samples"] == len(samples)
            assert found["drop"] == pytest.approx(found["clean"] - found["value"])


def test_a_fallback_is_refused_where_nobody_has_measured_it(tiny_bundle):
    with edgefuse.load(tiny_bundle) as model:
        model.stream({"camera": {"on_stale": "fallback", "max_age_ms": 50}}).close()
        with pytest.raises(UsageError, match=r"nobody has measured .* 0\.5 in the place of 'camera'"):
            model.stream({"camera": {"on_stale": "fallback", "fallback": 0.5}})


def test_together_two_sensors_may_be_absent_only_where_the_recipe_says_so(tiny_recipe, tmp_path):
    recipe = read_recipe(tiny_recipe / "recipe.toml")
    policies = {"camera": StreamPolicy(on_stale="fallback", required=False, fallback=0.5)}
    out = tmp_path / "f.edgefuse"
    request = Request(tiny_recipe / "model.onnx", replace(recipe, streams=policies), load_device("host"), out, "float")
    report = compile_model(request, Steps(quiet=True))
    assert [(row["absent"], row["fills"]) for row in report["fallbacks"]] == [
        (["camera"], {"camera": 0.5}),
        (["state"], {"state": 0.0}),
    ]
    with edgefuse.load(out) as model, model.stream({"state": {"required": False}}) as stream:
        assert "absent together" in stream.step(0).reason
        assert stream.push("state", np.ones((1, 6), np.float32), 1)
        result = stream.step(1)
        assert result.ok and result.streams["camera"].source == "fallback"


def test_the_float_graph_in_the_bundle_answers_as_the_reference(tiny_bundle):
    with open_bundle(tiny_bundle) as bundle:
        assert bundle.manifest["graphs"].keys() == {"int8", "float"}
        runner, samples = open_float(bundle), read_golden(bundle.path / GOLDEN)
        for sample in samples:
            assert np.allclose(runner(sample.feed)["logits"], sample.reference["logits"], atol=1e-5)
        runner.close()


def test_without_the_float_graph_a_bundle_is_smaller_and_says_what_is_missing(tiny_recipe, tmp_path):
    recipe, out = read_recipe(tiny_recipe / "recipe.toml"), tmp_path / "lean.edgefuse"
    model = tiny_recipe / "model.onnx"
    request = Request(model, recipe, load_device("host"), out, "int8", float_graph=False)
    compile_model(request, Steps(quiet=True))
    assert list(json.loads((out / "manifest.json").read_text())["graphs"]) == ["int8"]
    with open_bundle(out) as bundle:
        with pytest.raises(BundleError, match="holds no float graph"):
            open_float(bundle)
        found = check_bundle(bundle, Steps(quiet=True))["latency"]
        assert found["float"] is None and found["float_reason"] == "the bundle holds no float graph"
        with pytest.raises(UsageError, match="holds no graph for float; it has int8"):
            compile_bundle(bundle, Rerun(tmp_path / "again.edgefuse", precision="float"), Steps(quiet=True))
