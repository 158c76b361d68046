"""Each rule of docs/partition.md on a graph written for it, whose parts give the whole's outputs bit for bit."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefuse.errors import ModelError
from edgefuse.partition import cut, node_parts, partition, split
from edgefuse.spec import DimRange, ModelSpec, TensorSpec
from tests.conftest import tiny_model
from tests.partition.graphs import build, check_composition, feed_of, names, node, open_parts, run_parts, weights

A, B = [1, 8], [1, 6]


def two_branches(*trunk, outputs=("y",), inputs=None, extra=(), **constants):
    """x_a @ wa and x_b @ wb, both (1, 4) float32, and then *trunk*."""
    nodes = [node("MatMul", "a wa", "fa"), node("MatMul", "b wb", "fb"), *extra, *trunk]
    given = {"wa": weights(8, 4), "wb": weights(6, 4), **constants}
    return build(nodes, inputs or {"a": A, "b": B}, outputs, **given)


def part_of(found, name):
    return found.partition[name]


def test_two_sensors_give_two_branches_and_a_trunk():
    found = check_composition(*two_branches(node("Add", "fa fb", "y")))
    assert names(found.partition) == ["a", "b", "trunk"]
    assert part_of(found, "trunk").inputs == ("fa", "fb") and part_of(found, "trunk").streams == ("a", "b")
    assert [(t.name, t.shape, t.dtype, t.stream) for t in found.partition.tensors] == [
        ("fa", (1, 4), "float32", "a"),
        ("fb", (1, 4), "float32", "b"),
    ]
    assert found.node_parts == {"n_fa": "a", "n_fb": "b", "n_y": "trunk"} and found.notes == ()
    assert part_of(found, "a").macs == 32 and part_of(found, "a").weight_bytes == 128
    assert found.partition.boundary_bytes == 32


def test_inputs_of_one_stream_are_one_branch():
    model, spec = build(
        [node("MatMul", "image w", "f"), node("Mul", "f intrinsics", "g"), node("MatMul", "imu w", "h"),
         node("Add", "g h", "y")],
        {"image": TensorSpec("image", (1, 4), stream="camera"),
         "intrinsics": TensorSpec("intrinsics", (1, 4), stream="camera"), "imu": [1, 4]},
        ["y"], w=weights(4, 4),
    )  # fmt: skip
    found = check_composition(model, spec)
    assert names(found.partition) == ["camera", "imu", "trunk"]
    assert part_of(found, "camera").inputs == ("image", "intrinsics")


def test_one_stream_is_one_part_and_no_stream_is_a_trunk():
    found = check_composition(
        *build([node("MatMul", "a w", "f"), node("Relu", "f", "y")], {"a": A}, ["y"], w=weights(8, 2))
    )
    assert names(found.partition) == ["a"] and found.partition.trunk is None
    model, spec = build([node("Relu", "w", "y")], {"a": A}, ["y"], w=weights(3))
    found = check_composition(model, spec)
    assert names(found.partition) == ["trunk"] and part_of(found, "trunk").streams == ()


def test_streams_that_never_meet_need_no_trunk_and_a_constant_output_is_made_by_a_branch():
    model, spec = two_branches(node("Relu", "w", "c"), outputs=("fa", "fb", "c"), w=weights(3))
    found = check_composition(model, spec)
    assert names(found.partition) == ["a", "b"] and found.partition.trunk is None
    assert part_of(found, "b").outputs == ("fb", "c")


def test_an_input_that_nobody_reads_disturbs_nothing():
    found = check_composition(*two_branches(node("Add", "fa fb", "y"), inputs={"a": A, "b": B, "c": [1, 3]}))
    assert names(found.partition) == ["a", "b", "trunk"]
    assert found.partition.affected(["c"]) == ()


def test_a_trunk_that_reads_a_raw_input_has_no_branch_for_it():
    found = check_composition(*two_branches(node("Concat", "fa b", "y", axis=1)))
    assert names(found.partition) == ["a", "trunk"]
    assert part_of(found, "trunk").inputs == ("b", "fa") and part_of(found, "trunk").streams == ("a", "b")


def test_a_few_cheap_nodes_are_no_branch():
    found = check_composition(*two_branches(node("Tanh", "b", "t"), node("Concat", "fa t", "y", axis=1)))
    assert names(found.partition) == ["a", "trunk"]


def test_a_branch_that_only_makes_an_output_is_one():
    found = check_composition(*two_branches(node("Relu", "fb", "z"), outputs=("fa", "z")))
    assert [part.outputs for part in found.partition.parts] == [("fa",), ("z",)]


def test_an_output_that_a_branch_makes_may_be_read_by_the_trunk_too():
    found = check_composition(*two_branches(node("Add", "fa fb", "y"), outputs=("y", "fa")))
    assert part_of(found, "a").outputs == ("fa",) and part_of(found, "trunk").outputs == ("y",)


def test_an_output_that_is_an_input_or_a_copy_of_it():
    model, spec = two_branches(node("Add", "fa fb", "y"), node("Identity", "a", "z"), outputs=("y", "z"))
    assert part_of(check_composition(model, spec), "a").outputs == ("fa", "z")
    model, spec = two_branches(node("Add", "fa fb", "y"), outputs=("y", "a"))
    assert part_of(check_composition(model, spec), "a").outputs == ("fa", "a")


def test_constant_subgraphs_are_copied_to_every_part_that_reads_them():
    constant = helper.make_node("Constant", [], ["k"], name="k", value_floats=[1.0, 2.0, 3.0, 4.0])
    found = check_composition(
        *two_branches(
            node("Add", "fa ck", "ga"), node("Add", "fb ck", "gb"), node("Mul", "ga gb", "y"),
            extra=[constant, node("Sqrt", "k", "ck")],
        )
    )  # fmt: skip
    models = found.models()
    assert [sum(n.op_type == "Sqrt" for n in models[name].graph.node) for name in ("a", "b", "trunk")] == [1, 1, 0]
    assert "ck" not in {tensor.name for tensor in found.partition.tensors}


def body(output, nodes, name="body"):
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def test_the_bodies_of_if_count_for_what_they_capture_however_deep():
    inner = helper.make_node(
        "If", ["flag"], ["inner"], name="inner",
        then_branch=body("t", [node("Neg", "fb", "t")]), else_branch=body("e", [node("Abs", "fb", "e")]),
    )  # fmt: skip
    outer = helper.make_node(
        "If", ["flag"], ["met"], name="outer",
        then_branch=body("inner", [inner]), else_branch=body("o", [node("Neg", "fa", "o")]),
    )  # fmt: skip
    model, spec = two_branches(outer, node("Relu", "met", "y"), flag=np.array(True))
    found = check_composition(model, spec)
    assert found.node_parts["outer"] == "trunk" and part_of(found, "trunk").inputs == ("fa", "fb")


def test_weights_that_only_a_body_reads_travel_with_its_part():
    loop = helper.make_node(
        "If", ["flag"], ["g"], name="if",
        then_branch=body("t", [node("MatMul", "fa inside", "t")]), else_branch=body("e", [node("Abs", "fa", "e")]),
    )  # fmt: skip
    found = check_composition(*two_branches(loop, node("Add", "g fb", "y"), flag=np.array(True), inside=weights(4, 4)))
    assert found.node_parts["if"] == "a" and part_of(found, "a").macs is None
    assert part_of(found, "a").weight_bytes == 8 * 4 * 4 + 4 * 4 * 4 + 1


def test_an_int8_graph_is_cut_at_the_int8_tensor():
    pair = [node("QuantizeLinear", "fa s z", "q"), node("DequantizeLinear", "q s z", "dq")]
    found = check_composition(*two_branches(*pair, node("Add", "dq fb", "y"), s=np.float32(0.1), z=np.uint8(128)))
    assert found.node_parts["n_q"] == "a" and found.node_parts["n_dq"] == "trunk"
    assert [(t.name, t.dtype) for t in found.partition.tensors] == [("q", "uint8"), ("fb", "float32")]
    assert found.partition.boundary_bytes == 4 + 16


def test_a_tensor_that_the_branch_needs_too_is_dequantized_in_both():
    pair = [node("QuantizeLinear", "fa s z", "q"), node("DequantizeLinear", "q s z", "dq")]
    model, spec = two_branches(
        *pair,
        node("Relu", "dq", "aux"),
        node("Add", "dq fb", "y"),
        outputs=("y", "aux"),
        s=np.float32(0.1),
        z=np.int8(0),
    )
    found = check_composition(model, spec)
    assert found.node_parts["n_dq"] == "a" and part_of(found, "a").outputs == ("q", "aux")
    assert "n_dq" in {n.name for n in found.models()["trunk"].graph.node}


def test_cheap_nodes_that_make_a_tensor_larger_move_to_the_trunk_and_heavy_ones_never():
    grown = [node("Expand", "fa shape", "e"), node("Relu", "e", "r"), node("Add", "r fb", "y")]
    found = check_composition(*two_branches(*grown, shape=np.array([16, 4])))
    assert part_of(found, "a").outputs == ("fa",) and found.node_parts["n_r"] == "trunk"
    grown[1] = node("Softmax", "e", "r")
    found = check_composition(*two_branches(*grown, shape=np.array([16, 4])))
    assert part_of(found, "a").outputs == ("r",)


def test_weights_make_an_elementwise_node_heavy():
    found = check_composition(
        *two_branches(node("Add", "fa table", "e"), node("Add", "e fb", "y"), table=weights(16, 4))
    )
    assert part_of(found, "a").outputs == ("e",)
    found = check_composition(
        *two_branches(node("Mul", "fa two", "e"), node("Expand", "e shape", "g"), node("Add", "g fb", "y"),
                      two=np.float32(2), shape=np.array([16, 4]))
    )  # fmt: skip
    assert part_of(found, "a").outputs == ("e",), "of cuts of one size the later: more work in the branch"


def test_of_cuts_with_equal_bytes_the_one_with_fewer_tensors_is_taken():
    halves = [node("Split", "fa", "p q", axis=1, num_outputs=2), node("Neg", "p", "m"), node("Add", "fb m", "u"),
              node("Mul", "fb q", "v"), node("Concat", "u v", "y", axis=1)]  # fmt: skip
    model, spec = two_branches(*halves, wb=weights(6, 2))
    assert part_of(check_composition(model, spec), "a").outputs == ("fa",)


def test_a_tensor_that_many_trunk_nodes_read_counts_once():
    readers = [
        node("Expand", "fa shape", "e"),
        *(node("Add", f"{x} fb", f"y{i}") for i, x in enumerate(("e", "fa", "e"))),
    ]
    model, spec = two_branches(*readers, outputs=("y0", "y1", "y2"), shape=np.array([2, 4]))
    assert part_of(check_composition(model, spec), "a").outputs == ("fa",)


def test_a_stream_called_trunk_and_one_that_is_named_by_its_input_only():
    model, spec = two_branches(
        node("Add", "fa fb", "y"), inputs={"a": TensorSpec("a", (1, 8), stream="trunk"), "b": TensorSpec("b", (1, 6))}
    )
    found = check_composition(model, spec)
    assert names(found.partition) == ["trunk", "b", "trunk_"] and found.partition.trunk.name == "trunk_"


def test_a_type_that_no_boundary_can_have_leaves_the_stream_in_the_trunk_and_says_so():
    odd = node("Cast", "fa", "c", to=TensorProto.BFLOAT16)
    sums = [node("ReduceMax", "c", "m"), node("Cast", "m", "back", to=TensorProto.FLOAT)]
    model, spec = two_branches(odd, *sums, node("Add", "back fb", "y"))
    found = split(model, spec)
    assert "back" in part_of(found, "a").outputs, "behind it there is one that can"
    sequence = [node("SequenceConstruct", "fa", "s"), node("ConcatFromSequence", "s", "back", axis=0)]
    found = check_composition(*two_branches(*sequence, node("Add", "back fb", "y")))
    assert "back" in part_of(found, "a").outputs
    met = [node("SequenceConstruct", "fa", "s"), node("SequenceInsert", "s fb", "t"),
           node("ConcatFromSequence", "t", "y", axis=0)]  # fmt: skip
    found = check_composition(*two_branches(*met))
    assert names(found.partition) == ["b", "trunk"] and found.notes[0].startswith("a: ")


def test_the_model_that_is_given_stays_as_it_is_and_the_answer_is_always_the_same():
    model, spec = two_branches(node("Shape", "fa", "s"), node("Reshape", "fb s", "r"), node("Add", "fa r", "y"))
    before = model.SerializeToString(deterministic=True)
    first, second = split(model, spec), split(copy.deepcopy(model), spec)
    assert model.SerializeToString(deterministic=True) == before
    assert first.partition == second.partition and first.node_parts == second.node_parts
    assert partition(model, spec) == first.partition and node_parts(model, spec) == first.node_parts
    for name, part in cut(model, spec, first.partition).items():
        assert part.SerializeToString(deterministic=True) == first.models()[name].SerializeToString(deterministic=True)


def test_nodes_without_a_name_are_known_by_their_output():
    spec = ModelSpec((TensorSpec("image", (1, 1, 8, 8)), TensorSpec("state", (1, 6))), ("logits",))
    assert node_parts(tiny_model(), spec)["conv_relu"] == "image"


def test_a_part_keeps_opset_ir_version_and_types():
    model, spec = two_branches(node("Add", "fa fb", "y"))
    trunk = split(model, spec).models()["trunk"]
    assert trunk.opset_import[0].version == 18 and trunk.ir_version == 10
    assert [d.dim_value for d in trunk.graph.input[0].type.tensor_type.shape.dim] == [1, 4]
    onnx.checker.check_model(trunk, full_check=True)


def test_other_sensors_do_not_touch_a_branch():
    model, spec = two_branches(node("Add", "fa fb", "y"))
    found = split(model, spec)
    sessions, feed = open_parts(found.models()), feed_of(spec)
    before = run_parts(sessions, found.partition, feed)
    after = run_parts(sessions, found.partition, feed | {"b": feed["b"] + 1})
    assert (before["fa"] == after["fa"]).all() and (before["y"] != after["y"]).any()


def test_state_of_one_branch_stays_in_it_and_state_that_the_trunk_reads_does_not():
    model, spec = two_branches(node("Add", "fa h", "next"), node("Add", "next fb", "y"), outputs=("y", "next"),
                               inputs={"a": A, "b": B, "h": [1, 4]})  # fmt: skip
    found = check_composition(model, spec, {"h": "next"})
    assert names(found.partition) == ["a", "b", "trunk"], "adding costs nothing, so the product before it stays cached"
    assert found.node_parts["n_next"] == "trunk" and part_of(found, "trunk").inputs == ("h", "fa", "fb")
    assert [p.name for p in found.partition.affected(["b"])] == ["b", "trunk"]


def lstm_model(behind):
    nodes = [
        helper.make_node("LSTM", ["imu", "wi", "wr", "", "", "h", "c"], ["s", "h_out", "c_out"], "lstm", hidden_size=4),
        node("Squeeze", "h_out zero", "f"), node("MatMul", "b wb", "fb"), *behind,
    ]  # fmt: skip
    return build(
        nodes, {"imu": [5, 1, 6], "b": B, "h": [1, 1, 4], "c": [1, 1, 4]}, ["y", "h_out", "c_out"],
        wi=weights(1, 16, 6), wr=weights(1, 16, 4), wb=weights(6, 4), zero=np.array([0]),
    )  # fmt: skip


def test_an_lstm_with_carried_state_is_a_branch_that_always_runs():
    model, spec = lstm_model([node("Add", "f fb", "y")])
    found = check_composition(model, spec, {"h": "h_out", "c": "c_out"})
    assert names(found.partition) == ["imu", "b", "trunk"]
    assert part_of(found, "imu").streams == ("imu",) and part_of(found, "imu").inputs == ("imu", "h", "c")
    assert found.partition.state == (("h", "h_out"), ("c", "c_out"))
    assert [part.name for part in found.partition.affected([])] == ["imu", "trunk"]
    assert [part.name for part in found.partition.affected(["b"])] == ["imu", "b", "trunk"]


def test_state_that_two_sensors_meet_belongs_to_the_trunk():
    model, spec = lstm_model([node("Mul", "fb h", "g"), node("Add", "f g", "y")])
    found = check_composition(model, spec, {"h": "h_out", "c": "c_out"})
    assert names(found.partition) == ["b", "trunk"] and found.node_parts["lstm"] == "trunk"


def test_a_model_of_one_sensor_with_state_is_one_part():
    model, spec = build(
        [node("MatMul", "a w", "f"), node("Add", "f h", "y")], {"a": A, "h": [1, 8]}, ["y"], w=weights(8, 8)
    )
    found = check_composition(model, spec, {"h": "y"})
    assert names(found.partition) == ["a"] and found.partition.runs_always(found.partition.parts[0])


def test_state_that_is_not_there_is_told_with_the_nearest_name():
    model, spec = two_branches(node("Add", "fa fb", "y"))
    with pytest.raises(ModelError, match="no output"):
        split(model, spec, {"a": "yy"})


STATIC_SHAPES = [
    [node("Shape", "fa", "s"), node("Reshape", "fb s", "r"), node("MatMul", "r wc", "g"), node("Add", "g fa", "y")],
    [node("Shape", "fa", "s", start=1), node("Concat", "one s", "t", axis=0), node("Reshape", "fb t", "r"),
           node("MatMul", "r wc", "g"), node("Add", "g fa", "y")],
    [node("Size", "fa", "n"), node("Unsqueeze", "n zero", "s"), node("Concat", "one s", "t", axis=0),
           node("Reshape", "fb t", "r"), node("MatMul", "r wc", "g"), node("Add", "g fa", "y")],
]  # fmt: skip


@pytest.mark.parametrize("nodes", STATIC_SHAPES)
def test_a_static_shape_of_one_sensors_data_does_not_merge_another_with_it(nodes):
    constants = {"wc": weights(4, 4), "one": np.array([1]), "zero": np.array([0])}
    found = check_composition(*two_branches(*nodes, **constants))
    assert found.node_parts["n_g"] == "b" and part_of(found, "b").shape_inputs == ()
    assert not {"Shape", "Size"} & {n.op_type for n in found.model.graph.node}


LENGTH = DimRange(2, 5)


def dynamic(*nodes, **constants):
    inputs = {"a": TensorSpec("a", (LENGTH, 8), stream="a"), "b": [1, 6]}
    return two_branches(*nodes, inputs=inputs, **constants)


def test_a_known_place_of_an_open_shape_is_a_constant():
    model, spec = dynamic(
        node("Shape", "fa", "s"), node("Gather", "s one", "w"), node("Concat", "w w", "t", axis=0),
        node("ConstantOfShape", "t", "zeros"), node("MatMul", "fb zeros", "g"), node("Add", "g fa", "y"),
        one=np.array([1]),
    )  # fmt: skip
    found = check_composition(model, spec)
    assert found.node_parts["n_g"] == "b" and part_of(found, "b").inputs == ("b",)


def test_an_open_shape_of_one_sensors_data_is_a_shape_input_of_another_branch():
    model, spec = dynamic(
        node("Shape", "fa", "s", start=0, end=1), node("Concat", "s four", "t", axis=0), node("Expand", "fb t", "e"),
        node("Softmax", "e", "g"), node("Add", "g fa", "y"), four=np.array([4]),
    )  # fmt: skip
    found = check_composition(model, spec)
    assert names(found.partition) == ["a", "b", "trunk"]
    assert part_of(found, "b").inputs == ("b", "s") == ("b", *part_of(found, "b").shape_inputs)
    assert part_of(found, "b").streams == ("b",) and part_of(found, "a").outputs == ("fa", "s")
    assert [part.name for part in found.partition.affected(["a"])] == ["a", "trunk"]
    assert {t.name: t.shape for t in found.partition.tensors} == {"fa": (LENGTH, 4), "s": (1,), "g": (LENGTH, 4)}
    assert found.partition.boundary_bytes is None


def test_branches_that_want_each_others_shapes_do_not_wait_for_each_other():
    inputs = {"a": TensorSpec("a", (LENGTH, 8), stream="a"), "b": TensorSpec("b", (LENGTH, 6), stream="b")}
    nodes = [
        node("Shape", "fa", "sa"), node("Shape", "fb", "sb"),
        node("ConstantOfShape", "sa", "za"), node("ConstantOfShape", "sb", "zb"),
        node("ReduceSum", "za", "ta", keepdims=0), node("ReduceSum", "zb", "tb", keepdims=0),
        node("Add", "fa tb", "ga"), node("Softmax", "ga", "ha"),
        node("Add", "fb ta", "gb"), node("Softmax", "gb", "hb"),
        node("ReduceMax", "ha", "ma", keepdims=0), node("ReduceMax", "hb", "mb", keepdims=0), node("Add", "ma mb", "y"),
    ]  # fmt: skip
    found = check_composition(*two_branches(*nodes, inputs=inputs))
    assert names(found.partition)[-1] == "trunk" and len(found.notes) == 1
    assert {"a", "b"} <= set(names(found.partition)), "the products are cached all the same"


def test_a_shape_that_hangs_on_values_is_a_value():
    model, spec = dynamic(
        node("NonZero", "fa", "nz"), node("Size", "nz", "s"), node("Cast", "s", "f", to=1), node("Mul", "fb f", "m"),
        node("Softmax", "m", "g"), node("Add", "g fa", "y"),
    )  # fmt: skip
    found = check_composition(model, spec)
    assert found.node_parts["n_g"] == "trunk" and found.node_parts["n_nz"] == "a"


def test_a_tensor_whose_size_hangs_on_values_crosses_no_boundary():
    """Zeros plus one have as many places that are not zero at every measurement."""
    counted = [node("Add", "fa one", "f"), node("NonZero", "f", "nz"), node("Cast", "nz", "c", to=1)]
    model, spec = two_branches(*counted, node("ReduceSum", "c", "n"), node("Add", "n fb", "y"), one=np.float32(1))
    assert part_of(check_composition(model, spec), "a").outputs == ("n",)
    tall = [node("Reshape", "fb two", "g"), node("Concat", "c g", "y", axis=1)]
    found = check_composition(*two_branches(*counted, *tall, one=np.float32(1), two=[2, 2]))
    assert names(found.partition) == ["b", "trunk"] and found.notes[0].startswith("a: ")


def test_a_sensor_whose_shape_alone_another_branch_needs_has_a_branch_for_that():
    model, spec = dynamic(
        node("Shape", "a", "s", start=0, end=1), node("Concat", "s four", "t", axis=0), node("Expand", "fb t", "e"),
        node("Softmax", "e", "g"), node("Concat", "g a", "y", axis=1), four=np.array([4]),
    )  # fmt: skip
    found = check_composition(model, spec)
    assert names(found.partition) == ["a", "b", "trunk"] and part_of(found, "b").shape_inputs == ("s",)
    assert part_of(found, "a").outputs == ("s",) and part_of(found, "trunk").inputs == ("a", "g")


def test_a_dynamic_boundary_is_measured_where_inference_gives_up():
    model, spec = dynamic(
        node("Unsqueeze", "fa zero", "u"), node("Shape", "fa", "s"), node("Mul", "s two", "t"),
        node("Tile", "fa two", "big"), node("MatMul", "big wc", "h"), node("Add", "h fb", "y"),
        zero=np.array([0]), two=np.array([2, 2]), wc=weights(8, 4),
    )  # fmt: skip
    found = check_composition(model, spec)
    assert {t.name: t.shape for t in found.partition.tensors}["h"] == (DimRange(4, 10), 4)
