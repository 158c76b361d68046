"""What depends on the target's TensorRT version and GPU."""

from __future__ import annotations

import onnx
import pytest

from edgefuse.errors import UsageError
from edgefuse.lint import lint_model
from edgefuse.lint.operators import IMPORTED
from tests.lint.cases import CASES, CLEAN, rules
from tests.lint.graphs import one


@pytest.mark.parametrize(
    ("tensorrt", "newest"),
    [("8.5.2", 17), ("8.6.2", 17), ("10.3.0", 20), ("10.7", 22), ("10.13.3", 23), ("10.16.2.10", 24), ("11.4.1", 25)],
)
def test_the_opset_that_a_version_documents(tensorrt, newest):
    assert rules(one("Relu").model(opset=newest), tensorrt) == []
    assert rules(one("Relu").model(opset=newest + 1), tensorrt) == ["W3"]


def test_old_opsets_are_outside_as_well():
    assert rules(one("Relu").model(opset=8)) == ["W3"]


@pytest.mark.parametrize(
    "name", ["axes on 8.6", "LayerNormalization on 8.5", "Attention on 10.13", "half scale on Orin"]
)
def test_what_an_old_version_lacks_a_newer_one_has(name):
    assert rules(CASES[name].model, "11.4.1", "8.7") == []


def test_a_precision_needs_both_the_version_and_the_gpu():
    fp8 = CASES["FP8 on 8.6"].model
    assert "P4" in rules(fp8, "8.6.2", "8.9")
    assert rules(fp8, "10.3.0", "8.9") == rules(fp8) == []


def test_scatter_elements_with_a_reduction_came_with_tensorrt_10():
    assert "P2" in rules(CASES["ScatterElements add"].model, "8.6.2")


@pytest.mark.parametrize("wrong", ["ten", "10", "7.1", "10.x"])
def test_a_version_that_is_none_is_a_mistake_of_the_call(wrong):
    with pytest.raises(UsageError, match="TensorRT"):
        lint_model(CLEAN["MatMul"], wrong)


def test_every_operator_that_the_rules_speak_of_is_one_of_onnx():
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    assert known | {"ImageScaler", "ParametricSoftplus", "ScaledTanh"} >= IMPORTED
