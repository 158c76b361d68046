"""The command line for people without Python."""

from __future__ import annotations

import shlex

from edgefuse.spec import DimRange, ModelSpec, TensorSpec
from edgefuse.trtexec import trtexec_command

STATIC = ModelSpec((TensorSpec("image", (1, 3, 8, 8)),), ("y",))


def test_precision_is_in_the_graph_so_the_network_is_strongly_typed():
    parts = shlex.split(trtexec_command("model.onnx", "int8", STATIC, "10.3.0", 1024))
    assert "--stronglyTyped" in parts and "--int8" not in parts and "--noTF32" in parts
    assert not any(part.startswith("--minShapes") for part in parts)


def test_tensorrt_8_needs_the_precisions_switched_on():
    assert "--int8" in trtexec_command("m.onnx", "int8", STATIC, "8.6.2", 512)
    both = shlex.split(trtexec_command("m.onnx", "int8+fp16", STATIC, "8.5.2", 512))
    assert {"--int8", "--fp16"} <= set(both) and "--stronglyTyped" not in both
    assert "--int8" not in trtexec_command("m.onnx", "float", STATIC, "8.6.2", 512)


def test_dynamic_inputs_get_one_profile():
    spec = ModelSpec((TensorSpec("a:0", (DimRange(1, 8), 4)), TensorSpec("b", (1, 2))), ("y",))
    parts = shlex.split(trtexec_command("m.onnx", "float", spec, None, 512))
    assert "--minShapes='a:0':1x4" in parts and "--maxShapes='a:0':8x4" in parts and "--optShapes='a:0':8x4" in parts
