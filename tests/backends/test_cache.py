"""A runner from the cache answers the same bits, and runs with the same settings, as one that was compiled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgefuse
from edgefuse.backends import Settings, load_backend
from edgefuse.blob_cache import BlobCache
from edgefuse.errors import ToolchainError
from edgefuse.golden import read_golden
from edgefuse.spec import DimRange, ModelSpec, TensorSpec

SETTINGS = Settings(threads=1, inference_precision="f32")
SIZE = 24
SPEC = ModelSpec((TensorSpec("x", (1, 4, SIZE)), TensorSpec("h", (1, 1, SIZE))), ("y", "h_out"))
DYNAMIC = replace(SPEC, inputs=(TensorSpec("x", (1, DimRange(1, 6), SIZE)), SPEC.inputs[1]))


def feed(steps: int = 4) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(steps)
    shapes = {"x": (1, steps, SIZE), "h": (1, 1, SIZE)}
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_recurrent(path: Path, steps: int | str = 4) -> Path:
    """y = softmax(x·w)·h, h_out = mean of tanh(x·w) over the steps: a state that goes in and comes out."""
    graph = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 18]>
        g (float[1, {steps}, {SIZE}] x, float[1, 1, {SIZE}] h)
            => (float[1, {steps}, {SIZE}] y, float[1, 1, {SIZE}] h_out)
        {{
            p = MatMul(x, w)
            s = Softmax(p)
            y = Mul(s, h)
            t = Tanh(p)
            axis = Constant<value_ints = [1]>()
            h_out = ReduceMean<keepdims = 1>(t, axis)
        }}""")
    weight = np.random.default_rng(0).normal(0, 0.3, (SIZE, SIZE)).astype(np.float32)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(graph, path)
    return path


@pytest.fixture(params=["openvino", "onnxruntime"])
def backend(request):
    return load_backend(request.param)


@pytest.fixture
def artifact(backend, tmp_path):
    backend.compile(write_recurrent(tmp_path / "m.onnx"), tmp_path, SPEC, SETTINGS)
    return tmp_path


@pytest.fixture
def cache(tmp_path):
    return BlobCache(tmp_path / "blobs", "the artifact of this test")


def opened(backend, artifact, cache, settings=SETTINGS, spec=SPEC, steps=(4,)):
    """``cached`` of the runner, and the bits that it answers."""
    runner = backend.open(artifact, spec, settings, cache)
    answers = [runner(feed(count)) for count in (*steps, *steps)]
    runner.close()
    return runner.cached, [(name, value.tobytes()) for answer in answers for name, value in answer.items()]


def entry(cache: BlobCache) -> Path:
    (path,) = cache.folder.glob("*.blob")
    return path


def test_a_hit_answers_the_same_bits(backend, artifact, cache):
    off, miss, hit = (opened(backend, artifact, given) for given in (None, cache, cache))
    assert (off[0], miss[0], hit[0]) == ("off", "miss", "hit")
    assert off[1] == miss[1] == hit[1]


def test_a_hit_needs_no_artifact(backend, artifact, cache, tmp_path):
    expected = opened(backend, artifact, cache)[1]
    assert opened(backend, tmp_path / "gone", cache) == ("hit", expected)


def test_dynamic_shapes_answer_the_same_bits(backend, tmp_path, cache):
    backend.compile(write_recurrent(tmp_path / "m.onnx", "n"), tmp_path, DYNAMIC, SETTINGS)
    off, miss, hit = (opened(backend, tmp_path, c, spec=DYNAMIC, steps=(1, 6, 3)) for c in (None, cache, cache))
    assert miss[0] == "miss" and hit[0] == "hit"
    assert off[1] == miss[1] == hit[1]


def test_bf16_answers_the_same_bits(tmp_path, cache):
    backend, settings = load_backend("openvino"), replace(SETTINGS, inference_precision="bf16")
    if "bf16" not in backend.capabilities()["precisions"]:
        pytest.skip("this CPU has no bf16")
    backend.compile(write_recurrent(tmp_path / "m.onnx"), tmp_path, SPEC, settings)
    off, miss, hit = (opened(backend, tmp_path, given, settings) for given in (None, cache, cache))
    assert miss[0] == "miss" and hit[0] == "hit"
    assert off[1] == miss[1] == hit[1] != opened(backend, tmp_path, None)[1]


