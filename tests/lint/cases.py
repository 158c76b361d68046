"""A graph for each rule, with what NVIDIA's own parser and builder do to it (TensorRT-RTX 1.7.1).

``CASES`` is read twice: by the linter's tests, and by those that ask the real parser.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto as T

from edgefuse.lint import lint_model
from tests.lint.graphs import (
    Graph,
    attention,
    bfloat16,
    clean,
    computed_scale,
    computed_zero,
    concat,
    convolution,
    half_scale,
    in_a_branch,
    int8,
    int32_bias,
    low_precision,
    one,
    one_sided,
    product,
    quantized_before_relu,
    random,
    recurrent,
    reduce_mean,
    resize,
    scales,
    scatter,
    sequence,
    two,
)

REFUSED, NO_ENGINE, CRASH, FLOAT, BUILDS = "refused", "no engine", "crash", "float", "builds"
"""The parser's answer; FLOAT: it builds, and the convolution or product reads no int8 although it was to."""


@dataclass(frozen=True)
class Case:
    """*model* breaks *rule* alone, or what *also* names. ``says`` is part of what TensorRT-RTX says with *answer*."""

    rule: str
    model: onnx.ModelProto
    answer: str
    says: str = ""
    tensorrt: str | None = None
    capability: str | None = None
    also: tuple[str, ...] = ()


