"""``edgefuse compile --device``: the straight line, half of it on another machine."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefuse
from edgefuse.bundle import verify
from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.errors import MissingToolError
from edgefuse.golden import read_golden
from edgefuse.places.here import Here
from edgefuse.plan import Candidate
from edgefuse.progress import Steps
from edgefuse.recipe import read_recipe
from tests.remote.asyncssh_server import AsyncsshServer

Cli = Callable[..., Any]

FEED = {"image": np.ones((1, 1, 8, 8), np.float32), "state": np.ones((1, 6), np.float32)}


def test_a_bundle_that_was_compiled_there_has_the_form_of_one_from_here_and_runs(
    cli: Cli, tiny_recipe: Path, tmp_path: Path
) -> None:
    for name, where in (("here", ()), ("there", ("--device", "local"))):
        done = cli("compile", tiny_recipe, *where, "-o", tmp_path / f"{name}.edgefuse", "-q", "--json")
        assert done.code == 0, done.err
    here, there = (
        json.loads((tmp_path / f"{name}.edgefuse" / "report.json").read_text()) for name in ("here", "there")
    )
    assert there == json.loads(done.out) and there["verdict"] == "pass"
    assert there["plan"].keys() == here["plan"].keys() and there.keys() == here.keys() | {"exported_on"}
    assert [gate["name"] for gate in there["gates"]][:1] == ["export"]
    assert {row["precision"] for row in there["plan"]["candidates"]} == {
        row["precision"] for row in here["plan"]["candidates"]
    }
    assert [row["absent"] for row in there["fallbacks"]] == [["camera"], ["state"]]
    assert there["exported_on"]["packages"]["onnx"] and there["device_state"]["before"]
    manifest = verify(tmp_path / "there.edgefuse").manifest
    assert manifest["artifact"]["made_on"] == verify(tmp_path / "here.edgefuse").manifest["artifact"]["made_on"]
    with edgefuse.load(tmp_path / "there.edgefuse") as model:
        for sample in list(read_golden(tmp_path / "there.edgefuse" / "golden.npz"))[:4]:
            assert model(sample.feed)["logits"].argmax() == sample.reference["logits"].argmax()


def test_over_ssh_the_device_needs_no_torch_and_the_report_says_what_measured(
    cli: Cli, asyncssh_server: AsyncsshServer, torch_free_python: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    address = asyncssh_server.address(python=str(torch_free_python))
    out = tmp_path / "t.edgefuse"
    done = cli("compile", tiny_recipe, "--device", address, "--precision", "int8", "-o", out)
    assert done.code == 0, done.err
    assert f"({address.partition('?')[0]})" in done.err
    report = json.loads((out / "report.json").read_text())
    assert "torch" in report["exported_on"]["packages"] and "torch" not in report["environment"]["packages"]
    assert "torch" in verify(out).manifest["tools"] and report["latency"]["float"]["p50_ms"] > 0
    with edgefuse.load(out) as model:
        assert np.isfinite(model(FEED)["logits"]).all()


def test_a_bundle_is_compiled_there_and_fetched(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.zip"
    done = cli("compile", tiny_bundle, "--device", "local", "--precision", "float", "-o", out, "-q", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["plan"]["precision"] == "float" and "exported_on" in report
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]
    with edgefuse.load(out) as model:
        assert np.isfinite(model(FEED)["logits"]).all()


def test_a_target_that_is_not_what_is_connected_is_refused(cli: Cli, tiny_recipe: Path, tmp_path: Path) -> None:
    for target in ("atom-x6000e", "jetson"):
        done = cli("compile", tiny_recipe, "--device", "local", "--target", target, "-o", tmp_path / "t.edgefuse", "-q")
        assert done.code == 5 and "--device" in done.err and "is not there" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_for_another_device_is_refused_in_the_users_words(cli: Cli, tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "atom.edgefuse"
    assert cli("compile", tiny_recipe, "--target", "atom-x6000e", "-o", out, "-q").code == 0
    before = (out / "manifest.json").read_bytes()
    done = cli("compile", out, "--device", "local", "-q")
    assert done.code == 5 and str(out) in done.err and "worker" not in done.err
    assert (out / "manifest.json").read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [out.name]


CRASHES = """
import os, signal, sys
if "edgefuse.probe:compile_artifact" in sys.orig_argv:
    import edgefuse.probe
    real = edgefuse.probe.compile_artifact

    def compile_artifact(**given):
        if any(how["inference_precision"] == "bf16" or "int8" in given["onnx_path"] for how in given["settings"]):
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(**given)

    edgefuse.probe.compile_artifact = compile_artifact
