"""Stack, then index: rewired to the piece that is taken, to the bit; what spans pieces stays."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.partition import split
from tests.partition.graphs import build, check_composition, names, node, weights

INPUTS = {"a": [1, 4], "b": [1, 6]}
STREAMS = [node("MatMul", "a wa", "fa"), node("MatMul", "b wb", "fb")]
CONSTANTS = {"wa": weights(4, 4), "wb": weights(6, 4), "one": np.array([1]), "zero": np.array([0])}


def separate(*nodes, opset=18, **constants):
    """The graph's parts, once its two outputs *p* and *q* have been found to depend on one sensor each."""
    model, spec = build([*STREAMS, *nodes], INPUTS, ["p", "q"], opset, **CONSTANTS, **constants)
    found = check_composition(model, spec)
    assert names(found.partition) == ["a", "b"] and [p.outputs for p in found.partition.parts] == [("p",), ("q",)]
    return found


CONCAT = node("Concat", "fa fb", "j", axis=1)


def test_split_at_the_seams():
    separate(CONCAT, node("Split", "j sizes", "p q", axis=1), sizes=np.array([4, 4]))
    separate(CONCAT, node("Split", "j", "p q", axis=-1, num_outputs=2))
    separate(CONCAT, node("Split", "j", "p q", axis=-1), opset=13)


def test_split_inside_the_pieces():
    found = separate(CONCAT, node("Split", "j sizes", "p r q", axis=1), sizes=np.array([1, 3, 4]))
    assert [n.op_type for n in found.model.graph.node if n.output[0] == "p"] == ["Slice"]


def test_a_split_across_a_seam_stays_in_the_trunk_and_the_others_do_not():
    nodes = [CONCAT, node("Split", "j sizes", "p x q", axis=1)]
    found = check_composition(
        *build([*STREAMS, *nodes], INPUTS, ["p", "x", "q"], **CONSTANTS, sizes=np.array([2, 4, 2]))
    )
    assert [part.outputs for part in found.partition.parts] == [("fa", "p"), ("fb", "q"), ("x",)]


@pytest.mark.parametrize(("start", "end"), [(4, 8), (-4, 2**63 - 1), (5, 7), (-2, -1)])
def test_slice_of_one_piece(start, end):
    bounds = {"start": np.array([start]), "end": np.array([end])}
    separate(CONCAT, node("Slice", "fa zero one one", "p"), node("Slice", "j start end one", "q"), **bounds)


def test_slice_along_two_axes():
    model, spec = build(
        [*STREAMS, CONCAT, node("Slice", "j s e x", "p"), node("Slice", "j s1 e1", "q")], INPUTS, ["p", "q"],
        **CONSTANTS, s=np.array([1, 0]), e=np.array([3, 1]), x=np.array([-1, 0]),
        s1=np.array([0, 4]), e1=np.array([1, 8]),
    )  # fmt: skip
    assert names(check_composition(model, spec).partition) == ["a", "b"]


def test_slices_with_steps_or_across_seams_or_of_nothing_stay():
    slices = {"step": ([0], [4], [2]), "across": ([2], [6], [1]), "nothing": ([3], [3], [1]), "back": ([3], [0], [-1])}
    for start, end, step in slices.values():
        model, spec = build(
            [*STREAMS, CONCAT, node("Slice", "j s e one t", "p")], INPUTS, ["p"],
            **CONSTANTS, s=np.array(start), e=np.array(end), t=np.array(step),
        )  # fmt: skip
        assert check_composition(model, spec).partition.trunk is not None


def test_gather_inside_a_piece():
    separate(CONCAT, node("Gather", "j i", "p", axis=1), node("Gather", "j k", "q", axis=-1),
             i=np.array([[3, 0], [1, 1]]), k=np.array(-1))  # fmt: skip
    model, spec = build(
        [*STREAMS, CONCAT, node("Gather", "j i", "p", axis=1)], INPUTS, ["p"], **CONSTANTS, i=np.array([0, 4])
    )
    assert check_composition(model, spec).partition.trunk is not None


def test_torch_stack_then_index_gives_the_tensor_itself():
    stack = [
        node("Unsqueeze", "fa axis", "ua"),
        node("Unsqueeze", "fb axis", "ub"),
        node("Concat", "ua ub", "j", axis=1),
    ]
    found = separate(*stack, node("Gather", "j first", "p", axis=1), node("Gather", "j last", "q", axis=1),
                     axis=np.array([-2]), first=np.array(0), last=np.array(-1))  # fmt: skip
    assert {n.output[0]: list(n.input) for n in found.model.graph.node if n.op_type == "Identity"} == {
        "p": ["fa"], "q": ["fb"],
    }  # fmt: skip


def test_a_stack_of_stacks():
    nodes = [CONCAT, node("Concat", "j fa", "k", axis=1), node("Slice", "k s e one", "q"), node("Relu", "fa", "p")]
    separate(*nodes, s=np.array([5]), e=np.array([7]))


def test_another_axis_or_a_computed_index_stays():
    tall = [node("Concat", "fa fb", "j", axis=0), node("Slice", "j zero one one", "p")]
    model, spec = build([*STREAMS, *tall], INPUTS, ["p"], **CONSTANTS)
    assert split(model, spec).partition.trunk is not None
    computed = [CONCAT, node("ArgMax", "fa", "i", axis=1), node("Gather", "j i", "p", axis=1)]
    model, spec = build([*STREAMS, *computed], INPUTS, ["p"], **CONSTANTS)
    assert check_composition(model, spec).partition.trunk is not None
