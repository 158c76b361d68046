"""The planner from end to end, on the tiny model and the real OpenVINO."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefuse
from edgefuse import search, split_plan
from edgefuse.bundle import open_bundle
from edgefuse.compile import Request, compile_model, plan_only
from edgefuse.device import load_device
from edgefuse.golden import read_golden
from edgefuse.progress import Steps
from edgefuse.recipe import find_recipe, read_recipe
from edgefuse.runtime import open_parts


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def request(folder: Path, out: Path, **changes: Any) -> Request:
    recipe = read_recipe(find_recipe(str(folder)))
    return replace(Request(recipe.model.path, recipe, load_device("host"), out), **changes)


def compiled(folder: Path, out: Path, **changes: Any) -> dict[str, Any]:
    return compile_model(request(folder, out, **changes), Steps(quiet=True))


@pytest.fixture
def split_bundle(tiny_recipe, tmp_path, monkeypatch) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Compiles with the given thresholds, so that what a split is for does not hang on this machine's noise."""

    def make(worth_call: float, worth_stream: float) -> tuple[dict[str, Any], Path]:
        monkeypatch.setattr(split_plan, "WORTH_CALL", worth_call)
        monkeypatch.setattr(split_plan, "WORTH_STREAM", worth_stream)
        return compiled(tiny_recipe, tmp_path / "t.edgefuse"), tmp_path / "t.edgefuse"

    return make


def test_the_report_says_what_each_part_is_takes_and_loses(split_bundle):
    plan = split_bundle(0.0, 0.0)[0]["plan"]
    parts = {part["name"]: part for part in plan["parts"]}
    assert parts["camera"]["kind"] == "branch" and parts["camera"]["streams"] == ["camera"]
    assert all(part["latency_p50_ms"] > 0 for part in parts.values())
    assert {item["from"] for item in plan["boundary"]} <= set(parts)
    assert {loss["part"] for loss in plan["sensitivity"]} <= set(parts) and plan["sensitivity"]
    ways = {(time["graph"], time["inference"], time["threads"]) for time in plan["part_times"]}
    assert len(ways) > 2 and not plan["split"] and plan["cut"]["reason"]


def test_a_split_for_streams_ships_the_parts_beside_the_whole(split_bundle):
    report, path = split_bundle(0.0, 1e9)
    assert report["plan"]["split"] and report["plan"]["cut"]["calls"] == "whole"
    assert "split" in [gate["name"] for gate in report["gates"]]
    with open_bundle(path) as bundle, edgefuse.load(path) as model:
        parts = open_parts(bundle)
        assert [item["name"] for item in bundle.manifest["artifact"]["parts"]] == [
            p.name for p in bundle.partition.parts
        ]
        for sample in list(read_golden(path / "golden.npz"))[:8]:
            assert np.allclose(parts(sample.feed)["logits"], model(sample.feed)["logits"], atol=0.05)
        parts.close()


def test_a_split_for_calls_is_what_a_call_runs(split_bundle):
    report, path = split_bundle(1e9, 0.0)
    assert report["plan"]["cut"]["calls"] == "parts"
    sample = next(iter(read_golden(path / "golden.npz")))
    with open_bundle(path) as bundle, edgefuse.load(path) as model:
        parts = open_parts(bundle)
        assert np.array_equal(parts(sample.feed)["logits"], model(sample.feed)["logits"])
        parts.close()


def test_an_interrupted_search_is_gone_on_with(tiny_recipe, tmp_path, monkeypatch):
    judged = []
    real = search.judge_runner

    def judge(name, *arguments):
        judged.append(name)
        return real(name, *arguments)

    monkeypatch.setattr(search, "judge_runner", judge)
    monkeypatch.setattr(search.Search, "choose", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compiled(tiny_recipe, tmp_path / "t.edgefuse")
    assert judged and not (tmp_path / "t.edgefuse").exists()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(search, "judge_runner", judge)
    before = list(judged)
    judged.clear()
    report = compiled(tiny_recipe, tmp_path / "t.edgefuse", resume=True)
    assert report["verdict"] and len(judged) < len(before)
    assert not list((tmp_path / "cache" / "edgefuse" / "searches").iterdir())


def interrupted(self: Any) -> None:
    raise KeyboardInterrupt


def test_a_time_budget_ends_the_search_and_the_report_says_so(tiny_recipe, tmp_path):
    report = compiled(tiny_recipe, tmp_path / "t.edgefuse", budget_s=0.01)
    assert "time budget" in report["plan"]["ended_early"] and report["verdict"] in ("pass", "inconclusive")
    assert report["plan"]["name"].startswith(("float", "bf16", "int8"))


def test_a_dry_run_names_the_candidates_and_writes_nothing(tiny_recipe, tmp_path):
    found = plan_only(request(tiny_recipe, tmp_path / "t.edgefuse"), Steps(quiet=True))
    assert {"float", "int8"} <= {row["name"] for row in found["candidates"]}
    assert [part["name"] for part in found["parts"]][:1] == ["camera"] and found["about_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_flags_reach_the_search(cli, tiny_recipe, tmp_path):
    done = cli("compile", tiny_recipe, "-o", tmp_path / "x.edgefuse", "--dry-run", "-q")
    assert done.code == 0 and "would try" in done.out and "int8" in done.out and not list(tmp_path.glob("*.edgefuse"))
    done = cli("compile", tiny_recipe, "--dry-run", "--json", "-q")
    assert json.loads(done.out)["about_s"] > 0
    done = cli("compile", tiny_recipe, "--time-budget", "soon")
    assert done.code == 2 and "5min" in done.err
    done = cli("compile", tmp_path, "--resume")
    assert done.code in (2, 4)


def test_the_same_samples_give_the_same_graphs(tiny_recipe, tmp_path):
    for name in ("a", "b"):
        compiled(tiny_recipe, tmp_path / f"{name}.edgefuse", precision="int8")
    assert (tmp_path / "a.edgefuse" / "model.onnx").read_bytes() == (
        tmp_path / "b.edgefuse" / "model.onnx"
    ).read_bytes()
