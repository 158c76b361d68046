"""Every place does the same with a candidate: one contract test over all of them, and what only a connection can do."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from edgefuse.backends import Settings
from edgefuse.candidates import Builder
from edgefuse.compile.parts import cut_graph
from edgefuse.device import host_of
from edgefuse.errors import TimeLimitError, ToolchainError, UnreachableError
from edgefuse.golden import answering, read_golden
from edgefuse.places import Place
from edgefuse.places.there import AT_ONCE, There
from edgefuse.plan import Candidate
from edgefuse.progress import Steps
from tests.places.conftest import SPEC


def candidate(onnx_path: Path, folder: Path, backend: str = "openvino", **settings: int) -> Candidate:
    return Candidate(backend, "float", "float", onnx_path, folder / "artifacts" / "tiny", Settings(**settings))


@pytest.fixture
def built(place: Place, tiny_onnx: Path, golden: Path, tmp_path: Path) -> Candidate:
    found = candidate(tiny_onnx, tmp_path)
    place.compile_artifact([found], golden, SPEC)
    return found


def test_what_is_built_is_opened_answers_is_measured_and_fetched(
    place: Place, built: Candidate, golden: Path, tmp_path: Path
) -> None:
    runner = place.open(built, SPEC)
    for sample in itertools.islice(read_golden(golden), 3):
        assert np.allclose(runner(sample.feed)["logits"], sample.reference["logits"], atol=1e-4)
    timed = place.measure({"one": runner, "other": runner}, golden, budget_s=0.0, min_runs=8, warmup=2)
    assert timed.latency.keys() == {"one", "other"} and 0 <= timed.others <= 1
    assert all(len(found.samples_ms) == 8 and found.warmup == 2 for found in timed.latency.values())
    assert all(found.samples_ms.min() > 0 for found in timed.latency.values())
    runner.close()
    place.fetch(built.artifact, tmp_path / "fetched")
    assert {path.name for path in (tmp_path / "fetched").iterdir()} == {"model.xml", "model.bin"}


def test_what_it_says_of_itself_is_what_a_report_and_a_profile_need(place: Place) -> None:
    assert host_of(place.environment).backend == "openvino" and place.environment["cores"] >= 1
    found = place.capabilities("openvino")
    assert found["one_artifact"] is True and "float" in found["precisions"]
    assert found["identity"].keys() >= {"version", "arch"}
    assert place.state().keys() >= {"cpu", "time"}
    with pytest.raises(ToolchainError, match=r"TensorRT|NVIDIA"):
        place.capabilities("tensorrt")


def test_parts_are_built_measured_and_put_together(place: Place, tiny_onnx: Path, golden: Path, tmp_path: Path) -> None:
    builder = Builder(tmp_path, golden, SPEC, host_of(place.environment), place)
    parts = cut_graph(builder, "float", tiny_onnx, {}, (Settings(1), Settings(2)))
    times = place.measure_parts([parts], golden)
    names = [part.name for part in parts.partition.parts]
    assert {(time.part, time.settings.threads) for time in times} == set(itertools.product(names, (1, 2)))
    assert all(time.p90_ms >= time.p50_ms > 0 and time.graph == "float" for time in times)
    whole = place.open_parts(parts, dict.fromkeys(names, Settings(1)), [names[:1], names[1:2]])
    sample = next(iter(read_golden(golden)))
    assert np.allclose(whole(sample.feed)["logits"], sample.reference["logits"], atol=1e-4)
    whole.close()


def test_one_that_cannot_be_built_is_left_out_with_its_reason(place: Place, golden: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    builder = Builder(tmp_path, golden, SPEC, host_of(place.environment), place)
    built, failed = builder.build({"float": tmp_path / "broken.onnx"}, ["float"], set(), Steps(quiet=True))
    assert built == {} and "OpenVINO" in failed["float"] and failed["float"].startswith("ToolchainError")


def test_samples_are_answered_many_at_a_time_and_the_same(
    there: There, golden: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = candidate(tiny_onnx, tmp_path)
    there.compile_artifact([found], golden, SPEC)
    runner, asked = there.open(found, SPEC), []
    real = there.ask
    monkeypatch.setattr(there, "ask", lambda job, *args, **more: asked.append(job) or real(job, *args, **more))
    ahead = answering(runner, golden)
    samples = list(read_golden(golden))
    for sample in samples:
        assert np.allclose(ahead({})["logits"], sample.reference["logits"], atol=1e-4)
    assert asked == ["outputs"] * -(-len(samples) // AT_ONCE)


def test_what_was_opened_is_opened_again_when_its_process_was_killed(
    own_connection: There, golden: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    there = own_connection
    found = candidate(tiny_onnx, tmp_path)
    there.compile_artifact([found], golden, SPEC)
    one, other = there.open(found, SPEC), there.open(found, SPEC)
    sample = next(iter(read_golden(golden)))
    expected = one(sample.feed)["logits"]
    with pytest.raises(TimeLimitError):
        there.ask(
            "measure",
            {
                "runners": {"one": one.number},
                "samples": there.file(golden),
                "how": {"budget_s": 60.0, "max_runs": 10**9},
            },
            "Measuring",
            timeout_s=0.5,
        )
    assert np.array_equal(other(sample.feed)["logits"], expected)
    assert there.measure({"one": one, "other": other}, golden, budget_s=0.0).latency["one"].samples_ms.size > 0
    rows = one.over(golden)
    assert np.array_equal(rows({})["logits"], expected)


def test_latency_is_not_measured_over_the_connection(there: There, golden: Path) -> None:
    class Local:
        def __call__(self, feed):
            return {}

        def close(self):
            pass

    with pytest.raises(TypeError, match="measured on the device"):
        there.measure({"local": Local()}, golden)


def test_a_lost_connection_is_not_a_candidates_fault(
    own_connection: There, golden: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    there = own_connection
    builder = Builder(tmp_path, golden, SPEC, host_of(there.environment), there)
    there.capabilities("openvino")
    there._device._link.close()
    with pytest.raises(UnreachableError):
        builder.build({"float": tiny_onnx}, ["float"], set(), Steps(quiet=True))
