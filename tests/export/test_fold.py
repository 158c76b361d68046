from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgefuse.export.fold import fold_constants

HEADER = '<ir_version: 8, opset_import: ["": 17]>\n'


def fold(body: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    before = onnx.parser.parse_model(HEADER + body)
    model = ir.from_proto(before)
    fold_constants(model)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    return before, after


def run(model: onnx.ModelProto, x: Any) -> Any:
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


CHAIN = """net (float[1,4] x) => (float[1,4] y) <float[4] w = {1.0, 2.0, 3.0, 4.0}> {
    two = Constant<value_float = 2.0>()
    doubled = Mul(w, two)
    negated = Neg(doubled)
    y = Add(x, negated)
}"""


def test_chain_of_constants_becomes_one_value() -> None:
    before, after = fold(CHAIN)
    x = np.ones((1, 4), np.float32)
    assert kinds(after) == ["Add"]
    assert len(after.graph.initializer) == 1, "nothing unused stays"
    np.testing.assert_array_equal(run(before, x), run(after, x))


def test_quantization_of_weights_stays_visible() -> None:
    body = """net (float[1,2] x) => (float[1,2] y) <int8[2] w = {1, 2}, float s = {0.5}, int8 z = {0}> {
        d = DequantizeLinear(w, s, z) y = Add(x, d) }"""
    assert kinds(fold(body)[1]) == ["DequantizeLinear", "Add"]


def test_random_values_are_not_folded() -> None:
    body = """net (float[1,2] x) => (float[1,2] y) <float[2] w = {1.0, 2.0}> {
        r = RandomNormalLike(w) y = Add(x, r) }"""
    assert kinds(fold(body)[1]) == ["RandomNormalLike", "Add"]


def test_value_that_would_blow_up_is_not_folded() -> None:
    body = """net (float[1,1] x) => (float y) <float w = {1.0}, int64[2] n = {2000, 2000}> {
        big = Expand(w, n) t = Add(x, big) y = ReduceSum<keepdims = 0>(t) }"""
    assert "Expand" in kinds(fold(body)[1])


def test_constant_output_keeps_its_name() -> None:
    body = """net (float[1,2] x) => (float[1,2] y, float[2] c) <float[2] w = {1.0, 2.0}> {
        c = Neg(w) y = Add(x, c) }"""
    before, after = fold(body)
    assert [value.name for value in after.graph.output] == ["y", "c"]
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(run(before, x), run(after, x))


def test_value_read_inside_a_branch_is_folded_too() -> None:
    body = """net (float[1,2] x, bool b) => (float[1,2] y) <float[2] w = {1.0, 2.0}> {
        c = Neg(w)
        y = If (b) <then_branch = t () => (float[1,2] p) { p = Add(x, c) },
                    else_branch = e () => (float[1,2] q) { q = Sub(x, c) }>
    }"""
    before, after = fold(body)
    assert kinds(after) == ["If"]
    feed = {"x": np.ones((1, 2), np.float32), "b": np.array(False)}
    wanted, got = (ort.InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (before, after))
    np.testing.assert_array_equal(wanted, got)
