"""The runner's bookkeeping over the stand-in of ``host_cuda``: order, copies, graphs, and that everything is freed."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from edgefuse.backends import Settings
from edgefuse.backends.tensorrt.runner import TensorRtRunner
from edgefuse.errors import ToolchainError
from edgefuse.spec import ModelSpec, TensorSpec
from tests.backends.tensorrt.host_cuda import HostCuda
from tests.backends.tensorrt.host_engine import HostEngine, HostTensor

SPEC = ModelSpec(
    (TensorSpec("b", (1, 4)), TensorSpec("a", (1, 4)), TensorSpec("ids", (2,), "int64")), ("difference", "doubled")
)
TENSORS = (
    HostTensor("a", "INPUT", "FLOAT", (1, 4)),
    HostTensor("ids", "INPUT", "INT64", (2,)),
    HostTensor("doubled", "OUTPUT", "INT64", (2,)),
    HostTensor("b", "INPUT", "FLOAT", (1, 4)),
    HostTensor("difference", "OUTPUT", "FLOAT", (1, 4)),
)
FEED = {
    "a": np.arange(4, dtype=np.float32)[None],
    "b": np.ones((1, 4), np.float32),
    "ids": np.array([2**40, -3]),
}
PLAIN = Settings(cuda_graph=False)


def compute(feed):
    return {"difference": feed["a"] - feed["b"], "doubled": 2 * feed["ids"]}


def log():
    return SimpleNamespace(errors=["the vendor's own sentence"])


def make(host: HostCuda, settings=PLAIN, tensors=TENSORS, spec=SPEC, function=compute) -> TensorRtRunner:
    return TensorRtRunner(HostEngine(host, tensors, function), spec, settings, log())


def test_feeds_and_outputs_go_by_name_and_outputs_keep_the_models_order(host, settings):
    found = make(host, settings)(FEED)
    assert list(found) == ["difference", "doubled"]
    assert np.array_equal(found["difference"], [[-1, 0, 1, 2]])
    assert found["doubled"].dtype == np.int64 and np.array_equal(found["doubled"], [2**41, -6])


def test_outputs_are_the_callers_own(host, settings):
    runner = make(host, settings)
    first = runner(FEED)
    kept = first["difference"].copy()
    runner({**FEED, "a": np.full((1, 4), 9, np.float32)})
    assert np.array_equal(first["difference"], kept)
    first["difference"][:] = 0
    assert np.array_equal(runner(FEED)["difference"], kept)


def test_inputs_may_be_strided_and_read_only_and_are_not_changed(host, settings):
    strided = np.arange(8, dtype=np.float32)[None, ::2]
    strided.flags.writeable = False
    assert np.array_equal(make(host, settings)({**FEED, "a": strided})["difference"], [[-1, 1, 3, 5]])


def test_a_gpu_that_shares_the_cpus_memory_copies_nothing(host, settings):
    runner = make(host, settings)
    runner(FEED)
    assert (host.calls["cudaMemcpyAsync"] == 0) == host.integrated
    assert (host.calls["cudaMalloc"] == 0) == host.integrated
    runner.close()
    assert host.live == 0


def test_memory_is_allocated_once(host, settings):
    runner = make(host, settings)
    before = host.live, host.calls["cudaMalloc"], host.calls["cudaHostAlloc"]
    for _ in range(1000):
        runner(FEED)
    assert (host.live, host.calls["cudaMalloc"], host.calls["cudaHostAlloc"]) == before


def test_a_graph_is_recorded_after_one_plain_run_and_replayed(host):
    runner = make(host, Settings())
    context = runner._context
    assert context.enqueued == 2 and host.calls["cudaGraphLaunch"] == 0  # the warm one, and the recorded one
    for _ in range(3):
        runner(FEED)
    assert context.enqueued == 2 and host.calls["cudaGraphLaunch"] == 3
    assert runner.notes == [] and host.graphs == [] and len(host.executables) == 1


def test_a_graph_gives_the_bits_of_the_plain_run(host):
    generator = np.random.default_rng(0)
    plain, graph = make(host), make(host, Settings())
    for _ in range(20):
        feed = {**FEED, "a": generator.normal(size=(1, 4)).astype(np.float32), "ids": generator.integers(-9, 9, 2)}
        expected, found = plain(feed), graph(feed)
        assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("cudaStreamBeginCapture", "operation not permitted"),
        ("cudaStreamEndCapture", "previous error during capture"),
        ("cudaGraphInstantiateWithFlags", "the GPU's memory is full"),
    ],
)
def test_a_graph_that_cannot_be_recorded_is_a_note_and_the_plain_run_works(host, function, why):
    codes = {"cudaStreamBeginCapture": 900, "cudaStreamEndCapture": 901, "cudaGraphInstantiateWithFlags": 2}
    host.fail(function, 1, codes[function])
    runner = make(host, Settings())
    assert len(runner.notes) == 1 and re.match(f"no CUDA graph: .*{why}", runner.notes[0])
    assert np.array_equal(runner(FEED)["difference"], [[-1, 0, 1, 2]])
    runner.close()
    assert host.live == 0


def test_an_enqueue_that_fails_in_a_capture_ends_the_capture(host):
    engine = HostEngine(host, TENSORS, compute)
    engine.enqueue_fails_at = 2
    runner = TensorRtRunner(engine, SPEC, Settings(), log())
    assert "the vendor's own sentence" in runner.notes[0]
    assert all(stream.captured is None for stream in host.streams.values())
    assert np.array_equal(runner(FEED)["difference"], [[-1, 0, 1, 2]])
    runner.close()
    assert host.live == 0


def test_an_engine_that_says_it_cannot_be_captured_is_not(host):
    engine = HostEngine(host, TENSORS, compute)
    engine.capturable = False
    runner = TensorRtRunner(engine, SPEC, Settings(), log())
    assert runner.notes == ["no CUDA graph: the engine allocates memory while it runs"]
    assert host.calls["cudaStreamBeginCapture"] == 0


def test_close_frees_everything_once_and_later_calls_say_so(host, settings):
    runner = make(host, settings)
    runner(FEED)
    runner.close()
    runner.close()
    assert host.live == 0 and not host.freed_twice
    with pytest.raises(ToolchainError, match="the model is closed"):
        runner(FEED)


@pytest.mark.parametrize("name", ["cudaMalloc", "cudaHostAlloc"])
@pytest.mark.parametrize("call", range(1, 6))
def test_running_out_of_memory_frees_what_was_allocated_and_says_how_much_was_asked(install, name, call):
    host = install(HostCuda())
    host.fail(name, call, 2)
    with pytest.raises(ToolchainError, match=r"memory is full: allocating \d+ bytes"):
        make(host)
    assert host.live == 0 and not host.freed_twice


@pytest.mark.parametrize(
    "name",
    ["cudaStreamCreateWithFlags", "cudaGetDeviceProperties", "cudaHostGetDevicePointer", "cudaStreamSynchronize"],
)
def test_any_other_failure_while_opening_frees_what_was_allocated(install, name):
    host = install(HostCuda(integrated=True))
    host.fail(name, 1, 700)
    with pytest.raises(ToolchainError, match="an illegal memory access"):
        make(host)
    assert host.live == 0 and not host.freed_twice


def test_a_failure_of_the_gpus_work_is_raised_by_the_call(host, settings):
    runner = make(host, settings)
    host.fail("cudaStreamSynchronize", host.calls["cudaStreamSynchronize"] + 1, 700)
    with pytest.raises(ToolchainError, match="running the model: an illegal memory access"):
        runner(FEED)
    runner.close()
    assert host.live == 0


def test_a_free_that_fails_does_not_keep_the_others(host):
    runner = make(host)
    host.fail("cudaFreeHost", 1, 700)
    with pytest.raises(ToolchainError, match="freeing pinned memory"):
        runner.close()
    assert host.live == 0
    runner.close()


def test_an_enqueue_that_is_refused_carries_the_vendors_sentence(host):
    engine = HostEngine(host, TENSORS, compute)
    engine.enqueue_fails_at = 2
    runner = TensorRtRunner(engine, SPEC, PLAIN, log())
    with pytest.raises(ToolchainError, match="the vendor's own sentence"):
        runner(FEED)


def test_a_context_that_is_refused_carries_the_vendors_sentence(host):
    engine = HostEngine(host, TENSORS, compute)
    engine.refuses_context = True
    with pytest.raises(ToolchainError, match="the vendor's own sentence"):
        TensorRtRunner(engine, SPEC, PLAIN, log())
    assert host.live == 0
