"""One tiny fusion model, its samples, its recipe and its bundle, made once per session; and the CLI in-process."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgefuse import cli as command_line

pytest_plugins = ["pytester"]

CLASSES, SAMPLES = 4, 120

TINY_RECIPE = """name = "tiny"

[model]
path = "model.onnx"

[inputs.image]
shape = [1, 1, 8, 8]
modality = "image"
stream = "camera"
rate_hz = 30

[inputs.state]
shape = [1, 6]
modality = "state"
rate_hz = 100

[outputs.logits]

[calibration]
path = "samples.npz"
samples = 60

[accuracy]
metric = "top1"
label = "label"
max_drop = "20%"
"""
"""The limit is wide because 60 held-out samples cannot prove a narrow one."""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Searches, compiled blobs and sent files that the tests make are not the user's, nor is the device's lock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGEFUSE_LOCK", str(tmp_path_factory.mktemp("lock") / "edgefuse.lock"))
        yield


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recipe.toml``, ``model.onnx`` and ``samples.npz``; read only, copy it to change it."""
    folder = tmp_path_factory.mktemp("tiny")
    onnx.save(tiny_model(), folder / "model.onnx")
    np.savez_compressed(folder / "samples.npz", **tiny_samples(folder / "model.onnx"))
    (folder / "recipe.toml").write_text(TINY_RECIPE)
    return folder


@pytest.fixture(scope="session")
def tiny_onnx(tiny_recipe: Path) -> Path:
    """``image`` (1, 1, 8, 8) and ``state`` (1, 6), float32, to ``logits`` (1, 4)."""
    return tiny_recipe / "model.onnx"


@pytest.fixture(scope="session")
def tiny_calibration(tiny_recipe: Path) -> Path:
    """120 samples as an .npz file: ``image`` (120, 1, 8, 8), ``state`` (120, 6), ``label`` (120,) int64."""
    return tiny_recipe / "samples.npz"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, really compiled to INT8 for this machine, verdict pass. Read only: see ``copy_of_bundle``."""
    from edgefuse.compile import Request, compile_model
    from edgefuse.device import load_device
    from edgefuse.progress import Steps
    from edgefuse.recipe import read_recipe

    out = tmp_path_factory.mktemp("bundle") / "tiny.edgefuse"
    request = Request(
        tiny_recipe / "model.onnx", read_recipe(tiny_recipe / "recipe.toml"), load_device("host"), out, precision="int8"
    )
    assert compile_model(request, Steps(quiet=True))["verdict"] == "pass"
    return out


@pytest.fixture
def copy_of_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of :func:`tiny_bundle` to damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy" / tiny_bundle.name))


@pytest.fixture
def copy_of_recipe(tiny_recipe: Path, tmp_path: Path) -> Path:
    """A copy of :func:`tiny_recipe` to change."""
    return Path(shutil.copytree(tiny_recipe, tmp_path / "tiny"))


def tiny_model() -> onnx.ModelProto:
    """Conv on the image and Gemm on the state, joined by Concat, then Gemm: two branches and a trunk."""
    generator = np.random.default_rng(0)
    weights = {
        "conv_w": (4, 1, 3, 3),
        "conv_b": (4,),
        "image_w": (256, 8),
        "image_b": (8,),
        "state_w": (6, 8),
        "state_b": (8,),
        "trunk_w": (16, CLASSES),
        "trunk_b": (CLASSES,),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv_w", "conv_b"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["conv_relu"]),
        helper.make_node("Flatten", ["conv_relu"], ["flat"]),
        helper.make_node("Gemm", ["flat", "image_w", "image_b"], ["image_features"]),
        helper.make_node("Gemm", ["state", "state_w", "state_b"], ["state_gemm"]),
        helper.make_node("Relu", ["state_gemm"], ["state_features"]),
        helper.make_node("Concat", ["image_features", "state_features"], ["joined"], axis=1),
        helper.make_node("Gemm", ["joined", "trunk_w", "trunk_b"], ["logits"]),
    ]
    initializers = [
        numpy_helper.from_array(generator.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 6]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def tiny_samples(model: Path) -> dict[str, NDArray[Any]]:
    """Samples of which the model is sure (of many, those with the widest margin), labelled with its own answer."""
    generator, session = np.random.default_rng(1), ort.InferenceSession(str(model))
    image = generator.normal(0, 1, (SAMPLES * 4, 1, 8, 8)).astype(np.float32)
    state = generator.normal(0, 1, (SAMPLES * 4, 6)).astype(np.float32)
    logits = np.concatenate(
        [session.run(None, {"image": image[i : i + 1], "state": state[i : i + 1]})[0] for i in range(len(image))]
    )
    ordered = np.sort(logits, axis=1)
    sure = np.argsort(ordered[:, -2] - ordered[:, -1])[:SAMPLES]
    return {"image": image[sure], "state": state[sure], "label": logits[sure].argmax(axis=1).astype(np.int64)}


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs ``edgefuse ARGUMENTS…`` in this process: ``cli("run", bundle, "--input", path).code``."""

    def run(*arguments: str | Path) -> Finished:
        monkeypatch.setattr(sys, "argv", ["edgefuse", *map(str, arguments)])
        capfd.readouterr()
        with _signals_restored(), pytest.raises(SystemExit) as exit_:
            command_line.main()
        out, err = capfd.readouterr()
        return Finished(int(exit_.value.code or 0), out, err)

    return run


@contextlib.contextmanager
def _signals_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
