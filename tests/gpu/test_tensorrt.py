"""The TensorRT backend on a real GPU: numbers, CUDA graphs, shapes, memory. Skipped, with the reason, without one.

Needs numpy, pytest, cuda-python and TensorRT or TensorRT-RTX; from the repository's root, without the fixtures of the
other tests (which want onnx and onnxruntime):

    python -m pytest --noconftest tests/gpu/test_tensorrt.py
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefuse import child
from edgefuse.backends import Settings, load_backend
from edgefuse.backends.tensorrt import cuda, vendor
from edgefuse.backends.tensorrt.runner import TensorRtRunner
from edgefuse.errors import EdgeFuseError, ToolchainError
from tests.gpu.references import BATCHES, onnx_path, samples, spec, sqnr_db

backend: Any = load_backend("tensorrt")
PLAIN = Settings(cuda_graph=False)
RTX_TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
MIB = 2**20


def reason_to_skip() -> str:
    try:
        found = backend.capabilities()
        rtx = vendor.is_rtx(vendor.library())
    except EdgeFuseError as error:
        return error.what
    capability = found["compute_capability"]
    if rtx and capability not in RTX_TARGETS:
        return f"TensorRT-RTX has no target for {found['name']} (compute capability {capability})"
    return ""


SKIPPED = reason_to_skip()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(SKIPPED), reason=SKIPPED)]
Open = Callable[..., TensorRtRunner]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a reference's artifact, built once."""
    folders: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in folders:
            folder = tmp_path_factory.mktemp(name)
            backend.compile(onnx_path(name), folder, spec(name), Settings())
            folders[name] = folder
        return folders[name]

    return build


@pytest.fixture
def opened(built: Callable[[str], Path]) -> Iterator[Open]:
    runners: list[TensorRtRunner] = []

    def open_(name: str, settings: Settings = PLAIN) -> TensorRtRunner:
        runners.append(backend.open(built(name), spec(name), settings))
        return runners[-1]

    yield open_
    for runner in runners:
        runner.close()


def measured_sqnr_db(runner: TensorRtRunner, name: str) -> float:
    pairs = samples(name)
    found = [runner(feed) for feed, _ in pairs]
    return min(
        sqnr_db([answer[output] for _, answer in pairs], [item[output] for item in found])
        for output in spec(name).outputs
    )


def test_the_device_is_named() -> None:
    identity, capabilities = backend.identity(), backend.capabilities()
    assert identity["version"] == backend.version() and identity["arch"] == capabilities["arch"]
    assert identity["gpu"] == capabilities["name"] and identity["driver"]
    assert {"float", "int8"} <= set(capabilities["precisions"]) and capabilities["memory_gb"] > 1


@pytest.mark.parametrize(("name", "precision"), [("float", "f32"), ("fp16", "fp16"), ("int8", "int8")])
def test_an_artifact_names_its_kernels(built: Callable[[str], Path], name: str, precision: str) -> None:
    folder = built(name)
    assert (folder / "model.plan").stat().st_size > 10_000
    found = json.loads((folder / "layers.json").read_text())
    assert found["counts"].get(precision, 0) >= 2, found["counts"]


@pytest.mark.parametrize(
    ("name", "least_db"),
    [
        ("float", 90),  # another order of summation; TF32 would give about 60
        ("dynamic", 90),
        ("fp16", 55),  # against the float model: 11 bits of mantissa
        ("int8", 35),  # against the emulation: ties round otherwise, and a step then moves the next layer's
    ],
)
@pytest.mark.parametrize("settings", [PLAIN, Settings()], ids=["plain", "graph"])
def test_the_engine_answers_as_onnxruntime_does(opened: Open, name: str, least_db: float, settings: Settings) -> None:
    assert measured_sqnr_db(opened(name, settings), name) >= least_db


def test_tf32_is_used_only_where_it_is_asked_for(built: Callable[[str], Path], tmp_path: Path) -> None:
    settings = replace(PLAIN, inference_precision="tf32")
    backend.compile(onnx_path("float"), tmp_path, spec("float"), settings)
    with closing(backend.open(tmp_path, spec("float"), settings)) as runner:
        assert measured_sqnr_db(runner, "float") >= 45


