"""Real model files of every kind, made once per session, and the parity check that they all go through."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for export_models, in whatever import mode pytest runs

from export_models import Fusion

from edgefuse.export import Source
from edgefuse.recipe import ModelSource, Recipe
from edgefuse.spec import TensorSpec

TOLERANCE = 1e-4  # float32 on one CPU: torch and onnxruntime add up in different orders, and no more than that

FACTORY = """
from export_models import Fusion

def build():
    return Fusion()

def fail():
    raise RuntimeError("no such dataset")

def number():
    return 42
"""


@pytest.fixture(scope="session", autouse=True)
def quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """And no log files left in the system's temporary folder."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("logs")))
        yield


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each kind, all of the same :class:`Fusion` model (the ONNX file has another)."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model, example = Fusion().eval(), (torch.randn(1, 3, 8, 8), torch.randn(1, 5, 6))
    paths = {kind: folder / f"{kind}.pt" for kind in ("state-dict", "module", "torchscript", "exported-program")}
    torch.save(model.state_dict(), paths["state-dict"])
    torch.save(model, paths["module"])
    torch.jit.script(model).save(str(paths["torchscript"]))
    torch.export.save(torch.export.export(model, example), paths["exported-program"])
    (folder / "factory.py").write_text(FACTORY)
    paths["onnx"] = folder / "model.bin"
    onnx.save(onnx.parser.parse_model(ADD_MODEL), paths["onnx"])
    return paths


ADD_MODEL = """<ir_version: 8, opset_import: ["": 17]>
add (float[N,4] image, float[N,4] imu) => (float[N,4] sum) { sum = Add(image, imu) }"""


@pytest.fixture
def recipe(files: dict[str, Path]) -> Callable[..., Recipe]:
    """A recipe in the models' folder: ``recipe(*inputs, factory=…)``."""

    def make(*inputs: TensorSpec, factory: str | None = None, **keys: Any) -> Recipe:
        folder = keys.pop("folder", files["onnx"].parent)
        return Recipe("test", folder, ModelSource(factory=factory), inputs=inputs, **keys)

    return make


def random_feed(source: Source, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(seed)
    feed = {}
    for spec in source.spec.inputs:
        shape = spec.smallest()
        if spec.dtype.startswith("float"):
            feed[spec.name] = generator.standard_normal(shape).astype(spec.dtype)
        else:
            feed[spec.name] = generator.integers(0, 2, shape).astype(spec.dtype)
    return feed


@pytest.fixture
def parity(tmp_path: Path) -> Callable[..., onnx.ModelProto]:
    """Export *source*, compare onnxruntime with its reference runner, return the graph."""

    def check(source: Source, exporter: str = "torch-dynamo", feeds: Any = None) -> onnx.ModelProto:
        path = tmp_path / "out.onnx"
        assert source.export(path) == exporter
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert tuple(value.name for value in session.get_inputs()) == source.spec.names
        assert tuple(value.name for value in session.get_outputs()) == source.spec.outputs
        for feed in feeds or [random_feed(source, seed) for seed in range(2)]:
            _compare(source.runner(feed), session.run(None, feed))
        assert [file.name for file in tmp_path.glob("out*")] == ["out.onnx"], "no external data"
        model = onnx.load(path)
        assert not model.functions
        return model

    return check


def _compare(expected: dict[str, Any], actual: list[Any]) -> None:
    for (name, wanted), got in zip(expected.items(), actual, strict=True):
        assert (wanted.dtype, wanted.shape) == (got.dtype, got.shape), name
        np.testing.assert_allclose(got, wanted, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
