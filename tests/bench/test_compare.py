"""Real bundles, measured here in turns. This machine may be noisy: then nothing is decided, and nothing wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefuse.bench import Options, bench_bundles
from edgefuse.bench import compare as bench_compare
from edgefuse.bundle_writer import write_manifest
from edgefuse.errors import BundleError
from edgefuse.manifest import GOLDEN
from edgefuse.progress import Steps
from edgefuse.runtime import open_runner

QUICK = Options(runs=256)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any] = lambda manifest: None) -> None:
    """A valid manifest for the files as they are now."""
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    write_manifest(path, manifest)


@pytest.fixture(scope="module")
def against_itself(tiny_bundle: Path) -> dict[str, Any]:
    return bench_bundles(tiny_bundle, tiny_bundle, QUICK, Steps(quiet=True))


def test_a_bundle_is_not_slower_than_itself(against_itself) -> None:
    assert against_itself["verdict"] in ("pass", "inconclusive")
    found, canary = against_itself["comparison"], against_itself["canary"]
    assert found["kind"] == "interleaved" and found["limit"] == pytest.approx(1.05)
    assert found["rounds"] == canary["rounds"] == 64
    for name in ("baseline", "candidate"):
        latency = against_itself[name]["latency"]
        assert latency["runs"] == 256 and latency["p90_early_stopping_ms"] >= latency["p90_ms"]
    if found["verdict"] == "inconclusive":
        assert found["why"]


def test_both_are_as_accurate_on_the_same_golden_samples(against_itself) -> None:
    accuracy = against_itself["accuracy"]
    assert accuracy["paired"]["drop"] == 0 and accuracy["paired"]["samples"] == 60
    assert accuracy["baseline"]["candidate"] == accuracy["candidate"]["candidate"]


def test_the_machine_and_its_state_are_in_the_report(against_itself) -> None:
    assert {"before", "after", "remarks"} <= against_itself["device_state"].keys()
    assert against_itself["device_class"] and against_itself["environment"]["packages"]["numpy"]
    assert [stage["name"] for stage in against_itself["stages"]] == [
        "First inference",
        "Measuring latency",
        "Checking accuracy",
    ]


class Thrice:
    """A bundle's own runner that does its work three times: a slower build of the same model."""

    def __init__(self, runner) -> None:
        self._runner = runner

    def __call__(self, feed):
        self._runner(feed)
        self._runner(feed)
        return self._runner(feed)

    def close(self) -> None:
        self._runner.close()


def test_a_slower_build_never_passes(tiny_bundle, copy_of_bundle, monkeypatch) -> None:
    def open_slowly(bundle):
        runner = open_runner(bundle)
        return Thrice(runner) if bundle.shown == copy_of_bundle else runner

    monkeypatch.setattr(bench_compare, "open_runner", open_slowly)
    for _ in range(5):
        found = bench_bundles(copy_of_bundle, tiny_bundle, Options(runs=1000), Steps(quiet=True))
        assert found["verdict"] in ("fail", "inconclusive")
        assert found["candidate"]["latency"]["p50_ms"] > 1.5 * found["baseline"]["latency"]["p50_ms"]
        if found["verdict"] == "fail":
            assert found["comparison"]["widened_ci95"][0] > 1.05
            return
        assert found["canary"]["doubt"], "only noise may keep it from failing"


def test_one_bundle_alone_is_measured_and_left_to_its_history(tiny_bundle: Path) -> None:
    found = bench_bundles(tiny_bundle, None, Options(runs=64), Steps(quiet=True))
    assert found["verdict"] is None and found["comparison"] is None and found["baseline"] is None
    assert found["canary"]["rounds"] == 16 and found["accuracy"]["candidate"]["verdict"] == "pass"
    assert found["accuracy"]["paired"] is None


def test_other_golden_samples_are_not_compared(tiny_bundle: Path, copy_of_bundle: Path) -> None:
    halve(copy_of_bundle / GOLDEN)
    rewrite(copy_of_bundle)
    found = bench_bundles(copy_of_bundle, tiny_bundle, Options(runs=64), Steps(quiet=True))
    assert found["accuracy"]["paired"] is None and "different golden" in found["accuracy"]["reason"]


def halve(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name][:30] for name in archive.files}
    np.savez(path, **arrays)


def test_a_metric_of_ones_own_is_not_in_the_bundle(copy_of_bundle: Path) -> None:
    rewrite(copy_of_bundle, lambda manifest: manifest["limits"]["accuracy"].update(metric="metrics.py:mine"))
    found = bench_bundles(copy_of_bundle, copy_of_bundle, Options(runs=64), Steps(quiet=True))
    assert found["accuracy"]["candidate"] is None and "code of yours" in found["accuracy"]["reason"]


def test_bundles_that_take_other_inputs_are_refused(tiny_bundle: Path, copy_of_bundle: Path) -> None:
    def change(manifest) -> None:
        manifest["model"]["inputs"][1]["shape"] = [1, 7]

    rewrite(copy_of_bundle, change)
    with pytest.raises(BundleError, match=r"takes other inputs than .*: state"):
        bench_bundles(copy_of_bundle, tiny_bundle, Options(runs=64), Steps(quiet=True))