@pytest.mark.parametrize("name", ["float", "fp16", "int8", "integers"])
def test_a_cuda_graph_gives_the_bits_of_the_plain_run(opened: Open, name: str) -> None:
    plain, graph = opened(name), opened(name, Settings())
    assert graph.notes == [], "the graph was recorded"
    for _ in range(3):
        for feed, _ in samples(name):
            expected, found = plain(feed), graph(feed)
            assert all(np.array_equal(expected[key], found[key]) for key in expected)


def test_integers_of_64_bits_go_in_and_out(opened: Open) -> None:
    runner = opened("integers", Settings())
    for feed, answer in samples("integers"):
        found = runner(feed)
        assert found["next"].dtype == np.int64 and np.array_equal(found["next"], answer["next"])
        assert np.array_equal(found["rows"], answer["rows"])


def test_a_dynamic_batch_takes_its_whole_range_in_any_order(opened: Open) -> None:
    runner = opened("dynamic", Settings())
    assert runner.notes == ["no CUDA graph: an input has a dynamic shape"]
    for size in (BATCHES.max, 1, 3, 2, BATCHES.max):
        feed = {"image": np.ones((size, 3, 32, 32), np.float32), "imu": np.ones((size, 50, 6), np.float32)}
        found = runner(feed)["velocity"]
        assert found.shape == (size, 3) and np.allclose(found, found[0], rtol=1e-5)


def test_outputs_are_the_callers_own(opened: Open) -> None:
    runner = opened("float", Settings())
    (first, _), (second, _) = samples("float")[:2]
    found = runner(first)["velocity"]
    kept = found.copy()
    runner(second)
    assert np.array_equal(found, kept)


def test_two_runners_do_not_disturb_each_other(opened: Open) -> None:
    one, two = opened("float", Settings()), opened("int8", Settings())
    (feed, _), *_ = samples("float")
    alone = one(feed)["velocity"]
    two(feed)
    assert np.array_equal(one(feed)["velocity"], alone)


def free_gpu_bytes() -> int:
    _, free, _ = cuda.runtime().cudaMemGetInfo()
    return int(free)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("name", ["int8", "dynamic"])
def test_a_thousand_inferences_take_no_more_memory(opened: Open, name: str) -> None:
    """Within 2 MiB, the grain in which both are handed out. What else uses the GPU moves the figure: run it alone."""
    runner, feeds = opened(name, Settings()), [feed for feed, _ in samples(name)]
    for feed in feeds * 10:
        runner(feed)
    gc.collect()
    gpu, cpu = free_gpu_bytes(), resident_bytes()
    for index in range(1000):
        runner(feeds[index % len(feeds)])
    gc.collect()
    assert gpu - free_gpu_bytes() <= 2 * MIB and resident_bytes() - cpu <= 2 * MIB


def test_opening_and_closing_takes_no_more_memory(built: Callable[[str], Path]) -> None:
    def once() -> None:
        backend.open(built("float"), spec("float"), Settings()).close()

    for _ in range(5):
        once()
    gc.collect()
    gpu, cpu = free_gpu_bytes(), resident_bytes()
    for _ in range(20):
        once()
    gc.collect()
    assert gpu - free_gpu_bytes() <= 2 * MIB and resident_bytes() - cpu <= 16 * MIB


def test_a_closed_runner_says_so_and_closes_again(opened: Open) -> None:
    runner = opened("float", Settings())
    runner.close()
    runner.close()
    with pytest.raises(ToolchainError, match="closed"):
        runner(samples("float")[0][0])


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_plan_is_a_typed_error(built: Callable[[str], Path], tmp_path: Path, keep: float) -> None:
    """In a child process: a vendor's library may die of it, and then the error says that."""
    plan = (built("float") / "model.plan").read_bytes()
    (tmp_path / "model.plan").write_bytes(plan[: int(len(plan) * keep)])
    with pytest.raises(ToolchainError):
        child.call(
            "tests.gpu.in_child:open_artifact",
            {"folder": str(tmp_path), "name": "float"},
            what="TensorRT, opening a truncated plan,",
            timeout_s=120,
        )


def test_a_plan_of_another_model_is_refused(built: Callable[[str], Path]) -> None:
    with pytest.raises(ToolchainError, match="another model's"):
        backend.open(built("integers"), spec("float"), PLAIN)
