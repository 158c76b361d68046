"""A robot whose parts hand on int8 tensors: three sensors, carried state, an output of the camera's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from edgefuse.compile import Request, compile_model
from edgefuse.device import load_device
from edgefuse.progress import Steps
from edgefuse.recipe import read_recipe
from edgefuse.spec import DimRange, ModelSpec, TensorSpec
from tests.partition.graphs import build, node, weights

SAMPLES = 64
BRANCHES = ("camera", "lidar", "imu")


def graph(batch=1):
    """camera: a convolution, and its own output ``seen``. lidar: a product. imu: a window and the state ``h``. trunk: a
    product for each, so that each branch ends in the QuantizeLinear of its features."""
    inputs = {
        "image": TensorSpec("image", (batch, 2, 8, 8), modality="image", stream="camera", rate_hz=30.0),
        "points": TensorSpec("points", (batch, 24), modality="points", stream="lidar", rate_hz=10.0),
        "gyro": TensorSpec("gyro", (batch, 32), modality="imu", stream="imu", rate_hz=100.0),
        "h": TensorSpec("h", (batch, 6), stream="imu"),
    }
    nodes = [
        node("Conv", "image conv_w", "c0", pads=[1, 1, 1, 1]),
        node("Relu", "c0", "c1"),
        node("Flatten", "c1", "c2"),
        node("MatMul", "c2 c_w", "c3"),
        node("Relu", "c3", "c4"),
        node("MatMul", "c4 s_w", "seen"),
        node("MatMul", "points l_w", "l0"),
        node("Relu", "l0", "l1"),
        node("MatMul", "gyro g_w", "g0"),
        node("MatMul", "h h_w", "g1"),
        node("Add", "g0 g1", "g2"),
        node("Tanh", "g2", "h_out"),
        node("MatMul", "c4 tc_w", "t0"),
        node("MatMul", "l1 tl_w", "t1"),
        node("MatMul", "h_out tg_w", "t2"),
        node("Add", "t0 t1", "t3"),
        node("Add", "t3 t2", "t4"),
        node("Relu", "t4", "t5"),
        node("MatMul", "t5 o_w", "velocity"),
    ]
    sizes = {
        "conv_w": (4, 2, 3, 3), "c_w": (256, 16), "s_w": (16, 3), "l_w": (24, 16), "g_w": (32, 6), "h_w": (6, 6),
        "tc_w": (16, 12), "tl_w": (16, 12), "tg_w": (6, 12), "o_w": (12, 2),
    }  # fmt: skip
    constants = {
        name: weights(*size) / np.sqrt(np.prod(size[1:] if name == "conv_w" else size[:1]))
        for name, size in sizes.items()
    }
    return build(
        nodes, inputs, ["velocity", "seen", "h_out"], **{n: w.astype(np.float32) for n, w in constants.items()}
    )


RECIPE = """name = "robot"
[model]
path = "model.onnx"
{inputs}
{rest}
[calibration]
path = "samples.npz"
samples = 32
[accuracy]
metric = "sqnr"
min_sqnr_db = 15.0
"""


def make_robot(folder: Path, batch=1) -> Path:
    """Its INT8 bundle, compiled for this machine; *batch* None: 1 to 4."""
    model, spec = graph(DimRange(1, 4) if batch is None else batch)
    return _compile(folder, model, spec, '[state]\nh = "h_out"\n[outputs.velocity]\n[outputs.seen]\n[outputs.h_out]')


def _compile(folder: Path, model: onnx.ModelProto, spec: ModelSpec, rest: str) -> Path:
    onnx.save(model, folder / "model.onnx")
    rng = np.random.default_rng(5)
    rows = {item.name: rng.uniform(-1, 1, (SAMPLES, *item.smallest())).astype(np.float32) for item in spec.inputs}
    np.savez(folder / "samples.npz", **rows)
    recipe = RECIPE.format(inputs="\n".join(_table(item) for item in spec.inputs), rest=rest)
    (folder / "recipe.toml").write_text(recipe)
    out = folder / "robot.edgefuse"
    read = read_recipe(folder / "recipe.toml")
    compile_model(Request(folder / "model.onnx", read, load_device("host"), out, precision="int8"), Steps(quiet=True))
    return out


def _table(item) -> str:
    shape = [f'"{dim}"' if isinstance(dim, DimRange) else str(dim) for dim in item.shape]
    lines = [f"[inputs.{item.name}]", f"shape = [{', '.join(shape)}]", f'stream = "{item.stream}"']
    lines += [f'modality = "{item.modality}"'] if item.modality else []
    lines += [f"rate_hz = {item.rate_hz}"] if item.rate_hz else []
    return "\n".join(lines)


def make_joined(folder: Path) -> Path:
    """Two sensors whose raw data are joined first: one part, the trunk."""
    inputs = {
        "a": TensorSpec("a", (1, 8), stream="a", rate_hz=10.0),
        "b": TensorSpec("b", (1, 8), stream="b", rate_hz=10.0),
    }
    nodes = [
        node("Concat", "a b", "ab", axis=1),
        node("MatMul", "ab w", "x"),
        node("Relu", "x", "y"),
        node("MatMul", "y v", "velocity"),
    ]
    model, spec = build(nodes, inputs, ["velocity"], w=weights(16, 16) * 0.3, v=weights(16, 2) * 0.3)
    return _compile(folder, model, spec, "[outputs.velocity]")
