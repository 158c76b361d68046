"""The linter on one graph per rule, on graphs without a flaw, on files and on damaged graphs."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from edgefuse.errors import ModelError
from edgefuse.lint import ERROR, RULES, lint_file, lint_model
from edgefuse.lint.operators import IMPORTED
from edgefuse.quantize import quantize_int8
from tests.lint.cases import CASES, CLEAN, rules
from tests.lint.graphs import Graph, convolution, one


@pytest.mark.parametrize("name", CASES)
def test_each_graph_breaks_its_rule_and_no_other(name):
    case = CASES[name]
    assert set(rules(case.model, case.tensorrt, case.capability)) == {case.rule, *case.also}


@pytest.mark.parametrize("name", CASES)
def test_a_message_names_node_and_tensor_and_a_cure_says_what_to_do(name):
    case = CASES[name]
    for finding in lint_model(case.model, case.tensorrt, case.capability):
        assert finding.severity == RULES[finding.rule][0]
        if finding.rule == "W3":
            continue  # about the whole model
        nodes = {node.name: node for node in all_nodes(case.model.graph)}
        node = nodes[finding.node]
        assert finding.op == node.op_type
        tensors = {*node.input, *node.output} | {weight.name for weight in case.model.graph.initializer}
        assert any(f"'{name}'" in finding.message for name in tensors)
        assert len(finding.cure.split()) >= 4 and finding.cure.endswith(".")


def all_nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def test_every_rule_has_a_graph():
    assert {case.rule for case in CASES.values()} == set(RULES)


def test_the_letter_of_a_rule_tells_its_severity():
    assert all((severity == ERROR) == (rule[0] in "EP") for rule, (severity, _) in RULES.items())


@pytest.mark.parametrize("name", CLEAN)
def test_a_sound_graph_has_no_findings(name):
    assert lint_model(CLEAN[name]) == []


def test_what_our_quantizer_writes_is_clean_on_every_jetson():
    for tensorrt, capability in (("10.3.0", "8.7"), ("10.13.3", "11.0"), ("10.16.2", "8.7"), ("11.4.1", "8.7")):
        assert lint_model(CLEAN["as our quantizer writes it"], tensorrt, capability) == []


def test_what_our_quantizer_really_writes_is_clean(tiny_onnx, tmp_path):
    generator = np.random.default_rng(0)
    shapes = {"image": (1, 1, 8, 8), "state": (1, 6)}
    feeds = [{name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in "abcd"]
    assert quantize_int8(tiny_onnx, tmp_path / "q.onnx", feeds, "tensorrt").int8 > 0
    assert lint_file(tmp_path / "q.onnx", "10.3.0", "8.7") == []
    quantize_int8(tiny_onnx, tmp_path / "q.onnx", feeds, "openvino")
    assert "E1" in rules_of_file(tmp_path / "q.onnx")


def test_findings_come_in_the_graphs_order():
    graph = one("Unique", "x", "u").add("NonZero", "u", "n").add("Det", "n", "y").model()
    assert [finding.node for finding in lint_model(graph)] == ["u_node", "n_node", "y_node"]


def test_a_node_without_a_name_is_called_by_its_operator_and_output():
    model = Graph([helper.make_node("Unique", ["x"], ["y"])]).feed([4]).model()
    assert lint_model(model)[0].node == "Unique → y"


def test_a_shared_scale_is_told_once():
    graph = convolution(np.float32(0)).quantize("y")
    found = [finding for finding in lint_model(graph.model("y_dq")) if finding.rule == "E3"]
    assert len(found) == 1 and "read by 4 nodes" in found[0].message


def test_the_saturation_of_uint8_is_given_in_the_models_numbers():
    assert "127 × scale, 12.7," in lint_model(CASES["uint8"].model)[0].message


def test_a_finding_survives_json():
    finding = lint_model(CASES["scale 0"].model)[0]
    assert finding.to_json() == dataclasses.asdict(finding)
    assert set(finding.to_json()) == {"rule", "severity", "node", "op", "message", "cure"}


def test_a_file_is_linted_as_its_model_is(tmp_path):
    onnx.save(CASES["zero point 3"].model, tmp_path / "m.onnx")
    assert lint_file(tmp_path / "m.onnx", "10.3.0") == lint_model(CASES["zero point 3"].model, "10.3.0")


def test_scales_are_read_from_the_external_data_and_nothing_else(tmp_path):
    model = onnx.ModelProto.FromString(CASES["scale 0"].model.SerializeToString())
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert rules_of_file(tmp_path / "m.onnx") == ["E3"]
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelError, match="external data of 'zero'"):
        lint_file(tmp_path / "m.onnx")


def rules_of_file(path):
    return [finding.rule for finding in lint_file(path)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"no model", "text|not|neither"),
        (CLEAN["MatMul"].SerializeToString()[:-40], "truncated|cut|not whole|damaged"),
    ],
)
def test_a_file_that_is_no_onnx_says_so(tmp_path, content, says):
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=says) as caught:
        lint_file(path)
    assert caught.value.where == str(path)


def test_a_node_that_lacks_an_input_is_named():
    with pytest.raises(ModelError, match=r"Conv has 1 inputs.*at least 2") as caught:
        lint_model(one("Conv").model())
    assert "y_node" in caught.value.where


def test_the_documentation_lists_every_rule_and_no_other():
    page = (Path(__file__).parents[2] / "docs" / "lint.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| ([EPW]\d+) ", page, re.MULTILINE)) == set(RULES)


def test_the_linter_needs_neither_torch_nor_onnxruntime_nor_nvidias_code():
    code = "import sys, edgefuse.lint; print([m for m in sys.modules if m.split('.')[0] in %r])"
    heavy = ("torch", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx_libs", "tensorrt_rtx_bindings")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ALL = {**{name: case.model for name, case in CASES.items()}, **CLEAN}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(ALL)), st.data())
def test_a_damaged_graph_is_linted_or_refused_but_never_a_defect_of_ours(name, data):
    model = onnx.ModelProto.FromString(ALL[name].SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        damage(model.graph, data)
    tensorrt = data.draw(st.sampled_from(["8.5.2", "10.3.0", None]))
    with contextlib.suppress(ModelError):
        lint_model(model, tensorrt, "8.7")


def damage(graph, data):
    node = data.draw(st.sampled_from(list(graph.node)))
    kind = data.draw(st.sampled_from(["input", "attribute", "initializer", "operator", "output"]))
    if kind == "input" and node.input:
        position = data.draw(st.integers(0, len(node.input) - 1))
        if data.draw(st.booleans()):
            node.input[position] = ""
        else:
            del node.input[position]
    elif kind == "attribute" and node.attribute:
        del node.attribute[data.draw(st.integers(0, len(node.attribute) - 1))]
    elif kind == "initializer" and graph.initializer:
        del graph.initializer[data.draw(st.integers(0, len(graph.initializer) - 1))]
    elif kind == "operator":
        node.op_type = data.draw(st.sampled_from(sorted(IMPORTED)))
    elif node.output:
        del node.output[data.draw(st.integers(0, len(node.output) - 1))]


def test_a_graph_whose_nodes_read_what_nobody_makes_is_no_model(tmp_path):
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]>
        g (float[4] x) => (float[4] y) { y = Add(x, nobody) }""")
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="topologically sorted"):
        lint_file(tmp_path / "m.onnx")
