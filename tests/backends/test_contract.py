"""One contract over every backend: what a runner promises, whoever made it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgefuse
from edgefuse.backends import BACKENDS, Settings, load_backend
from edgefuse.errors import DeviceMismatchError, ToolchainError, UsageError
from edgefuse.spec import DimRange, ModelSpec, TensorSpec

SPEC = ModelSpec(
    (TensorSpec("b", (1, 4)), TensorSpec("a", (1, 4)), TensorSpec("ids", (1, 2), "int64")), ("scaled", "same", "row")
)
FEED = {"a": np.arange(4, dtype=np.float32)[None], "b": np.ones((1, 4), np.float32), "ids": np.array([[1, 0]])}


def write_onnx(path: Path, batch: int | str = 1) -> Path:
    """scaled = 2·(a − b), same = a + b, row = table[ids]: the order of the inputs matters, and so do the names."""
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["difference"]),
        helper.make_node("Mul", ["difference", "two"], ["scaled"]),
        helper.make_node("Add", ["a", "b"], ["same"]),
        helper.make_node("Gather", ["table", "ids"], ["row"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [
            info("b", TensorProto.FLOAT, [batch, 4]),
            info("a", TensorProto.FLOAT, [batch, 4]),
            info("ids", TensorProto.INT64, [1, 2]),
        ],
        [
            info("scaled", TensorProto.FLOAT, [batch, 4]),
            info("same", TensorProto.FLOAT, [batch, 4]),
            info("row", TensorProto.FLOAT, [1, 2, 3]),
        ],
        [
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "table"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture(params=sorted(BACKENDS))
def backend(request):
    backend = load_backend(request.param)
    try:
        backend.capabilities()
    except DeviceMismatchError as error:
        pytest.skip(error.what)
    return backend


@pytest.fixture
def opened(backend, tmp_path):
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    backend.compile(write_onnx(tmp_path / "m.onnx"), artifact, SPEC, Settings())
    runner = backend.open(artifact, SPEC, Settings())
    yield runner
    runner.close()


def test_feeds_go_by_name_and_outputs_keep_theirs(opened):
    found = opened(FEED)
    assert list(found) == ["scaled", "same", "row"]
    assert np.array_equal(found["scaled"], [[-2, 0, 2, 4]]) and np.array_equal(found["same"], [[1, 2, 3, 4]])
    assert np.array_equal(found["row"], [[[3, 4, 5], [0, 1, 2]]])


def test_outputs_are_the_callers_own(opened):
    first = opened(FEED)
    kept = first["scaled"].copy()
    opened({**FEED, "a": np.full((1, 4), 9, np.float32)})
    assert np.array_equal(first["scaled"], kept)
    first["scaled"][:] = 0
    assert np.array_equal(opened(FEED)["scaled"], kept)


def test_inputs_are_not_changed_and_may_be_read_only_or_strided(opened):
    strided = np.arange(8, dtype=np.float32)[None, ::2]
    strided.flags.writeable = False
    found = opened({**FEED, "a": strided})
    assert np.array_equal(found["same"], [[1, 3, 5, 7]])


def test_the_same_feed_gives_the_same_bits(opened):
    first, second = opened(FEED), opened(FEED)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_closed_runner_says_so_and_closes_again(opened):
    opened.close()
    opened.close()
    with pytest.raises(ToolchainError, match="closed"):
        opened(FEED)


def test_a_dynamic_dimension_takes_its_whole_range(backend, tmp_path):
    dynamic = ModelSpec(
        (
            TensorSpec("b", (DimRange(1, 3), 4)),
            TensorSpec("a", (DimRange(1, 3), 4)),
            TensorSpec("ids", (1, 2), "int64"),
        ),
        SPEC.outputs,
    )
    backend.compile(write_onnx(tmp_path / "m.onnx", "n"), tmp_path, dynamic, Settings())
    runner = backend.open(tmp_path, dynamic, Settings())
    for size in (1, 3, 2):
        a = np.full((size, 4), size, np.float32)
        assert np.array_equal(runner({**FEED, "a": a, "b": a})["same"], 2 * a)


def test_an_artifact_that_is_no_artifact_is_a_typed_error(backend, tmp_path):
    for name in ("model.xml", "model.onnx"):
        (tmp_path / name).write_text("not a model")
    with pytest.raises(ToolchainError):
        backend.open(tmp_path, SPEC, Settings())


def test_capabilities_name_the_precisions(backend):
    found = backend.capabilities()
    assert "float" in found["precisions"] and found["name"] and found["arch"] and backend.version()


def test_an_unknown_backend_names_the_nearest():
    with pytest.raises(UsageError, match="openvin") as caught:
        load_backend("openvin")
    assert "'openvino'" in caught.value.hint


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_a_vendor_library_is_imported_in_its_backend_only(library):
    root = Path(edgefuse.__file__).parent
    allowed = {root / "backends" / f"{library}.py"}
    for path in root.rglob("*.py"):
        if path in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            )
            assert not any(name.split(".")[0] == library for name in names), f"{path} imports {library}"
