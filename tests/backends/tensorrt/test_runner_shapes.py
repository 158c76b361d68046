"""Shapes and types that differ: dynamic inputs, engines of another model, integers that were narrowed."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.backends import Settings
from edgefuse.backends.tensorrt.runner import TensorRtRunner
from edgefuse.errors import DeviceMismatchError, FeedError, ToolchainError
from edgefuse.spec import DimRange, ModelSpec, TensorSpec
from tests.backends.tensorrt.host_engine import HostEngine, HostTensor
from tests.backends.tensorrt.test_runner import FEED, PLAIN, SPEC, TENSORS, log, make

DYNAMIC = ModelSpec((TensorSpec("x", (DimRange(1, 8), 3)), TensorSpec("w", (3,))), ("y", "total"))
DYNAMIC_TENSORS = (
    HostTensor("x", "INPUT", "FLOAT", (-1, 3)),
    HostTensor("w", "INPUT", "FLOAT", (3,)),
    HostTensor("y", "OUTPUT", "FLOAT", (-1, 3)),
    HostTensor("total", "OUTPUT", "FLOAT", ()),
)


def weigh(feed):
    return {"y": feed["x"] * feed["w"], "total": feed["x"].sum()}


def test_a_dynamic_dimension_takes_its_whole_range_in_the_same_memory(host):
    runner = make(host, Settings(), DYNAMIC_TENSORS, DYNAMIC, weigh)
    assert runner.notes == ["no CUDA graph: an input has a dynamic shape"]
    live, w = host.live, np.arange(3, dtype=np.float32)
    for size in (8, 1, 5, 8, 2):
        x = np.full((size, 3), size, np.float32)
        found = runner({"x": x, "w": w})
        assert np.array_equal(found["y"], x * w) and found["total"] == 3 * size * size
        assert found["total"].shape == ()
    assert host.live == live
    runner.close()
    assert host.live == 0


def test_an_engine_built_for_other_shapes_is_a_mismatch(host):
    with pytest.raises(DeviceMismatchError, match=r"does not take \(1, 5\) for 'a'") as caught:
        make(host, spec=ModelSpec((TensorSpec("a", (1, 5)), *SPEC.inputs[:1], SPEC.inputs[2]), SPEC.outputs))
    assert "edgefuse compile NAME.edgefuse" in caught.value.hint and host.live == 0


def test_an_output_larger_than_for_the_largest_input_is_an_error_and_not_an_overrun(host):
    class Growing(HostEngine):
        def create_execution_context(self):
            context = super().create_execution_context()
            shape = context.get_tensor_shape
            context.get_tensor_shape = lambda name: (9 - context.shapes["x"][0], 3) if name == "y" else shape(name)
            return context

    function = lambda feed: {"y": 0, "total": 0}  # noqa: E731
    runner = TensorRtRunner(Growing(host, DYNAMIC_TENSORS, function), DYNAMIC, PLAIN, log())
    with pytest.raises(ToolchainError, match=r"'y' has the shape \(8, 3\), 96 bytes; .* need 12"):
        runner({"x": np.ones((1, 3), np.float32), "w": np.ones(3, np.float32)})


def test_an_output_whose_size_depends_on_values_is_refused(host):
    tensors = (*DYNAMIC_TENSORS[:3], HostTensor("total", "OUTPUT", "FLOAT", (-2,)))
    with pytest.raises(ToolchainError, match="'total' depends on values"):
        make(host, PLAIN, tensors, DYNAMIC, weigh)
    assert host.live == 0


NARROW = (*TENSORS[:1], HostTensor("ids", "INPUT", "INT32", (2,)), *TENSORS[2:])


def test_integers_that_the_engine_narrowed_are_converted_and_checked(host, settings):
    runner = make(host, settings, NARROW)
    assert np.array_equal(runner({**FEED, "ids": np.array([7, -8])})["doubled"], [14, -16])
    with pytest.raises(FeedError, match="'ids' holds values that the engine's int32 cannot"):
        runner(FEED)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ((HostTensor("a", "INPUT", "HALF", (1, 4)), *TENSORS[1:]), "'a' is float32 in the model and float16"),
        ((HostTensor("a", "INPUT", "BF16", (1, 4)), *TENSORS[1:]), "BF16 in the engine, which numpy"),
        ((HostTensor("a", "INPUT", "FLOAT", (1, 4), "HOST"), *TENSORS[1:]), "reads 'a' on the CPU, as a shape"),
        ((HostTensor("c", "INPUT", "FLOAT", (1, 4)), *TENSORS), "takes 'c', which the model does not"),
        (TENSORS[:-1], "has no output 'difference'"),
    ],
)
def test_an_engine_of_another_model_is_refused(host, tensors, said):
    with pytest.raises(ToolchainError, match=said):
        make(host, tensors=tensors)
    assert host.live == 0


def test_an_input_that_the_engine_dropped_is_not_asked_for(host):
    tensors = (*TENSORS[:3], TENSORS[4])
    runner = make(host, tensors=tensors, function=lambda feed: {"difference": feed["a"], "doubled": feed["ids"]})
    assert np.array_equal(runner(FEED)["difference"], FEED["a"])
