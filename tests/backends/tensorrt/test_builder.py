"""The builder with the real TensorRT-RTX, as far as it goes without a GPU: for a named target, not for "this one"."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgefuse.backends import Settings
from edgefuse.backends.tensorrt import builder, engine, offline, vendor
from edgefuse.backends.tensorrt.timing_cache import cache_file
from edgefuse.errors import ToolchainError
from edgefuse.spec import ModelSpec
from tests.backends.tensorrt.qdq_graphs import QdqGraph

pytestmark = [
    pytest.mark.skipif(offline.available() is None, reason="TensorRT-RTX is not installed"),
    pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning"),
]


class Sm86:
    """The library, in which "the GPU that is here" means SM86."""

    __name__ = "tensorrt_rtx"

    def __init__(self) -> None:
        self.real = vendor.rtx_library()
        self.ComputeCapability = SimpleNamespace(CURRENT=self.real.ComputeCapability.SM86)

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.fixture
def trt(monkeypatch, tmp_path):
    found = Sm86()
    monkeypatch.setattr(vendor, "library", lambda: found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


@pytest.fixture
def graph(tmp_path):
    found = QdqGraph()
    found.output(found.gemm(found.input("x", "batch", 8), "gemm", 8, 4, axis=None))
    return found.save(tmp_path), ModelSpec.from_json(found.spec(x=["1..4", 8]))


def test_the_plan_is_written_and_then_read_for_its_layers(trt, graph, tmp_path, monkeypatch):
    """Reading it needs a GPU, so the inspector's answer is given here."""
    text = '{"Layers": [{"Name": "gemm", "Inputs": [{"Format/Datatype": "Float"}], "TacticName": "t"}]}'
    inspector = SimpleNamespace(get_engine_information=lambda form: text)
    read = []
    monkeypatch.setattr(
        builder,
        "load_engine",
        lambda path, log: read.append(path) or SimpleNamespace(create_engine_inspector=lambda: inspector),
    )
    builder.build(*graph[:1], tmp_path, graph[1], Settings(), "x86_64-sm86")
    assert read == [tmp_path / engine.PLAN] and read[0].stat().st_size > 10_000
    assert '"counts": {\n  "f32": 1\n }' in (tmp_path / builder.LAYERS).read_text()


def test_the_graph_decides_the_precision_and_tf32_is_off_unless_asked_for(trt, graph):
    for precision, on in (("f32", False), ("bf16", False), ("tf32", True)):
        network = builder.parse(trt, graph[0], vendor.make_logger(trt))
        config = builder._configure(trt, network, graph[1], Settings(inference_precision=precision, workspace_mib=3))
        assert config.get_flag(trt.BuilderFlag.TF32) is on
        assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 3 * 2**20
        assert config.num_optimization_profiles == 1 and config.num_compute_capabilities == 1


def test_a_damaged_timing_cache_is_replaced_and_the_build_goes_on(trt, graph):
    network, notes = builder.parse(trt, graph[0], vendor.make_logger(trt)), []
    config = builder._configure(trt, network, graph[1], Settings())
    path = cache_file(vendor.version(), "x86_64-sm86")
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(b"damaged" * 100)
    assert builder._attach_timings(config, "x86_64-sm86", notes) == path
    assert config.get_timing_cache() is not None


@pytest.mark.parametrize("refusal", ["no cache", "another GPU's"])
def test_a_timing_cache_that_the_library_refuses_is_a_note(trt, tmp_path, refusal):
    taken, notes = [], []
    config = SimpleNamespace(
        create_timing_cache=lambda content: None if content and refusal == "no cache" else content,
        set_timing_cache=lambda cache, ignore: taken.append(cache) or not cache,
    )
    path = cache_file(vendor.version(), "x86_64-sm86")
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(b"refused")
    builder._attach_timings(config, "x86_64-sm86", notes)
    assert taken[-1] == b"" and notes == ["timing cache damaged or of another GPU: replaced"]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 4096 bytes.)", "1024 MiB of workspace"),
        ("Error Code 10: Internal Error (Could not find any implementation for node x.)", "another --precision"),
    ],
)
def test_a_failure_carries_the_vendors_sentence_and_what_to_do(trt, tmp_path, said, hint):
    found = builder._failure(SimpleNamespace(errors=[said]), tmp_path / "graph.onnx", Settings())
    assert isinstance(found, ToolchainError) and said in found.what and hint in found.hint