CASES = {
    "uint8": Case("E1", convolution(zero=np.uint8(0)).model(), BUILDS, "Defaulting to INT8 instead"),
    "int16": Case("E1", convolution(zero=np.int16(0)).model(), REFUSED, "unsupported datatype (5)"),
    "uint8 weight": Case(
        "E1",
        convolution(weight=np.full((16, 16, 3, 3), 200, np.uint8)).constant(weight_zero=np.zeros(16, np.uint8)).model(),
        REFUSED,
        "UINT8",
    ),
    "no zero point": Case("E2", convolution(zero=None).model(), BUILDS),
    "zero point 3": Case("E2", convolution(zero=np.int8(3)).model(), REFUSED, "Non-zero zero point"),
    "zero point in a branch": Case("E2", in_a_branch(), REFUSED, "Non-zero zero point"),
    "zero point computed": Case("E2", computed_zero(), NO_ENGINE, "`zero_point` which is not an initializer"),
    "scale 0": Case("E3", convolution(np.float32(0)).model(), REFUSED, "must all be positive"),
    "scale negative": Case("E3", convolution(np.float32(-0.1)).model(), REFUSED, "must all be positive"),
    "scale NaN": Case("E3", convolution(np.float32("nan")).model(), REFUSED, "must all be positive"),
    "scale infinite": Case("E3", convolution(np.float32("inf")).model(), BUILDS),
    "scale computed": Case("E3", computed_scale(), CRASH),
    "int32 bias": Case("E4", int32_bias(), REFUSED, "input has type Int32 but must have type"),
    "DynamicQuantizeLinear": Case(
        "E5", one("DynamicQuantizeLinear", "x", "y a b").model("y", T.UINT8), REFUSED, "false"
    ),
    "MatMulInteger": Case(
        "E5",
        Graph().feed([8, 8], T.INT8).constant(w=int8(8, 8)).add("MatMulInteger", "x w", "y").model(dtype=T.INT32),
        REFUSED,
        "false",
    ),
    "half + float": Case("E6", two(T.FLOAT, T.FLOAT16), REFUSED, "must have same input types"),
    "bfloat16 + float": Case("E6", two(T.FLOAT, T.BFLOAT16), REFUSED, "must have same input types"),
    "half concat": Case("E6", two(T.FLOAT, T.FLOAT16, "Concat", axis=0), REFUSED, "must all be of the same type"),
    "half matmul": Case("E6", two(T.FLOAT, T.FLOAT16, "MatMul"), REFUSED, "must have same input types"),
    "half weight": Case(
        "E6", one("Conv", "x w").constant(w=random(16, 16, 3, 3).astype(np.float16)).model(), REFUSED, "of same type"
    ),
    "half LayerNormalization": Case(
        "E6", one("LayerNormalization", "x g").constant(g=np.ones(8, np.float16)).model(), REFUSED, "identical types"
    ),
    "LSTM layout": Case("E7", recurrent("LSTM", 4, layout=1), BUILDS),
    "GRU layout": Case("E7", recurrent("GRU", 3, layout=1), BUILDS),
    "RNN layout": Case("E7", recurrent("RNN", 1, layout=1), BUILDS),
    "LSTM input_forget": Case("E7", recurrent("LSTM", 4, input_forget=1), REFUSED, "Coupled input/forget"),
    "ScatterND add": Case("E8", scatter("ScatterND", "add"), REFUSED, "ScatterND with reduction is not supported"),
    "Resize antialias": Case("E8", resize(antialias=1), REFUSED, "Antialiasing is not supported"),
    "Resize crop": Case(
        "E8", resize(coordinate_transformation_mode="tf_crop_and_resize"), REFUSED, "transformation modes"
    ),
    "pool dilation": Case(
        "E8", one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]).model(), REFUSED, "dilations other than 1"
    ),
    "Reduce axes fed": Case("E8", reduce_mean(True), REFUSED, "must resolve to a build-time constant"),
    "Unsqueeze axes fed": Case(
        "E8", one("Unsqueeze", "x axes").feed([1], T.INT64, "axes").model(), REFUSED, "axis is not a constant"
    ),
    "Attention softcap": Case("E8", attention(T.FLOAT16, softcap=2.0), REFUSED, "softcap is not supported"),
    "Unique": Case("E9", one("Unique").model(), REFUSED, "false"),
    "sequence": Case("E9", sequence(), REFUSED, "false"),
    "MaxPool indices": Case("E9", one("MaxPool", "x", "y i", kernel_shape=[2, 2]).model(), REFUSED, "MaxPool nodes"),
    "LayerNormalization mean": Case(
        "E9", one("LayerNormalization", "x g", "y mean").constant(g=np.ones(8, np.float32)).model(), REFUSED, "outputs"
    ),
    "custom operator": Case(
        "E9", one("MyOp", domain="my.domain").model(domain="my.domain"), REFUSED, "Plugin not found"
    ),
    "custom Add": Case("E9", one("Add", "x x", domain="my.domain").model(domain="my.domain"), BUILDS),
    "int16 input": Case(
        "E10", Graph().feed([4], T.INT16).add("Cast", "x", "y", to=T.FLOAT).model(), REFUSED, "Failed to convert ONNX"
    ),
    "uint8 transposed": Case(
        "E10",
        Graph().feed([1, 8, 8, 3], T.UINT8).add("Transpose", "x", "t").add("Cast", "t", "y", to=T.FLOAT).model(),
        REFUSED,
        "type UInt8 but must have",
    ),
    "uint8 between casts": Case(
        "E10", one("Cast", "x", "u", to=T.UINT8).add("Cast", "u", "y", to=T.FLOAT).model(), REFUSED, "intermediate"
    ),
    "HardSwish in bfloat16": Case(
        "E10",
        one("Cast", "x", "b", to=T.BFLOAT16).add("HardSwish", "b", "h").add("Cast", "h", "y", to=T.FLOAT).model(),
        REFUSED,
        "Only FLOAT, HALF or INT8",
    ),
    "axes on 8.6": Case("P1", reduce_mean(False), BUILDS, tensorrt="8.6.2", also=("W3",)),
    "LayerNormalization on 8.5": Case(
        "P2",
        one("LayerNormalization", "x g").constant(g=np.ones(8, np.float32)).model(opset=17),
        BUILDS,
        tensorrt="8.5.2",
    ),
    "Attention on 10.13": Case("P3", attention(T.FLOAT16), BUILDS, tensorrt="10.13.3"),
    "FP8 on 8.6": Case("P4", low_precision(T.FLOAT8E4M3FN), NO_ENGINE, "HW-specific datatypes: fp8", capability="8.6"),
    "FP4 on 8.6": Case(
        "P4", low_precision(T.FLOAT4E2M1, 23), NO_ENGINE, "HW-specific datatypes: fp4", capability="8.6"
    ),
    "BF16 on 7.2": Case("P4", bfloat16(), BUILDS, capability="7.2"),
    "half scale on Orin": Case("P5", half_scale(), BUILDS, tensorrt="10.16.2", capability="8.7"),
    "activation per channel": Case("W1", convolution(scales(16), int8(16)).model(), FLOAT),
    "activation scale of shape 1": Case("W1", convolution(scales(1), int8(1)).model(), FLOAT),
    "weight axis": Case("W1", convolution(axis=1).model(), FLOAT),
    "Gemm axis": Case("W1", product("Gemm", (32, 64), 0).model(), FLOAT),
    "Gemm transB axis": Case("W1", product("Gemm", (64, 32), 1, transB=1).model(), FLOAT),
    "MatMul axis": Case("W1", product("MatMul", (32, 64), 0).model(), FLOAT),
    "ConvTranspose axis": Case("W1", convolution(op="ConvTranspose").model(), FLOAT),
    "quantized before Relu": Case("W2", quantized_before_relu(), BUILDS),
    "opset 26": Case("W3", one("Relu").model(opset=26), BUILDS),
    "Attention in float32": Case("W4", attention(T.FLOAT), NO_ENGINE, "not supported by a dedicated kernel"),
    "unequal concat": Case("W5", concat(0.2), BUILDS),
    "NonZero": Case("W6", one("NonZero").model(dtype=T.INT64), REFUSED, "plugin"),
    "ScatterElements add": Case("W6", scatter("ScatterElements", "add"), REFUSED, "Unsupported reduction type"),
    "activation only": Case("W7", one_sided("Conv", "x"), FLOAT),
    "weight only": Case("W7", one_sided("Conv", "weight"), FLOAT),
    "activation only product": Case("W7", one_sided("MatMul", "x"), FLOAT),
}
CLEAN = {
    "as our quantizer writes it": clean(),
    "Gemm": product("Gemm", (32, 64), 1).model(),
    "Gemm transB": product("Gemm", (64, 32), 0, transB=1).model(),
    "MatMul": product("MatMul", (32, 64), 1).model(),
    "equal concat": concat(0.1),
    "weight-only product": one_sided("MatMul", "weight"),
    "LSTM": recurrent("LSTM", 4),
    "half": two(T.FLOAT16, T.FLOAT16),
    "double and float": two(T.FLOAT, T.DOUBLE),
    "Attention in float16": attention(T.FLOAT16),
    "Reduce": reduce_mean(False),
    "Resize": resize(),
    "uint8 cast": Graph().feed([4], T.UINT8).add("Cast", "x", "y", to=T.FLOAT).model(),
}
"""No finding, and TensorRT-RTX builds them."""


def rules(model: onnx.ModelProto, *arguments: str | None) -> list[str]:
    return [finding.rule for finding in lint_model(model, *arguments)]
