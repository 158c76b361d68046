"""What counts as a constant, and graphs within a graph: bodies and functions."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

from edgefuse.lint import lint_model
from tests.lint.cases import CASES, rules
from tests.lint.graphs import Graph, convolution, one


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (("Identity", "base", {}), None),
        (("Cast", "wide", {"to": T.FLOAT}), None),
        (("Mul", "base base", {}), None),
        (("Sub", "base base", {}), "E3"),
        (("Sqrt", "base", {}), None),
        (("ReduceMax", "x", {"keepdims": 0}), "E3"),
    ],
)
def test_a_scale_made_of_constants_is_a_constant(made, rule):
    op, inputs, attributes = made
    graph = convolution()
    del graph.weights["scale"]
    graph.constant(base=np.float32(0.1), wide=np.float64(0.1))
    graph.nodes.insert(0, helper.make_node(op, inputs.split(), ["scale"], **attributes))
    assert rules(graph.model()) == ([rule] if rule else [])


def test_constant_nodes_are_constants():
    graph = convolution()
    del graph.weights["scale"], graph.weights["zero"]
    zero = helper.make_tensor("v", T.INT8, [], [3])
    graph.nodes[:0] = [
        helper.make_node("Constant", [], ["scale"], value_float=0.1),
        helper.make_node("Constant", [], ["zero"], value=zero),
    ]
    assert rules(graph.model()) == ["E2"]


@pytest.mark.parametrize("name", CASES)
def test_a_rule_holds_in_the_body_of_a_loop_as_outside(name):
    case = CASES[name]
    target = (case.tensorrt, case.capability)
    assert rules(in_a_loop(case.model), *target) == rules(case.model, *target)


def in_a_loop(model):
    """All of *model*'s nodes in the body of a Loop, which captures everything they read."""
    graph = model.graph
    body = helper.make_graph(
        [*graph.node, helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [helper.make_tensor_value_info("i", T.INT64, []), helper.make_tensor_value_info("go", T.BOOL, [])],
        [helper.make_tensor_value_info("on", T.BOOL, []), *graph.output],
    )
    outer = Graph([helper.make_node("Loop", ["", "start"], ["out"], body=body)]).feed([], T.BOOL, "start")
    made = outer.model("out")
    made.graph.input.extend(graph.input)
    made.graph.initializer.extend(graph.initializer)
    del made.opset_import[:]
    made.opset_import.extend(model.opset_import)
    return made


@pytest.mark.parametrize("domain", ["trt.plugins", "my.domain"])
def test_a_plugin_of_tensorrt_is_a_warning_and_any_other_domain_an_error(domain):
    model = one("EfficientNMS_TRT", domain=domain).model(domain=domain)
    assert rules(model) == (["W6"] if domain == "trt.plugins" else ["E9"])


def test_functions_are_looked_into():
    function = helper.make_function("local", "F", ["a"], ["b"], [helper.make_node("Det", ["a"], ["b"])], [opset(18)])
    model = one("F", domain="local").model(domain="local")
    assert rules(model) == ["E9"]
    model.functions.append(function)
    assert [finding.op for finding in lint_model(model)] == ["Det"]


def opset(version):
    return helper.make_opsetid("", version)
