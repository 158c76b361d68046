"""What the backend says on a machine without an NVIDIA driver: the real libraries, the real missing driver."""

from __future__ import annotations

import pytest

from edgefuse import child
from edgefuse.backends import Settings, load_backend
from edgefuse.backends.tensorrt import builder, cuda, engine, offline, vendor
from edgefuse.errors import DeviceMismatchError, MissingToolError, ToolchainError
from edgefuse.spec import ModelSpec
from tests.backends.tensorrt.qdq_graphs import QdqGraph


def state() -> str:
    """ "no driver", or why these tests do not apply."""
    try:
        cuda.device()
    except DeviceMismatchError:
        return "no driver"
    except MissingToolError as error:
        return error.what
    return "there is a GPU"


STATE = state()
pytestmark = [
    pytest.mark.skipif(STATE != "no driver", reason=STATE),
    pytest.mark.skipif(offline.available() is None, reason="TensorRT-RTX is not installed"),
]
NO_DRIVER = "there is no NVIDIA driver here that works"


def test_cuda_python_takes_the_arguments_of_every_call():
    """Their types are checked before the driver is missed: an error of any other type is a wrong signature."""
    runtime = cuda.runtime()
    stream, graph, executable = runtime.cudaStream_t(0), runtime.cudaGraph_t(0), runtime.cudaGraphExec_t(0)
    calls = [
        lambda: cuda.malloc(16),
        lambda: cuda.free(4096),
        lambda: cuda.host_malloc(16, mapped=False),
        lambda: cuda.host_malloc(16, mapped=True),
        lambda: cuda.host_free(4096),
        lambda: cuda.mapped_pointer(4096),
        lambda: cuda.to_device(4096, 8192, 16, stream),
        lambda: cuda.to_host(8192, 4096, 16, stream),
        cuda.create_stream,
        lambda: cuda.synchronize(stream),
        lambda: cuda.destroy_stream(stream),
        lambda: cuda.begin_capture(stream),
        lambda: cuda.end_capture(stream),
        lambda: cuda.instantiate(graph),
        lambda: cuda.launch(executable, stream),
        lambda: cuda.destroy_graph(graph),
        lambda: cuda.destroy_executable(executable),
    ]
    for call in calls:
        with pytest.raises(ToolchainError):
            call()
    assert int(stream) == 0 and cuda.cuda_version() == "0.0"


@pytest.fixture
def graph(tmp_path):
    found = QdqGraph()
    found.output(found.gemm(found.input("x", 1, 8), "gemm", 8, 4, axis=None))
    return found.save(tmp_path), ModelSpec.from_json(found.spec())


def test_asking_for_the_device_says_that_there_is_no_driver():
    backend = load_backend("tensorrt")
    assert backend.version()
    for ask in (backend.capabilities, backend.identity):
        with pytest.raises(DeviceMismatchError, match=NO_DRIVER):
            ask()


def test_a_child_process_says_the_same():
    with pytest.raises(DeviceMismatchError, match=NO_DRIVER):
        child.call("edgefuse.probe:capabilities", {"backend": "tensorrt"}, what="asking", timeout_s=120)


def test_compiling_and_opening_say_that_there_is_no_driver(graph, tmp_path):
    backend, (onnx_path, spec) = load_backend("tensorrt"), graph
    with pytest.raises(DeviceMismatchError, match=NO_DRIVER):
        backend.compile(onnx_path, tmp_path, spec, Settings())
    assert not (tmp_path / engine.PLAN).exists()
    with pytest.raises(DeviceMismatchError, match=NO_DRIVER):
        backend.open(tmp_path, spec, Settings())


def test_the_builder_itself_fails_with_the_vendors_sentence_and_leaves_nothing(graph, tmp_path):
    onnx_path, spec = graph
    with pytest.raises(ToolchainError, match=r"cannot build the graph: .*cudaError 35"):
        builder.build(onnx_path, tmp_path, spec, Settings(), "x86_64-sm86")
    assert not (tmp_path / engine.PLAN).exists()


@pytest.mark.parametrize("content", [b"", b"not an engine"])
def test_a_plan_that_does_not_load_is_a_typed_error_with_the_way_out(tmp_path, content):
    path = tmp_path / engine.PLAN
    path.write_bytes(content)
    with pytest.raises(ToolchainError, match=r"does not load the engine: .+") as caught:
        engine.load_engine(path, vendor.make_logger(vendor.library()))
    assert "edgefuse compile NAME.edgefuse" in caught.value.hint