"""
"""A vendor's library that dies of some graphs, in whichever process compiles: Python imports it by itself."""


def test_a_candidate_that_crashes_there_is_left_out_with_its_reason(
    cli: Cli, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(CRASHES)
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hooks'}:{root}")
    done = cli("compile", tiny_recipe, "--device", "local", "-o", tmp_path / "t.edgefuse", "-q", "--json")
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in json.loads(done.out)["plan"]["candidates"]}
    assert rows["float"]["passes"] and "SIGSEGV" in rows["int8"]["failed"]


@pytest.mark.parametrize("after", [4096, 60_000])
def test_a_connection_that_breaks_leaves_nothing_behind_and_the_second_try_succeeds(
    cli: Cli, asyncssh_server: AsyncsshServer, tiny_recipe: Path, tmp_path: Path, after: int
) -> None:
    out = tmp_path / "out" / "t.edgefuse"
    command = ("compile", tiny_recipe, "--device", asyncssh_server.address(python=sys.executable), "-o", out, "-q")
    asyncssh_server.drop_after = after
    done = cli(*command, "--precision", "float")
    assert done.code == 5 and "connection broke" in done.err and "Traceback" not in done.err
    assert not out.parent.exists() or list(out.parent.iterdir()) == []
    work = asyncssh_server.folder / "cache" / "edgefuse" / "worker" / "work"
    until = time.monotonic() + 15.0
    while any(work.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(work.iterdir()) == []
    assert cli(*command, "--precision", "float").code == 0 and verify(out)


class Board(Here):
    """A Jetson, as far as a machine without one can be: its toolchain's name and capabilities are TensorRT's, what
    computes in its place is ONNX Runtime on the graph that TensorRT would be given."""

    name = "the device (ssh://jetson)"
    is_here = False

    def capabilities(self, backend: str) -> dict[str, Any]:
        if backend != "tensorrt":
            raise MissingToolError(f"{backend} is not installed")
        identity = {
            "version": "10.3.0.30",
            "arch": "aarch64-sm87",
            "gpu": "Orin",
            "multiprocessors": "8",
            "driver": "12.6",
        }
        known = {"name": "Orin", "arch": "aarch64-sm87", "compute_capability": "8.7"}
        precisions = ["float", "fp16", "int8"]
        return {"version": "10.3.0.30", "identity": identity, "one_artifact": False, "precisions": precisions, **known}

    def compile_artifact(self, group: list[Candidate], golden: Path, spec: Any) -> None:
        super().compile_artifact([replace(item, backend="onnxruntime") for item in group], golden, spec)

    def open(self, candidate: Candidate, spec: Any) -> Any:
        return super().open(replace(candidate, backend="onnxruntime"), spec)


def test_the_workstation_needs_no_tensorrt_to_compile_for_a_connected_jetson(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(edgefuse.backends.BACKENDS, "tensorrt", "edgefuse.backends.not_at_the_workstation")
    recipe, out = read_recipe(tiny_recipe / "recipe.toml"), tmp_path / "t.edgefuse"
    request = Request(tiny_recipe / "model.onnx", recipe, load_device("jetson"), out, place=Board())
    report = compile_model(request, Steps(quiet=True))
    rows = {row["name"]: row for row in report["plan"]["candidates"]}
    assert rows.keys() >= {"float", "fp16", "int8"} and not any("failed" in row for row in rows.values())
    artifact = verify(out).manifest["artifact"]
    assert artifact["backend"] == "tensorrt" and artifact["gpu"] == "Orin"
    assert artifact["path"] == "artifacts/tensorrt-10.3.0.30-aarch64-sm87/whole"
    assert report["backend"] == {"name": "tensorrt", "version": "10.3.0.30"} and report["finish"] is None