@pytest.mark.parametrize("settings", [SETTINGS, Settings(threads=2, pinned=False), Settings(threads=2)])
def test_openvino_runs_a_hit_with_its_settings(tmp_path, cache, settings):
    backend = load_backend("openvino")
    backend.compile(write_recurrent(tmp_path / "m.onnx"), tmp_path, SPEC, settings)
    names = (
        *("INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT", "ENABLE_CPU_PINNING"),
        *("NUM_STREAMS", "EXECUTION_MODE_HINT", "ENABLE_HYPER_THREADING", "SCHEDULING_CORE_TYPE"),
    )
    found = []
    for expected in ("miss", "hit"):
        runner = backend.open(tmp_path, SPEC, settings, cache)
        assert runner.cached == expected
        compiled = runner._request.get_compiled_model()
        found.append([str(compiled.get_property(name)) for name in names])
        runner.close()
    assert found[0] == found[1]
    assert found[1][0] == str(settings.threads) and "float32" in found[1][1] and found[1][2] == "LATENCY"
    assert settings.pinned or found[1][3] == "False"


def test_other_settings_are_another_entry(backend, artifact, cache):
    assert opened(backend, artifact, cache)[0] == "miss"
    assert opened(backend, artifact, cache, replace(SETTINGS, threads=2))[0] == "miss"
    assert opened(backend, artifact, cache)[0] == "hit"


@pytest.mark.parametrize("keep", [0, 40, 1000])
def test_a_cut_entry_is_compiled_again_and_replaced(backend, artifact, cache, keep):
    expected = opened(backend, artifact, cache)[1]
    entry(cache).write_bytes(entry(cache).read_bytes()[:keep])
    assert opened(backend, artifact, cache) == ("miss: the kept blob was damaged", expected)
    assert opened(backend, artifact, cache) == ("hit", expected)


def test_what_the_library_refuses_is_compiled_again_and_replaced(backend, artifact, cache):
    expected = opened(backend, artifact, cache)[1]
    assert cache.write(entry(cache).stem, b"no model at all" * 100) == ""
    cached, found = opened(backend, artifact, cache)
    assert cached.startswith("miss: the kept") and "was refused: " in cached and found == expected
    assert opened(backend, artifact, cache) == ("hit", expected)


def test_a_cache_that_cannot_be_written_changes_nothing_else(backend, artifact, tmp_path):
    (tmp_path / "file").write_text("")
    cache = BlobCache(tmp_path / "file" / "blobs", "content")
    cached, found = opened(backend, artifact, cache)
    assert cached.endswith("not kept: Not a directory") and found == opened(backend, artifact, None)[1]


def test_the_memory_of_a_hit_lives_as_long_as_its_runner(backend, artifact, cache):
    expected = opened(backend, artifact, cache)[1]
    runners = [backend.open(artifact, SPEC, SETTINGS, cache) for _ in range(3)]
    junk = [np.full(entry(cache).stat().st_size, 0xFF, np.uint8) for _ in range(50)]
    for runner in runners:
        assert runner.cached == "hit"
        assert [(name, value.tobytes()) for name, value in runner(feed()).items()] * 2 == expected
        runner.close()
    assert junk


def test_a_missing_artifact_is_still_a_typed_error(backend, tmp_path, cache):
    with pytest.raises(ToolchainError):
        backend.open(tmp_path, SPEC, SETTINGS, cache)


def test_load_keeps_what_it_compiled_in_the_folder_it_was_given(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    sample = next(iter(read_golden(tiny_bundle / "golden.npz"))).feed
    answers = []
    for cache, expected in [
        (False, "off"),
        (True, "miss"),
        (True, "hit"),
        (tmp_path / "b", "miss"),
        (tmp_path / "b", "hit"),
    ]:
        with edgefuse.load(tiny_bundle, cache=cache) as model:
            assert model._runner.cached == expected
            answers.append(model(sample)["logits"].tobytes())
    assert len(set(answers)) == 1
    assert (
        entry(BlobCache(tmp_path / "xdg" / "edgefuse" / "blobs", "")).name == entry(BlobCache(tmp_path / "b", "")).name
    )
