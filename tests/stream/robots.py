"""A small robot: four sensors, carried state, a branch with an output of its own; its parts, compiled for real."""

from __future__ import annotations

import atexit
import shutil
import threading
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import onnx

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends import Settings, load_backend
from edgefuse.partition import split
from edgefuse.quantize import quantize_int8
from edgefuse.spec import TensorSpec
from edgefuse.stream.features import Engine
from edgefuse.stream.policy import StreamPolicy, override, sensor_inputs
from edgefuse.stream.session import Session
from tests.partition.graphs import build, feed_of, node, weights

STATE = {"h": "h_out"}
WINDOW = 8
P90_MS = {"camera": 3.0, "imu": 0.5, "lidar": 2.0, "goal": 0.1, "trunk": 1.0}


def graph():
    """camera: a convolution, and its own output ``seen``. imu: a window of 8 samples, and the state ``h``. lidar: two
    inputs that are delivered together. goal: token ids. trunk: joins them into ``velocity``."""
    inputs = {
        "image": TensorSpec("image", (1, 2, 8, 8), modality="image", stream="camera", rate_hz=30.0),
        "gyro": TensorSpec("gyro", (1, WINDOW, 4), modality="imu", stream="imu"),
        "h": TensorSpec("h", (1, 6), stream="h"),
        "points": TensorSpec("points", (1, 12), modality="points", stream="lidar", rate_hz=10.0),
        "power": TensorSpec("power", (1, 12), modality="points", stream="lidar", rate_hz=10.0),
        "words": TensorSpec("words", (1, 3), "int64", "text", "goal"),
    }
    nodes = [
        node("Conv", "image conv_w", "c0", pads=[1, 1, 1, 1]),
        node("Relu", "c0", "c1"),
        node("Flatten", "c1", "c2"),
        node("MatMul", "c2 c_w", "c3"),
        node("Relu", "c3", "seen"),
        node("Reshape", "gyro flat", "g0"),
        node("MatMul", "g0 g_w", "g1"),
        node("MatMul", "h h_w", "g2"),
        node("Add", "g1 g2", "g3"),
        node("Tanh", "g3", "h_out"),
        node("MatMul", "h_out m_w", "g4"),
        node("Relu", "g4", "g5"),
        node("MatMul", "g5 n_w", "g6"),
        node("Concat", "points power", "l0", axis=1),
        node("MatMul", "l0 l_w", "l1"),
        node("Relu", "l1", "l2"),
        node("Gather", "table words", "w0"),
        node("ReduceMean", "w0 axes", "w1", keepdims=0),
        node("MatMul", "w1 w_w", "w2"),
        node("Concat", "seen g6 l2 w2", "t0", axis=1),
        node("MatMul", "t0 t_w", "t1"),
        node("Relu", "t1", "t2"),
        node("MatMul", "t2 o_w", "velocity"),
    ]
    small = {
        "c_w": (256, 5),
        "g_w": (32, 6),
        "h_w": (6, 6),
        "m_w": (6, 40),
        "n_w": (40, 6),
        "l_w": (24, 7),
        "w_w": (4, 4),
        "t_w": (22, 16),
    }
    constants = {name: weights(*shape) * 0.2 for name, shape in small.items()}
    constants |= {"conv_w": weights(4, 2, 3, 3) * 0.3, "table": weights(10, 4), "o_w": weights(16, 2)}
    constants |= {"flat": np.array([1, 32]), "axes": np.array([1])}
    return build(nodes, inputs, ["velocity", "seen", "h_out"], **constants)


@cache
def folder(backend: str, precision: str) -> tuple[Path, object, object]:
    """The compiled parts, their partition and the model's spec; made once a session."""
    model, spec = graph()
    where = Path(mkdtemp(prefix="edgefuse-test-robot-"))
    atexit.register(shutil.rmtree, where, ignore_errors=True)
    path = where / "float.onnx"
    onnx.save(model, path)
    if precision == "int8":
        quantize_int8(path, where / "int8.onnx", [feed_of(spec, seed) for seed in range(8)])
        path = where / "int8.onnx"
    found = split(onnx.load(path), spec, STATE)
    vendor = load_backend(backend)
    for name, part in found.models().items():
        onnx.save(part, where / f"{name}.onnx")
        (where / name).mkdir()
        vendor.compile(
            where / f"{name}.onnx", where / name, part_spec(found.partition[name], found.partition, spec), Settings()
        )
    return where, found.partition, spec


def assembled(backend="onnxruntime", precision="float", lanes=()):
    where, partition, spec = folder(backend, precision)
    vendor = load_backend(backend)
    how = Settings(pinned=not lanes)
    runners = {p.name: vendor.open(where / p.name, part_spec(p, partition, spec), how) for p in partition.parts}
    return Assembled(partition, runners, spec, lanes), spec


def session(
    policy=None, parts=None, timing="estimated", backend="onnxruntime", precision="float", notes=None, absences=None
):
    """A session without a bundle, on parts of its own."""
    parts, spec = (parts, graph()[1]) if parts is not None else assembled(backend, precision)
    streams = sensor_inputs(spec, STATE)
    engine = Engine(
        spec,
        parts,
        threading.RLock(),
        P90_MS,
        lambda: None,
        lambda error: error and notes is not None and notes.append(error),
    )
    policies = override({"imu": StreamPolicy(kind="window")}, policy, streams)
    return Session(engine, policies, timing, absences)


def delivery(name, rng):
    """What the driver of sensor *name* would hand over."""
    if name == "camera":
        return rng.normal(size=(1, 2, 8, 8)).astype(np.float32)
    if name == "imu":
        return rng.normal(size=(1, 1, 4)).astype(np.float32)
    if name == "lidar":
        return {key: rng.normal(size=(1, 12)).astype(np.float32) for key in ("points", "power")}
    return rng.integers(0, 10, (1, 3))


def push_all(stream, rng, stamp_ns, names=("camera", "imu", "lidar", "goal")):
    """Every sensor delivers at *stamp_ns* (the IMU a whole window, which ends then); returns what they delivered."""
    given = {name: delivery(name, rng) for name in names}
    if "imu" in given:
        given["imu"] = rng.normal(size=(1, WINDOW, 4)).astype(np.float32)
    for name, value in given.items():
        assert stream.push(name, value, stamp_ns)
    return given
