"""Reading the log of TensorRT-RTX 1.7.1.116, in lines as it writes them; test_offline has the library itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import edgefuse
from edgefuse.backends.tensorrt.kernels import classify, judge_node, read_kernels

F1 = "{ Name: one, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major }"


def tensor(dtype: str, dims: str, name: str = "t") -> str:
    return f"{{ Name: {name}, Dimensions: [{dims}], Strides: [9,9], Datatype: {dtype}, Format: (NHWC) Channel major }}"


def line(name: str, kind: str, inputs: list[str], constants: list[str], *nodes: str) -> str:
    metadata = "".join(f"[ONNX Layer: {node}]" for node in nodes)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {', '.join(inputs)}], Constants: [ {', '.join(constants)}], "
        f"Outputs: [ {tensor('Float', '1,32,16,16')}], TacticName: __myelin_CASK_STUB, StreamId: 0, "
        f"Metadata: {metadata}"
    )


X, W = tensor("Int8", "1,32,16,16"), tensor("Int8", "32,32,3,3")
FX, FW, BIAS = tensor("Float", "1,32,16,16"), tensor("Float", "32,32,3,3"), tensor("Float", "1,32,1,1")
LOG = "\n".join(
    [
        "Layers:",
        line("int8_myl0_1", "correlation", [X], [W, BIAS, BIAS], "int8", "x.dq", "w.dq"),
        line("epilogue", "kgen", [FX], [BIAS], "int8", "relu"),
        line("both_inputs_myl0_2", "gemm", [X, W], [F1, F1], "both inputs"),
        line("dequantized_myl0_3", "correlation", [FX, FW], [F1, F1, BIAS], "dequantized"),
        line("skip_myl0_4", "correlation", [FX, FW, X], [F1, F1, BIAS], "with skip"),
        line("activation_only_myl0_5", "correlation", [FX], [FW, F1, F1], "activation only"),
        line("half_myl0_6", "gemm", [tensor("Half", "16,64")], [tensor("Half", "64,64"), F1], "half"),
        line("one_weight_myl0_7", "correlation", [X], [tensor("Int8", "1,1,1,1"), BIAS], "one weight"),
        line("__myl_CastMulCastMulCastFc_myl0_8", "runtime_fusion", [X], [BIAS, W], "w.dq", "wrong axis"),
        line("__myl_MulMinMaxRounCastCastMulCastReshMulSum_myl0_9", "kgen", [FX], [W], "gemv"),
        line("__myl_FcAdd_myl0_10", "runtime_fusion", [FX], [FW], "float all along"),
        line("__myl_MulMinMaxRounCastFc_myl0_11", "runtime_fusion", [FX], [W], "not proven"),
        line("q+k+v_myl0_12", "gemm", [X], [W, F1, F1], "q", "k", "v"),
        line("good_myl0_13", "gemm", [X], [W, F1, F1], "twin"),
        line("bad_myl0_14", "gemm", [FX], [FW, F1, F1], "twin"),
        line("a/b, c:[x] {y}_myl0_15", "correlation", [X], [W, BIAS], "a/b, c:[x] {y}"),
        line("deconv_myl0_16", "deconv", [FX, FW], [F1, F1], "up"),
        "Name: something of another form",
        "",
        "I/O Tensors:",
        " Name: x, IOMode: Input, DataType: Float, Dimensions: [1,16,16,16], Location: Device",
    ]
)
KERNELS = read_kernels(["chatter", LOG])


@pytest.mark.parametrize("node", ["int8", "both inputs", "one weight", "q", "k", "v", "a/b, c:[x] {y}"])
def test_int8_is_proven_by_a_product_that_reads_int8_on_both_sides(node):
    assert judge_node(node, KERNELS) == "Int8"


@pytest.mark.parametrize(
    ("node", "ran_as"),
    [
        ("dequantized", "Float"),
        ("with skip", "Float"),
        ("activation only", "Float"),
        ("half", "Half"),
        ("twin", "Float"),
        ("up", "Float"),
        ("wrong axis", "Float (in runtime_fusion __myl_CastMulCastMulCastFc_myl0_8)"),
        ("gemv", "Float (in kgen __myl_MulMinMaxRounCastCastMulCastReshMulSum_myl0_9)"),
        ("float all along", "Float (in runtime_fusion __myl_FcAdd_myl0_10)"),
    ],
)
def test_a_product_of_anything_else_is_a_fall_back(node, ran_as):
    assert judge_node(node, KERNELS) == ran_as


@pytest.mark.parametrize("node", ["not proven", "relu", "elsewhere", ""])
def test_what_the_log_does_not_tell_is_not_guessed(node):
    assert judge_node(node, KERNELS) is None


def test_every_node_is_in_one_class():
    nodes = ["int8", "half", "not proven", "elsewhere"]
    assert classify(nodes, KERNELS) == {
        "int8": ["int8"],
        "fallback": [{"node": "half", "ran_as": "Half"}],
        "unknown": ["not proven", "elsewhere"],
    }


def test_a_log_in_another_form_proves_nothing():
    assert classify(["int8"], read_kernels([LOG.replace("LayerType", "Kind")]))["unknown"] == ["int8"]
    assert read_kernels([]) == []


@pytest.mark.parametrize(("library", "file"), [("tensorrt", "vendor.py"), ("cuda", "cuda.py")])
def test_each_of_nvidias_libraries_is_imported_in_one_file(library, file):
    root = Path(edgefuse.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0].startswith(library) for name in imported):
                assert path == root / "backends" / "tensorrt" / file
