"""What the manifest says of parts: read back as written, refused where it does not fit, and which parts run when."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest

from edgefuse.parts import Part, Partition, check_partition, tensor_bytes
from edgefuse.spec import DimRange, ModelSpec, TensorSpec

CAMERA = Part("camera", ("camera",), ("image",), ("features", "image_rows"), (), 4, 800, 1000)
IMU = Part("imu", ("imu",), ("imu", "h", "image_rows"), ("motion", "h_out"), ("image_rows",), 3, 90, None)
TEXT = Part("text", ("text",), ("tokens",), ("words",), (), 2, 10, 0)
TRUNK = Part("trunk", ("camera", "imu"), ("features", "motion"), ("velocity",), (), 1, 12, 7)
TENSORS = (
    TensorSpec("features", (1, 8), "uint8", stream="camera"),
    TensorSpec("image_rows", (1,), "int64", stream="camera"),
    TensorSpec("motion", (1, 4), stream="imu"),
)
PARTITION = Partition((CAMERA, IMU, TEXT, TRUNK), TENSORS, (("h", "h_out"),))
SPEC = ModelSpec(
    (
        TensorSpec("image", (1, 3), stream="camera"),
        TensorSpec("imu", (1, 6)),
        TensorSpec("h", (1, 4)),
        TensorSpec("tokens", (1, 4), "int64", stream="text"),
    ),
    ("velocity", "words", "h_out"),
)


def affected(*streams, partition=PARTITION):
    return [part.name for part in partition.affected(streams)]


def test_it_reads_back_what_it_wrote():
    assert Partition.from_json(json.loads(json.dumps(PARTITION.to_json()))) == PARTITION
    check_partition(PARTITION, SPEC)


def test_branches_and_trunk():
    assert PARTITION.trunk is TRUNK and PARTITION.branches == (CAMERA, IMU, TEXT) and PARTITION["imu"] is IMU
    assert Partition((CAMERA, TEXT)).trunk is None and Partition((TRUNK,)).branches == ()
    with pytest.raises(KeyError):
        PARTITION["lidar"]


def test_a_part_with_state_and_whoever_reads_what_it_makes_run_always():
    assert affected() == ["imu", "trunk"] and affected("text") == ["imu", "text", "trunk"]
    assert PARTITION.runs_always(IMU) and not PARTITION.runs_always(TRUNK)


def test_only_what_depends_on_a_stream_runs_when_it_delivers():
    stateless = Partition(PARTITION.parts, TENSORS)
    assert affected("camera", partition=stateless) == ["camera", "trunk"], (
        "a shape alone does not wake the imu's branch"
    )
    assert affected("imu", "nobody", partition=stateless) == ["imu", "trunk"]
    assert affected("text", partition=stateless) == ["text"] and affected(partition=stateless) == []


def test_boundary_bytes_follow_the_types_and_are_unknown_for_open_shapes():
    assert PARTITION.boundary_bytes == 8 + 8 + 16
    assert tensor_bytes(TensorSpec("m", (3,), "bool")) == 3 and tensor_bytes(TensorSpec("s", (), "float16")) == 2
    assert Partition((CAMERA,), (TensorSpec("f", (DimRange(1, 2),)),)).boundary_bytes is None


DAMAGE = {
    "parts is": lambda d: d.update(parts={}),
    "parts is empty": lambda d: d.update(parts=[], tensors=[], state=[]),
    r"parts\[0\].macs is": lambda d: d["parts"][0].update(macs="many"),
    "negative": lambda d: d["parts"][0].update(weight_bytes=-1),
    "unknown key 'colour'": lambda d: d["parts"][0].update(colour="red"),
    "unknown key 'extra'": lambda d: d.update(extra=1),
    "unknown key 'scale'": lambda d: d["tensors"][0].update(scale=1),
    "unknown dtype": lambda d: d["tensors"][0].update(dtype="float8"),
    "not a dimension": lambda d: d["tensors"][0].update(shape=[0]),
    "part 'camera' is there twice": lambda d: d["parts"][1].update(name="camera"),
    "output 'words' is there twice": lambda d: d["parts"][1]["outputs"].append("words"),
    "tensor 'motion' is there twice": lambda d: d["tensors"].append(d["tensors"][2]),
    "not made by 'imu'": lambda d: d["tensors"][0].update(stream="imu"),
    "runs before": lambda d: d["parts"].reverse(),
    "shape_inputs that": lambda d: d["parts"][1].update(shape_inputs=["imu"]),
    "list of pairs": lambda d: d["state"].append(["h"]),
    "state input 'h' is there twice": lambda d: d["state"].append(["h", "motion"]),
    "no part makes 'z'": lambda d: d.update(state=[["h", "z"]]),
    "tensors is": lambda d: d.pop("tensors"),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_what_is_wrong_is_named(message):
    data = copy.deepcopy(PARTITION.to_json())
    DAMAGE[message](data)
    with pytest.raises(ValueError, match=message):
        Partition.from_json(data)


def test_it_has_to_be_a_partition_of_the_model():
    with pytest.raises(ValueError, match="part 'imu' reads 'imu'"):
        check_partition(PARTITION, ModelSpec((SPEC.inputs[0],), SPEC.outputs))
    with pytest.raises(ValueError, match="the model has 'other'"):
        check_partition(PARTITION, ModelSpec(SPEC.inputs, (*SPEC.outputs, "other")))
    with pytest.raises(ValueError, match="makes 'words'"):
        check_partition(PARTITION, ModelSpec(SPEC.inputs, ("velocity", "h_out")))


def test_the_robot_reads_it_without_onnx():
    code = "import sys, edgefuse.parts; print({'onnx', 'torch', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
