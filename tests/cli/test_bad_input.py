"""Whatever a user gives by mistake: the exit code of DESIGN §5, what is wrong, where and what to do; never a traceback,
never a half-written bundle."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgefuse import candidates
from edgefuse import compile as compiler
from edgefuse.bundle_writer import pack, write_manifest
from edgefuse.device import load_device
from edgefuse.doctor import Finding
from edgefuse.errors import CalibrationError
from edgefuse.manifest import MANIFEST
from edgefuse.places.here import Here
from edgefuse.samples import iterate_rows, read_headers

USAGE, INPUT, TOOLCHAIN = 2, 4, 5
Arrays = dict[str, NDArray[Any]]


@functools.cache
def asked_once(device: Any) -> candidates.Reach:
    """What this machine can do, asked once: a child process each time would take half of these tests' time."""
    return candidates.reach(device, Here())


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working folder; temporary files of the code under test go to a place that is looked at afterwards."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setattr(compiler, "reach", lambda device, place: asked_once(device))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refuses(cli: Callable[..., Any], place: Path) -> Callable[..., str]:
    """``refuses(code, said, *arguments)``: every text in *said* must be in the message; returns the message."""

    def run(code: int, said: tuple[str, ...], *arguments: str | Path) -> str:
        before = sorted(place.joinpath("out").rglob("*"))
        done = cli(*arguments)
        assert "Traceback" not in done.err and "defect" not in done.err, done.err
        assert done.code == code, done.err
        assert done.out == "", "talk belongs on stderr"
        for text in said:
            assert text in done.err
        assert sorted(place.joinpath("out").rglob("*")) == before, "something was left in the output folder"
        assert list(place.joinpath("scratch").iterdir()) == [], "temporary files were left behind"
        return str(done.err)

    return run


# --- models -----------------------------------------------------------------------------------------------------------


def content(data: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(data)


def onnx_model(**changes: Any) -> onnx.ModelProto:
    """``y = Relu(image)`` with some of its parts replaced."""
    parts: dict[str, Any] = {
        "op": "Relu",
        "domain": "",
        "shape": [1, 4],
        "dtype": TensorProto.FLOAT,
        "opset": 18,
        "attributes": {},
        "inputs": ["image"],
        **changes,
    }
    node = helper.make_node(
        parts["op"], parts["inputs"], ["y"], name="first", domain=parts["domain"], **parts["attributes"]
    )
    image = helper.make_tensor_value_info("image", parts["dtype"], parts["shape"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])
    graph = helper.make_graph([node], "g", [image] if parts["inputs"] else [], [result])
    opsets = [helper.make_opsetid("", parts["opset"])]
    if parts["domain"]:
        opsets.append(helper.make_opsetid(parts["domain"], 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def onnx_file(**changes: Any) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(onnx_model(**changes).SerializeToString())


def write_external_onnx(path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4096], np.zeros(4096, np.float32).tobytes(), raw=True)
    model = onnx_model(op="Add", inputs=["image", "w"], shape=[1, 4096])
    model.graph.initializer.append(weight)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()


def write_npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, image=np.zeros(3))


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def write_truncated_torch(path: Path) -> None:
    torch.save({"w": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-200])


def write_damaged_torch(path: Path) -> None:
    """Whole as a zip, but the pickle in it is cut."""
    torch.save({"w": torch.zeros(3)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:20] if name.endswith("data.pkl") else data)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


MODELS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "missing": (lambda path: None, ("there is no such model file or recipe", "edgefuse recipes")),
    "loop-of-links": (link_to_itself, ("there is no such model file or recipe",)),
    "empty": (content(b""), ("the file is empty", "cut short")),
    "folder": (Path.mkdir, ("is a folder; expected a model file",)),
    "text": (content(b"hello\n"), ("is a text file, not a model", "EdgeFuse reads:")),
    "html": (content(b"<!DOCTYPE html><html>404</html>"), ("is an HTML page", "fetch the raw file")),
    "python": (content(b"import torch\n"), ("is Python source", "factory")),
    "git-lfs-pointer": (content(b"version https://git-lfs.github.com/spec/v1\n"), ("Git LFS pointer", "git lfs pull")),
    "noise": (content(bytes(range(128, 256)) * 8), ("is not a model file that EdgeFuse knows", "EdgeFuse reads:")),
    "zeros": (content(bytes(5000)), ("is not a model file that EdgeFuse knows",)),
    "npz": (write_npz, ("looks like calibration data", "--calibration")),
    "npy": (content(b"\x93NUMPY\x01\x00"), ("is a NumPy array", "--calibration")),
    "other-zip": (write_zip, ("holds no model", "EdgeFuse reads:")),
    "truncated-zip": (write_truncated_torch, ("truncated or damaged", "cut short")),
    "damaged-pickle-in-zip": (write_damaged_torch, ("damaged", "cut short")),
    "plain-pickle": (lambda path: path.write_bytes(pickle.dumps([1])), ("torch.save did not write", "torch.export")),
    "pickled-module": (lambda path: torch.save(torch.nn.Linear(2, 2), path), ("runs its author's code", "--trust")),
    "state-dict-without-factory": (
        lambda path: torch.save({"w": torch.zeros(2)}, path),
        ("weights without the model's code", "factory ="),
    ),
    "tensorrt-engine": (content(b"ftrt" + bytes(64)), ("TensorRT engine", "built from")),
    "onnx-truncated": (
        lambda path: path.write_bytes(onnx_model().SerializeToString()[:-9]),
        ("truncated ONNX", "cut short"),
    ),
    "onnx-unknown-operator": (onnx_file(op="Relux"), ("Relux", "Export it again")),
    "onnx-foreign-domain": (onnx_file(domain="com.acme"), ("com.acme", "Export the model again")),
    "onnx-random": (onnx_file(op="RandomNormalLike"), ("different answers", "dropout")),
    "onnx-without-inputs": (
        onnx_file(op="Constant", inputs=[], attributes={"value_float": 1.0}),
        ("the model has no inputs",),
    ),
    "onnx-old-opset": (onnx_file(opset=7), ("opset 7", "Export it again")),
    "onnx-dynamic-without-shape": (
        onnx_file(shape=["n", "length"]),
        ("not all of its sizes are known", "[inputs.image]"),
    ),
    "onnx-without-rank": (onnx_file(shape=None), ("shape", "Export it again")),
    "onnx-strings": (onnx_file(op="Identity", dtype=TensorProto.STRING), ("dtype",)),
    "onnx-bfloat16-input": (onnx_file(dtype=TensorProto.BFLOAT16), ("bfloat16", "EdgeFuse handles")),
    "onnx-weights-elsewhere": (write_external_onnx, ("weights.bin", "Put it beside")),
}


@pytest.mark.parametrize("name", MODELS)
def test_bad_model(refuses: Callable[..., str], place: Path, tiny_calibration: Path, name: str) -> None:
    write, said = MODELS[name]
    write(place / "model.bin")
    refuses(
        INPUT,
        ("model.bin", *said),
        "compile",
        "model.bin",
        "--calibration",
        tiny_calibration,
        "-o",
        "out/x.edgefuse",
        "-q",
    )


def test_onnx_of_a_future_opset(refuses: Callable[..., str], tiny_calibration: Path) -> None:
    onnx_file(opset=99)(Path("new.onnx"))
    refuses(
        INPUT,
        ("opset 99", "Export it again"),
        "compile",
        "new.onnx",
        "--calibration",
        tiny_calibration,
        "-o",
        "out/x.edgefuse",
        "-q",
    )


def test_a_size_beyond_all_memory(refuses: Callable[..., str], tiny_calibration: Path) -> None:
    onnx_file(shape=["n", "m"])(Path("open.onnx"))
    refuses(
        TOOLCHAIN,
        ("out of memory", "Are the shapes right?"),
        "compile",
        "open.onnx",
        "--input",
        "image:1x99999999999999",
        "--calibration",
        tiny_calibration,
        "-o",
        "out/x.edgefuse",
        "-q",
    )


def test_a_pipe_is_no_model(refuses: Callable[..., str], tiny_onnx: Path) -> None:
    """``edgefuse compile <(curl …)``"""
    reading, writing = os.pipe()
    try:
        os.write(writing, tiny_onnx.read_bytes()[:4096])
        os.close(writing)
        path = f"/dev/fd/{reading}"
        assert "None" not in refuses(INPUT, (path,), "compile", path, "-o", "out/x.edgefuse", "-q")
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--calibration", "x.npz"), ("--calibration", "no effect on a bundle")),
        (("--trust",), ("--trust", "no effect on a bundle")),
        (("--input", "x:1x4"), ("--input", "no effect on a bundle")),
        (("--target", "jetson"), ("graphs are for openvino", "jetson-orin-nano-8gb uses tensorrt")),
    ],
)
def test_flags_that_do_not_fit_a_bundle(
    refuses: Callable[..., str], tiny_bundle: Path, flags: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refuses(USAGE, said, "compile", tiny_bundle, *flags, "-o", "out/x.edgefuse", "-q")


def test_weights_with_nan(refuses: Callable[..., str], tiny_onnx: Path, tiny_calibration: Path) -> None:
    model = onnx.load(tiny_onnx)
    model.graph.initializer[-1].CopyFrom(
        onnx.numpy_helper.from_array(np.full(4, np.nan, np.float32), model.graph.initializer[-1].name)
    )
    onnx.save(model, "nan.onnx")
    refuses(
        INPUT,
        ("'logits' holds NaN", "Check the weights"),
        "compile",
        "nan.onnx",
        "--calibration",
        tiny_calibration,
        "-o",
        "out/x.edgefuse",
        "-q",
    )


# --- recipes ----------------------------------------------------------------------------------------------------------

LONG = "x" * 300
RECIPES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # id: (line of the tiny recipe, what stands there instead, what the message holds)
    "not-toml": ('name = "tiny"', 'name = "tiny', ("is not valid TOML", "line 1")),
    "key-twice": ('name = "tiny"', 'name = "tiny"\nname = "x"', ("is not valid TOML", "line 2")),
    "unknown-section": ("[model]", "[modell]", ("unknown key 'modell'", "Did you mean 'model'?")),
    "unknown-key-in-model": ('path = "model.onnx"', 'pathh = "model.onnx"', ("'pathh'", "Did you mean 'path'?")),
    "unknown-key-in-input": ('modality = "image"', 'modalty = "image"', ("inputs.image", "Did you mean 'modality'?")),
    "unknown-key-in-output": ("[outputs.logits]", "[outputs.logits]\nshape = [1]", ("outputs.logits", "'shape'")),
    "unknown-key-in-calibration": ("samples = 60", "sample = 60", ("calibration", "Did you mean 'samples'?")),
    "unknown-key-in-accuracy": ('metric = "top1"', 'metrics = "top1"', ("accuracy", "Did you mean 'metric'?")),
    "unknown-key-in-latency": ("[accuracy]", "[latency]\np90 = 5\n[accuracy]", ("latency", "Did you mean 'p90_ms'?")),
    "section-is-a-value": ("[calibration]", "[x]", ("unknown key 'x'", "calibration")),
    "model-is-text": ('[model]\npath = "model.onnx"', 'model = "model.onnx"', ("expected a table", "[model]")),
    "input-is-a-list": ("[outputs.logits]", "[inputs]\naudio = [1, 2]\n[outputs.logits]", ("audio",)),
    "output-is-a-number": ("[outputs.logits]", "[outputs]\nlogits = 5", ("'logits' is 5", "[outputs.logits]")),
    "name-is-a-number": ('name = "tiny"', "name = 5", ("name is 5", "expected a string")),
    "name-with-slash": ('name = "tiny"', 'name = "a/b"', ("'a/b'", "letters, digits")),
    "name-that-climbs": ('name = "tiny"', 'name = ".."', ("'..'", "letters, digits")),
    "name-empty": ('name = "tiny"', 'name = ""', ("name is ''",)),
    "name-too-long": ('name = "tiny"', f'name = "{LONG}"', ("name is", "at most")),
    "shape-missing": ("shape = [1, 6]", "", ("inputs.state", "'shape' is missing", "shape = [")),
    "shape-is-text": ("shape = [1, 6]", 'shape = "1x6"', ("inputs.state", "not a list", "shape = [")),
    "shape-with-zero": ("shape = [1, 6]", "shape = [1, 0]", ("inputs.state.shape", "0 is not a dimension")),
    "shape-negative": ("shape = [1, 6]", "shape = [1, -1]", ("inputs.state.shape", "positive integer")),
    "shape-with-float": ("shape = [1, 6]", "shape = [1, 6.0]", ("6.0 is not a dimension",)),
    "shape-with-bool": ("shape = [1, 6]", "shape = [true, 6]", ("True is not a dimension",)),
    "shape-range-backwards": ("shape = [1, 6]", 'shape = [1, "8..1"]', ("'8..1'", '"1..8"')),
    "shape-that-the-model-lacks": ("shape = [1, 6]", "shape = [1, 7]", ("'state' is 1x6 in the model and 1x7",)),
    "shape-of-another-rank": ("shape = [1, 6]", "shape = [1, 6, 1]", ("'state'", "1x6x1")),
    "dtype-unknown": ("shape = [1, 6]", 'shape = [1, 6]\ndtype = "float33"', ("'float33'", "'float32'?")),
    "dtype-a-list": ("shape = [1, 6]", 'shape = [1, 6]\ndtype = ["int8"]', ("inputs.state", "dtype")),
    "dtype-that-the-model-lacks": ("shape = [1, 6]", 'shape = [1, 6]\ndtype = "float64"', ("'state' is float32",)),
    "modality-unknown": ('modality = "image"', 'modality = "imag"', ("modality 'imag'", "Did you mean 'image'?")),
    "rate-zero": ("rate_hz = 30", "rate_hz = 0", ("rate_hz is 0", "positive")),
    "rate-text": ("rate_hz = 30", 'rate_hz = "30"', ("rate_hz is '30'", "number")),
    "rate-infinite": ("rate_hz = 30", "rate_hz = inf", ("rate_hz is inf",)),
    "rate-nan": ("rate_hz = 30", "rate_hz = nan", ("rate_hz is nan",)),
    "stream-a-number": ('stream = "camera"', "stream = 5", ("stream is 5", "expected a string")),
    "input-unknown": ("[inputs.state]", "[inputs.stat]", ("no input 'stat'", "Did you mean 'state'?")),
    "output-unknown": ("[outputs.logits]", "[outputs.logit]", ("no output 'logit'", "Did you mean 'logits'?")),
    "samples-zero": ("samples = 60", "samples = 0", ("samples is 0", "at least 1")),
    "samples-text": ("samples = 60", 'samples = "many"', ("samples is 'many'", "whole number")),
    "golden-negative": ("samples = 60", "golden = -5", ("golden is -5", "at least 1")),
    "seed-negative": ("samples = 60", "seed = -1", ("seed is -1",)),
    "seed-a-float": ("samples = 60", "seed = 1.5", ("seed is 1.5", "whole number")),
    "calibration-path-a-number": ('path = "samples.npz"', "path = 5", ("calibration", "path is 5")),
    "calibration-missing": ('path = "samples.npz"', 'path = "sample.npz"', ("sample.npz", "no such file")),
    "calibration-not-given": ('path = "samples.npz"', "", ("no calibration set", "--calibration")),
    "metric-unknown": ('metric = "top1"', 'metric = "topp1"', ("'topp1'", "Did you mean 'top1'?")),
    "metric-a-number": ('metric = "top1"', "metric = 1", ("metric is 1", "expected a string")),
    "metric-without-labels": ('metric = "top1"\nlabel = "label"', 'metric = "mae"', ("needs labels", "label =")),
    "metric-file-missing": ('metric = "top1"', 'metric = "score.py:iou"', ("score.py", "no such Python file")),
    "metric-file-of-another-kind": ('metric = "top1"', 'metric = "model.onnx:iou"', ("model.onnx", "no such Python")),
    "metric-of-no-output": ('metric = "top1"', 'metric = "top1"\noutput = "logit"', ("'logit'", "'logits'?")),
    "limit-a-number": ('max_drop = "20%"', "max_drop = 1", ("'1' is not a limit", '"1%"')),
    "limit-without-unit": ('max_drop = "20%"', 'max_drop = "1"', ("'1' is not a limit", '"0.5pt"')),
    "limit-negative": ('max_drop = "20%"', 'max_drop = "-1%"', ("'-1%' is not a limit",)),
    "limit-empty": ('max_drop = "20%"', 'max_drop = ""', ("'' is not a limit", '"1%"')),
    "floor-text": ('max_drop = "20%"', 'min_sqnr_db = "30"', ("min_sqnr_db is '30'", "number")),
    "floor-nan": ('max_drop = "20%"', "min_sqnr_db = nan", ("min_sqnr_db is nan",)),
    "latency-zero": ("[accuracy]", "[latency]\np90_ms = 0\n[accuracy]", ("p90_ms is 0", "positive")),
    "latency-negative": ("[accuracy]", "[latency]\np90_ms = -1.5\n[accuracy]", ("p90_ms is -1.5", "positive")),
    "latency-infinite": ("[accuracy]", "[latency]\np90_ms = inf\n[accuracy]", ("p90_ms is inf",)),
    "latency-text": ("[accuracy]", '[latency]\np90_ms = "5ms"\n[accuracy]', ("p90_ms is '5ms'", "number")),
    "model-missing": ('path = "model.onnx"', 'path = "modle.onnx"', ("modle.onnx", "no such file", "model.onnx")),
    "model-not-named": ('path = "model.onnx"', "", ("names no model", "factory =")),
    "path-with-nul": ('path = "model.onnx"', 'path = "a\\u0000b"', ("path is",)),
    "path-and-factory": ('path = "model.onnx"', 'path = "a"\nfactory = "a.py:b"', ("both", "Keep one")),
    "factory-without-function": ('path = "model.onnx"', 'factory = "model.py"', ("'model.py'", "FILE.py:FUNCTION")),
}


@pytest.mark.parametrize("name", RECIPES)
def test_bad_recipe(refuses: Callable[..., str], copy_of_recipe: Path, name: str) -> None:
    old, new, said = RECIPES[name]
    path = copy_of_recipe / "recipe.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    refuses(INPUT, said, "compile", copy_of_recipe, "-o", "out/x.edgefuse", "-q")


def test_recipe_that_is_not_text(refuses: Callable[..., str], place: Path) -> None:
    (place / "recipe.toml").write_bytes(b'name = "\xff\xfe"')
    refuses(INPUT, ("recipe.toml", "not UTF-8"), "compile", "recipe.toml", "-o", "out/x.edgefuse", "-q")


def test_recipe_that_is_empty(refuses: Callable[..., str], place: Path) -> None:
    (place / "recipe.toml").write_bytes(b"")
    refuses(INPUT, ("names no model", "path ="), "compile", "recipe.toml", "-o", "out/x.edgefuse", "-q")


FACTORIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "file-missing": ("", ("factory.py", "does not exist", "FILE.py:FUNCTION")),
    "function-missing": ("def buld(): pass", ("no function 'build'", "Did you mean 'buld'?")),
    "raises": ("def build():\n    raise KeyError('cuda')", ("the factory failed", "cuda", "factory.py:2")),
    "raises-at-import": ("import no_such_package", ("no_such_package", "Install 'no_such_package'")),
    "not-python": ("def build(:", ("not valid Python", "factory.py:1")),
    "returns-a-number": ("def build(): return 5", ("returned a int", "torch.nn.Module")),
    "exits-at-import": ("import sys\nsys.exit(0)", ("factory.py", "SystemExit")),
    "exits": ("import sys\ndef build(): sys.exit(0)", ("factory.py", "SystemExit")),
    "needs-arguments": ("def build(path): pass", ("without arguments",)),
    "other-weights": (
        "import torch\ndef build(): return torch.nn.Linear(6, 2)",
        ("weights do not fit", "Missing from the file: weight", "In the file, but not in the module: w"),
    ),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_bad_factory(refuses: Callable[..., str], copy_of_recipe: Path, name: str) -> None:
    source, said = FACTORIES[name]
    if source:
        (copy_of_recipe / "factory.py").write_text(source)
    torch.save({"w": torch.zeros(2)}, copy_of_recipe / "weights.pt")
    path = copy_of_recipe / "recipe.toml"
    path.write_text(
        path.read_text().replace('path = "model.onnx"', 'factory = "factory.py:build"\nweights = "weights.pt"')
    )
    refuses(INPUT, said, "compile", copy_of_recipe, "-o", "out/x.edgefuse", "-q")


METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "function-missing": ("def scor(output, label): return 1.0", ("no function 'score'", "Did you mean 'scor'?")),
    "no-direction": ("def score(output, label): return 1.0", ("more is better", "score.higher_is_better = False")),
    "not-python": ("def score(:", ("cannot be imported", "SyntaxError")),
    "exits-at-import": ("import sys\nsys.exit(0)", ("cannot be imported", "SystemExit")),
    "wrong-arguments": ("def score(output): return 1.0", ("shape (1, 4)", "score.py:score", "function(output, label)")),
    "raises": ("def score(output, label): return {}['iou']", ("score.py:score", "KeyError: 'iou'")),
    "divides-by-zero": ("def score(output, label): return 1 / 0", ("score.py:score", "zero")),
    "returns-text": ("def score(output, label): return 'good'", ("score.py:score", "good")),
    "returns-nan": ("def score(output, label): return float('nan')", ("score.py:score", "nan")),
}


@pytest.mark.parametrize("name", METRICS)
def test_bad_metric(refuses: Callable[..., str], copy_of_recipe: Path, name: str) -> None:
    source, said = METRICS[name]
    direction = "" if name == "no-direction" else "\nscore.higher_is_better = True\n" if "def score(o" in source else ""
    (copy_of_recipe / "score.py").write_text(source + direction)
    path = copy_of_recipe / "recipe.toml"
    path.write_text(path.read_text().replace('"top1"', '"score.py:score"'))
    refuses(INPUT, said, "compile", copy_of_recipe, "-o", "out/x.edgefuse", "-q", "--precision", "float")


# --- calibration ------------------------------------------------------------------------------------------------------


def good_arrays(count: int = 12) -> Arrays:
    generator = np.random.default_rng(0)
    return {
        "image": generator.normal(size=(count, 1, 8, 8)).astype(np.float32),
        "state": generator.normal(size=(count, 6)).astype(np.float32),
        "label": np.arange(count) % 4,
    }


def save(path: Path, **changes: Any) -> None:
    """Good arrays with some replaced, or left out where the change is None."""
    arrays = {name: array for name, array in {**good_arrays(), **changes}.items() if array is not None}
    np.savez(path, **arrays)


def changed(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: save(folder / "a.npz", **changes)


def with_value(name: str, value: float, rows: slice = slice(None)) -> Callable[[Path], None]:
    array = good_arrays()[name].astype(np.float64 if name == "label" else np.float32)
    array[rows] = value
    return changed(**{name: array})


def truncated(folder: Path) -> None:
    save(folder / "a.npz")
    path = folder / "a.npz"
    path.write_bytes(path.read_bytes()[:-100])


def damaged(folder: Path) -> None:
    """One bit of one pixel, which only the zip's checksum tells."""
    save(folder / "a.npz")
    data = bytearray((folder / "a.npz").read_bytes())
    data[data.index(IMAGE[5].tobytes())] ^= 1
    (folder / "a.npz").write_bytes(data)


def damaged_stream(folder: Path) -> None:
    """Bytes in the middle of the compressed labels, so that they cannot be decompressed."""
    np.savez_compressed(folder / "a.npz", **good_arrays(12))
    data = bytearray((folder / "a.npz").read_bytes())
    start = data.index(b"label.npy") + len(b"label.npy") + 60
    data[start : start + 30] = b"\xff" * 30
    (folder / "a.npz").write_bytes(data)


def damaged_header(folder: Path) -> None:
    """Bytes at the start of the compressed stream, where the array's header is."""
    np.savez_compressed(folder / "a.npz", **good_arrays())
    data = bytearray((folder / "a.npz").read_bytes())
    start = data.index(b"image.npy") + len(b"image.npy") + 20
    data[start : start + 30] = b"\xff" * 30
    (folder / "a.npz").write_bytes(data)


def with_member(name: str, data: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        save(folder / "a.npz")
        with zipfile.ZipFile(folder / "a.npz", "a") as archive:
            archive.writestr(name, data)

    return write


def without_suffix(folder: Path) -> None:
    save(folder / "b.npz")
    with zipfile.ZipFile(folder / "b.npz") as source, zipfile.ZipFile(folder / "a.npz", "w") as archive:
        for name in source.namelist():
            archive.writestr(name.removesuffix(".npy"), source.read(name))
    (folder / "b.npz").unlink()


def lying_header(folder: Path) -> None:
    """A header that announces 10¹² samples over the data of 12."""
    save(folder / "b.npz")
    with zipfile.ZipFile(folder / "b.npz") as source, zipfile.ZipFile(folder / "a.npz", "w") as archive:
        for name in source.namelist():
            data = source.read(name).replace(b"(12,", b"(1000000000000,")
            length = data.index(b"\n", 10) + 1 - 10
            archive.writestr(name, data[:8] + struct.pack("<H", length) + data[10:])
    (folder / "b.npz").unlink()


def folders(*names: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).mkdir()
            save(folder / name / "a.npz")

    return write


def golden_without_samples(folder: Path) -> None:
    folders("calibrate")(folder)
    (folder / "golden").mkdir()


def golden_is_the_same_file(folder: Path) -> None:
    golden_without_samples(folder)
    (folder / "golden" / "b.npz").symlink_to(folder / "calibrate" / "a.npz")


def golden_with_nan(folder: Path) -> None:
    folders("calibrate", "golden")(folder)
    array = good_arrays()["state"]
    array[3, 2] = np.nan
    save(folder / "golden" / "a.npz", state=array)


def one_grouped_file_of_two(folder: Path) -> None:
    save(folder / "a.npz", group=np.arange(12))
    save(folder / "b.npz")


IMAGE = good_arrays()["image"]
CALIBRATIONS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "folder-missing": (Path.rmdir, ("no such file or folder",)),
    "folder-empty": (lambda folder: None, ("no .npz file", "numpy.savez")),
    "folder-without-npz": (lambda folder: (folder / "a.csv").write_text("1,2"), ("no .npz file", "numpy.savez")),
    "text-called-npz": (lambda folder: (folder / "a.npz").write_text("hello"), ("a.npz", "not an .npz", "numpy.savez")),
    "empty-file": (lambda folder: (folder / "a.npz").write_bytes(b""), ("a.npz", "not an .npz")),
    "folder-called-npz": (lambda folder: (folder / "a.npz").mkdir(), ("a.npz", "cannot read")),
    "truncated": (truncated, ("a.npz", "cut short")),
    "damaged-data": (damaged, ("a.npz", "damaged")),
    "damaged-stream": (damaged_stream, ("a.npz: label", "damaged")),
    "damaged-header": (damaged_header, ("a.npz: image", "numpy")),
    "header-that-lies": (lying_header, ("a.npz: image", "cut short")),
    "member-of-another-kind": (with_member("readme.txt", b"hello"), ("readme.txt", "only arrays that numpy saved")),
    "member-without-suffix": (without_suffix, ("a.npz: image", "only arrays that numpy saved")),
    "object-array": (changed(state=np.array([{}] * 12, dtype=object)), ("a.npz: state", "Python objects", "float32")),
    "array-missing": (changed(state=None, stat=np.zeros((12, 6), np.float32)), ("'state'", "Did you mean 'stat'?")),
    "wrong-shape": (changed(state=np.ones((12, 7), np.float32)), ("a.npz: state", "12x7", "(n)x1x6 or (n)x6")),
    "wrong-rank": (changed(image=IMAGE.reshape(12, 64)), ("a.npz: image", "12x64", "(n)x1x8x8")),
    "channels-last": (changed(image=IMAGE.transpose(0, 2, 3, 1)), ("a.npz: image", "12x8x8x1")),
    "wrong-dtype": (changed(image=IMAGE.astype(np.float64)), ("a.npz: image", "float64", "astype(numpy.float32)")),
    "big-endian": (changed(image=IMAGE.astype(">f4")), ("a.npz: image", ">f4", "astype")),
    "fortran-order": (changed(image=np.asfortranarray(IMAGE)), ("a.npz: image", "Fortran", "ascontiguousarray")),
    "scalar": (changed(state=np.float32(1)), ("a.npz: state", "scalar")),
    "nan": (with_value("image", np.nan, slice(5, 6)), ("sample 5", "image", "NaN", "Remove the sample")),
    "infinity": (with_value("state", np.inf, slice(7, 8)), ("sample 7", "state", "infinity")),
    "nan-in-golden": (golden_with_nan, ("golden", "sample 3", "state", "NaN")),
    "constant": (with_value("state", 1.5), ("every value of 'state' is 1.5", "was the sensor connected?")),
    "unequally-many": (changed(state=np.ones((11, 6), np.float32)), ("image 12, state 11",)),
    "no-samples": (changed(**{name: array[:0] for name, array in good_arrays().items()}), ("holds no samples",)),
    "one-sample": (changed(**{name: array[:1] for name, array in good_arrays().items()}), ("1 sample", "at least 2")),
    "only-calibrate": (folders("calibrate"), ("no folder 'golden'", "both folders")),
    "only-golden": (folders("golden"), ("no folder 'calibrate'", "both folders")),
    "golden-empty": (golden_without_samples, ("golden", "no .npz file")),
    "golden-is-calibrate": (golden_is_the_same_file, ("in both splits", "has not seen")),
    "label-missing": (changed(label=None, labels=np.zeros(12)), ("'label'", "Did you mean 'labels'?")),
    "label-of-other-length": (changed(label=np.zeros(11, np.int64)), ("label 11",)),
    "label-text": (changed(label=np.array(list("abcdefghijkl"))), ("a.npz: label", "<U1", "number")),
    "label-nan": (with_value("label", np.nan, slice(4, 5)), ("label", "NaN")),
    "label-of-two-columns": (changed(label=np.zeros((12, 2), np.int64)), ("'top1'", "2 values, the output 1")),
    "label-scalar": (changed(label=np.int64(3)), ("a.npz: label", "one value per sample")),
    "group-text": (changed(group=np.array(list("aabbccddeeff"))), ("a.npz: group", "integer")),
    "group-of-two-columns": (changed(group=np.zeros((12, 2), np.int64)), ("a.npz: group", "12x2")),
    "group-in-one-file-only": (one_grouped_file_of_two, ("group", "b.npz")),
}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_bad_calibration(refuses: Callable[..., str], place: Path, tiny_recipe: Path, name: str) -> None:
    write, said = CALIBRATIONS[name]
    (place / "samples").mkdir()
    write(place / "samples")
    refuses(
        INPUT,
        said,
        "compile",
        tiny_recipe,
        "--calibration",
        "samples",
        "-o",
        "out/x.edgefuse",
        "-q",
        "--precision",
        "float",
    )


def test_no_flipped_byte_of_an_archive_gives_other_samples(place: Path) -> None:
    """Each byte of a small .npz, four ways: refused, or (a date, a size of a name) without effect on what is read."""
    path, good = place / "a.npz", {"x": np.arange(40).reshape(10, 4) * 7919, "y": np.arange(10.0)}
    np.savez_compressed(path, **good)
    whole = path.read_bytes()
    for index in range(len(whole)):
        for flip in (0x01, 0x10, 0x80, 0xFF):
            path.write_bytes(whole[:index] + bytes([whole[index] ^ flip]) + whole[index + 1 :])
            with contextlib.suppress(CalibrationError):
                headers = read_headers(path)
                rows = list(iterate_rows(path, headers))
                for name in headers.keys() & good.keys():
                    assert np.array_equal([row[name] for row in rows], good[name]), (index, flip)


# --- bundles ----------------------------------------------------------------------------------------------------------

FILES = ("manifest.json", "model.onnx", "golden.npz", "report.json", "report.html", "model.xml", "model.bin")


def find(bundle: Path, file: str) -> Path:
    return next(bundle.rglob(file))


@pytest.mark.parametrize("part", (0.0, 0.1, 0.33, 0.5, 0.75, 0.9, 1.0))
@pytest.mark.parametrize("file", FILES)
def test_one_byte_flipped(refuses: Callable[..., str], copy_of_bundle: Path, file: str, part: float) -> None:
    path = find(copy_of_bundle, file)
    data = bytearray(path.read_bytes())
    data[round(part * (len(data) - 1))] ^= 0x01
    path.write_bytes(data)
    named = "manifest" if file == MANIFEST else file
    refuses(INPUT, (str(copy_of_bundle), named, "Copy or compile the bundle again"), "inspect", copy_of_bundle)


def test_every_byte_of_the_manifest_counts(copy_of_bundle: Path) -> None:
    from edgefuse.bundle import verify
    from edgefuse.errors import BundleError

    path = copy_of_bundle / MANIFEST
    whole = path.read_bytes()
    for index in range(0, len(whole), 19):
        for flip in (0x01, 0x07, 0x20, 0x80):
            damaged = bytearray(whole)
            damaged[index] ^= flip
            path.write_bytes(damaged)
            with pytest.raises(BundleError):
                verify(copy_of_bundle)


@pytest.mark.parametrize("file", FILES)
def test_file_missing(refuses: Callable[..., str], copy_of_bundle: Path, file: str) -> None:
    find(copy_of_bundle, file).unlink()
    hint = "edgefuse compile" if file == MANIFEST else "Copy or compile the bundle again"
    refuses(INPUT, (file, hint), "inspect", copy_of_bundle)


@pytest.mark.parametrize("file", FILES[1:])
def test_file_truncated(refuses: Callable[..., str], copy_of_bundle: Path, file: str) -> None:
    path = find(copy_of_bundle, file)
    path.write_bytes(path.read_bytes()[:-1])
    refuses(INPUT, (file, "bytes; the manifest says", "incomplete"), "inspect", copy_of_bundle)


def rewrite(bundle: Path, **changes: Any) -> None:
    """The manifest with other values and right hashes, as another EdgeFuse might have written it."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    for key, value in changes.items():
        *outer, last = key.split("__")
        table = manifest
        for name in outer:
            table = table[name]
        table[last] = value
    for key in ("files", "checksum"):
        del manifest[key]
    write_manifest(bundle, manifest)


def add_file(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("hello")


def link_out(bundle: Path) -> None:
    weights = find(bundle, "model.bin")
    weights.rename(bundle.parent / "model.bin")
    weights.symlink_to(bundle.parent / "model.bin")


def link_folder_out(bundle: Path) -> None:
    (bundle / "artifacts").rename(bundle.parent / "artifacts")
    (bundle / "artifacts").symlink_to(bundle.parent / "artifacts")


def without_files(bundle: Path) -> None:
    from edgefuse.bundle import NO_CHECKSUM, manifest_checksum
    from edgefuse.bundle_writer import write_json

    manifest = json.loads((bundle / MANIFEST).read_text())
    del manifest["files"]
    write_json(bundle / MANIFEST, {**manifest, "checksum": NO_CHECKSUM})
    text = (bundle / MANIFEST).read_text()
    (bundle / MANIFEST).write_text(text.replace(NO_CHECKSUM, manifest_checksum(text)))


BUNDLES: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "missing": (shutil.rmtree, ("no such bundle",)),
    "plain-folder": (lambda bundle: (shutil.rmtree(bundle), bundle.mkdir()), ("no manifest.json", "edgefuse compile")),
    "manifest-is-a-folder": (
        lambda bundle: ((bundle / MANIFEST).unlink(), (bundle / MANIFEST).mkdir()),
        ("no manifest.json",),
    ),
    "manifest-is-a-list": (lambda bundle: (bundle / MANIFEST).write_text("[1]"), ("manifest is damaged",)),
    "manifest-of-something-else": (
        lambda bundle: (bundle / MANIFEST).write_text('{"format": 2}'),
        ("manifest is damaged",),
    ),
    "manifest-empty": (lambda bundle: (bundle / MANIFEST).write_text(""), ("manifest is damaged",)),
    "manifest-without-files": (without_files, ("manifest is damaged",)),
    "format-99": (lambda bundle: rewrite(bundle, format=99), ("has format 99", "reads format 3", "Compile the model")),
    "format-text": (lambda bundle: rewrite(bundle, format="1"), ("has format '1'", "Compile the model")),
    "without-artifact": (lambda bundle: rewrite(bundle, artifact=None), ("manifest is damaged",)),
    "artifact-outside": (lambda bundle: rewrite(bundle, artifact__path="../.."), ("manifest is damaged",)),
    "model-without-inputs": (lambda bundle: rewrite(bundle, model={}), ("manifest is damaged",)),
    "settings-unknown": (lambda bundle: rewrite(bundle, artifact__settings={"gpu": 1}), ("manifest is damaged",)),
    "file-added": (add_file, ("'notes.txt'", "Remove it")),
    "file-linked-out": (link_out, ("model.bin", "outside the bundle")),
    "folder-linked-out": (link_folder_out, ("outside the bundle",)),
}


@pytest.mark.parametrize("verb", ("run", "check"))
@pytest.mark.parametrize("name", BUNDLES)
def test_bad_bundle(refuses: Callable[..., str], copy_of_bundle: Path, tiny_feed: Path, name: str, verb: str) -> None:
    damage, said = BUNDLES[name]
    damage(copy_of_bundle)
    feed = ("--input", tiny_feed) if verb == "run" else ("-q",)
    refuses(INPUT, (str(copy_of_bundle), *said), verb, copy_of_bundle, *feed)


DEVICES = {
    "other-architecture": ({"artifact__arch": "riscv64"}, ("riscv64", "Compile it again on this machine")),
    "other-version": ({"artifact__version": "2019.1"}, ("openvino version 2019.1", "Install openvino==2019.1")),
}


@pytest.mark.parametrize("verb", ("run", "check"))
@pytest.mark.parametrize("name", DEVICES)
def test_bundle_of_another_device(
    refuses: Callable[..., str], copy_of_bundle: Path, tiny_feed: Path, name: str, verb: str
) -> None:
    changes, said = DEVICES[name]
    rewrite(copy_of_bundle, **changes)
    feed = ("--input", tiny_feed) if verb == "run" else ("-q",)
    refuses(TOOLCHAIN, said, verb, copy_of_bundle, *feed)


def test_bundle_of_an_unknown_backend(refuses: Callable[..., str], copy_of_bundle: Path, tiny_feed: Path) -> None:
    rewrite(copy_of_bundle, artifact__backend="openvin")
    refuses(INPUT, ("'openvin'",), "run", copy_of_bundle, "--input", tiny_feed)


def zip_climbing(bundle: Path, out: Path) -> None:
    pack(bundle, out)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("../outside.txt", "hello")


def zip_absolute(bundle: Path, out: Path) -> None:
    pack(bundle, out)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("/tmp/edgefuse-outside.txt", "hello")


def zip_cut(bundle: Path, out: Path) -> None:
    pack(bundle, out)
    out.write_bytes(out.read_bytes()[:-1000])


def zip_flipped(bundle: Path, out: Path) -> None:
    pack(bundle, out)
    data = bytearray(out.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    out.write_bytes(data)


def zip_without_a_file(bundle: Path, out: Path) -> None:
    find(bundle, "model.bin").unlink()
    pack(bundle, out)


def zip_of_the_folder(bundle: Path, out: Path) -> None:
    """``zip -r x.zip x.edgefuse``: everything one folder down."""
    with zipfile.ZipFile(out, "w") as archive:
        for path in bundle.rglob("*"):
            archive.write(path, path.relative_to(bundle.parent))


ZIPS: dict[str, tuple[Callable[[Path, Path], Any], tuple[str, ...]]] = {
    "climbing": (zip_climbing, ("'../outside.txt'", "outside the bundle")),
    "absolute": (zip_absolute, ("outside the bundle",)),
    "cut": (zip_cut, ("not a bundle",)),
    "flipped": (zip_flipped, ("not a bundle",)),
    "without-a-file": (zip_without_a_file, ("model.bin", "missing")),
    "of-the-folder": (zip_of_the_folder, ("tiny.edgefuse/manifest.json", "Zip the files")),
    "text": (lambda bundle, out: out.write_text("hello"), ("not a bundle",)),
    "empty": (lambda bundle, out: out.write_bytes(b""), ("not a bundle",)),
    "npz": (lambda bundle, out: write_npz(out), ("no manifest.json",)),
}


@pytest.mark.parametrize("name", ZIPS)
def test_bad_zip_of_a_bundle(
    refuses: Callable[..., str], copy_of_bundle: Path, tiny_feed: Path, place: Path, name: str
) -> None:
    write, said = ZIPS[name]
    write(copy_of_bundle, place / "x.zip")
    refuses(INPUT, ("x.zip", *said), "run", "x.zip", "--input", tiny_feed)
    assert not (place / "outside.txt").exists() and not Path("/tmp/edgefuse-outside.txt").exists()


# --- names that look like markup --------------------------------------------------------------------------------------


def test_names_are_shown_as_they_are(cli: Callable[..., Any], place: Path) -> None:
    """Tensors are called what their makers like; rich would take ``[/b]`` for the end of bold type."""
    onnx_file(inputs=["image[/b]"])(place / "named.onnx")
    model = onnx.load(place / "named.onnx")
    model.graph.input[0].name = "image[/b]"
    onnx.save(model, place / "named.onnx")
    done = cli("inspect", "named.onnx")
    assert done.code == 0 and "image[/b]" in done.out


def test_a_cure_is_shown_whole(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefuse.cli import doctor

    cure = "pip install 'edgefuse[compile]'"
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("compile", False, "torch is missing", cure)])
    assert cure in cli("doctor").out


# --- flags ------------------------------------------------------------------------------------------------------------

FLAGS: dict[str, tuple[str, tuple[str, ...]]] = {
    # id: (the command line, what the message holds); MODEL and BUNDLE are the tiny ones
    "unknown-verb": ("compil MODEL", ("'compil'", "Did you mean 'compile'?")),
    "unknown-verb-of-no-kind": ("qqq", ("'qqq'", "compile, devices")),
    "unknown-option": ("compile MODEL --presicion int8", ("--presicion", "--precision")),
    "no-model": ("compile", ("Missing argument 'MODEL'",)),
    "two-models": ("compile MODEL MODEL", ("unexpected extra argument",)),
    "option-without-value": ("compile MODEL -o", ("-o", "argument")),
    "unknown-target": ("compile MODEL --target intel-cpuu", ("'intel-cpuu'", "Did you mean 'intel-cpu'?")),
    "unknown-recipe": ("compile MODEL --recipe digist", ("'digist'", "Did you mean 'digits'?")),
    "recipe-file-missing": ("compile MODEL --recipe my.toml", ("'my.toml'", "edgefuse recipes")),
    "recipe-is-a-model": ("compile MODEL --recipe MODEL", ("no recipe", "edgefuse recipes")),
    "unknown-precision": ("compile MODEL --precision int4", ("int4", "int8")),
    "max-drop-without-unit": ("compile MODEL --max-drop 1", ("--max-drop", "'1' is not a limit", '"1%"')),
    "max-drop-words": ("compile MODEL --max-drop lots", ("'lots' is not a limit",)),
    "max-drop-negative": ("compile MODEL --max-drop=-1%", ("'-1%' is not a limit",)),
    "max-drop-empty": ("compile MODEL --max-drop=", ("'' is not a limit",)),
    "max-drop-endless": (f"compile MODEL --max-drop {'9' * 400}%", ("is not a limit",)),
    "max-drop-of-check-empty": ("check BUNDLE --max-drop=", ("'' is not a limit",)),
    "max-drop-of-check": ("check BUNDLE --max-drop 1", ("'1' is not a limit",)),
    "max-latency-without-unit": ("compile MODEL --max-latency 5", ("--max-latency", "'5' is not a duration", '"5ms"')),
    "max-latency-zero": ("compile MODEL --max-latency 0ms", ("'0ms' is not a duration",)),
    "max-latency-empty": ("compile MODEL --max-latency=", ("'' is not a duration",)),
    "max-latency-of-check-empty": ("check BUNDLE --max-latency=", ("'' is not a duration",)),
    "input-without-shape": ("compile MODEL --input image", ("NAME:SHAPE", "Example")),
    "input-without-name": ("compile MODEL --input :1x3", ("NAME:SHAPE", "Example")),
    "input-bad-dimension": ("compile MODEL --input image:1xa", ("'a' is not a dimension",)),
    "input-zero-dimension": ("compile MODEL --input image:1x0", ("0 is not a dimension",)),
    "input-superscript-dimension": ("compile MODEL --input image:1x²", ("'²' is not a dimension",)),
    "input-bad-dtype": ("compile MODEL --input image:1x3:float33", ("'float33'", "'float32'?")),
    "input-bad-modality": ("compile MODEL --input image:1x3:float32:imag", ("'imag'", "'image'?")),
    "input-too-many-parts": ("compile MODEL --input image:1x3:float32:image:x", ("NAME:SHAPE", "Example")),
    "input-twice": ("compile MODEL --input image:1x3 --input image:1x4", ("--input", "'image'", "twice")),
    "output-empty": ("compile MODEL -o=", ("-o",)),
    "output-here": ("compile MODEL -o .", ("is there already and is no bundle", "Choose another -o")),
    "output-above": ("compile MODEL -o ..", ("is there already and is no bundle", "Choose another -o")),
    "output-too-long": (f"compile MODEL -o out/{LONG}", ("File name too long", "Choose another -o")),
    "run-without-input": ("run BUNDLE", ("--input",)),
    "run-output-not-npz": ("run BUNDLE --input FEED -o out/y.csv", ("y.csv", "must end in .npz")),
    "run-output-folder-missing": ("run BUNDLE --input FEED -o nowhere/y.npz", ("nowhere", "no such folder")),
    "run-output-is-a-folder": ("run BUNDLE --input FEED -o folder.npz", ("folder.npz",)),
    "check-unknown-recipe": ("check BUNDLE --recipe digist", ("'digist'", "Did you mean 'digits'?")),
    "inspect-unknown-recipe": ("inspect MODEL --recipe digist", ("'digist'", "Did you mean 'digits'?")),
    "devices-unknown": ("devices jetsn", ("'jetsn'",)),
}


@pytest.mark.parametrize("name", FLAGS)
def test_bad_flag(
    refuses: Callable[..., str], tiny_recipe: Path, tiny_bundle: Path, tiny_feed: Path, place: Path, name: str
) -> None:
    line, said = FLAGS[name]
    (place / "folder.npz").mkdir()
    known = {"MODEL": str(tiny_recipe / "model.onnx"), "BUNDLE": str(tiny_bundle), "FEED": str(tiny_feed)}
    words = [known.get(word, word) for word in line.split()]
    calibration = ["--calibration", str(tiny_recipe / "samples.npz"), "-q"] if "compile MODEL" in line else []
    if "-o" not in line and calibration and "--precision" not in line:
        calibration += ["-o", "out/x.edgefuse"]
    refuses(USAGE, said, *[word.replace("-o=", "--output=") for word in words], *calibration)


def regular_file(path: Path) -> None:
    path.write_text("my thesis")


def folder_of_mine(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("my thesis")


def web_app(path: Path) -> None:
    """``manifest.json`` is a common name: of browser extensions, of web apps, of Android projects."""
    path.mkdir()
    (path / "manifest.json").write_text('{"name": "my extension", "version": "1.0"}')


def parent_is_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("my thesis")


PLACES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "regular-file": (regular_file, "is there already and is no bundle"),
    "npz-file": (
        lambda path: save(path.with_suffix(".npz")) or path.with_suffix(".npz").rename(path),
        "is there already and is no bundle",
    ),
    "torch-file": (lambda path: torch.save({"w": torch.zeros(2)}, path), "is there already and is no bundle"),
    "folder-of-mine": (folder_of_mine, "is there already and is no bundle"),
    "folder-with-another-manifest": (web_app, "is there already and is no bundle"),
    "parent-is-a-file": (parent_is_a_file, "cannot write there"),
    "loop-of-links": (link_to_itself, "cannot write there"),
}


@pytest.mark.parametrize("name", PLACES)
def test_output_place_that_is_not_ours(refuses: Callable[..., str], tiny_recipe: Path, place: Path, name: str) -> None:
    prepare, said = PLACES[name]
    path = place / "mine" / "x"
    path.parent.mkdir()
    prepare(path)
    before = {item: item.is_file() and item.read_bytes() for item in [*place.joinpath("mine").rglob("*")]}
    refuses(USAGE, (str(path), said, "Choose another -o"), "compile", tiny_recipe, "-o", path, "-q")
    assert {item: item.is_file() and item.read_bytes() for item in [*place.joinpath("mine").rglob("*")]} == before


def test_precision_that_the_device_lacks(
    refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tiny_recipe: Path
) -> None:
    found = {**(asked_once(load_device("host")).found or {}), "precisions": ["float", "int8"]}
    monkeypatch.setattr(compiler, "reach", lambda device, place: candidates.Reach(found))
    refuses(
        TOOLCHAIN,
        ("does not offer bf16 for host; it offers float, int8", "Choose one of these"),
        "compile",
        tiny_recipe,
        "--precision",
        "bf16",
        "-o",
        "out/x.edgefuse",
        "-q",
    )


def test_target_of_another_architecture(refuses: Callable[..., str], tiny_recipe: Path) -> None:
    import platform

    other = "intel-cpu" if platform.machine() in ("arm64", "aarch64") else "arm-cpu"
    refuses(
        TOOLCHAIN,
        (other, f"this machine is not {other}", "--require-device"),
        "compile",
        tiny_recipe,
        "--target",
        other,
        "--require-device",
        "-o",
        "out/x.edgefuse",
        "-q",
    )


# --- feeds ------------------------------------------------------------------------------------------------------------


def good_feed() -> Arrays:
    return {"image": np.zeros((1, 1, 8, 8), np.float32), "state": np.zeros((1, 6), np.float32)}


@pytest.fixture
def tiny_feed(place: Path) -> Path:
    np.savez(place / "feed.npz", **good_feed())
    return place / "feed.npz"


def feed(**changes: Any) -> Callable[[Path], Any]:
    arrays = {name: array for name, array in {**good_feed(), **changes}.items() if array is not None}
    return lambda path: np.savez(path, **arrays)


FEEDS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "file-missing": (lambda path: None, ("x.npz", "no such file")),
    "folder": (Path.mkdir, ("x.npz", "not an .npz", "numpy.savez")),
    "text": (regular_file, ("x.npz", "not an .npz", "numpy.savez")),
    "empty-file": (content(b""), ("x.npz", "not an .npz", "numpy.savez")),
    "single-array": (
        lambda path: (np.save("y.npy", np.zeros(3)), Path("y.npy").rename(path)),
        ("x.npz", "not an .npz"),
    ),
    "no-arrays": (lambda path: np.savez(path), ("'image' is missing", "image, state")),
    "input-missing": (feed(state=None), ("'state' is missing", "image, state")),
    "input-unknown": (feed(stat=np.zeros(1)), ("no input 'stat'", "Did you mean 'state'?")),
    "input-misspelt": (feed(state=None, stat=np.zeros((1, 6), np.float32)), ("no input 'stat'", "'state'?")),
    "wrong-dtype": (feed(state=np.zeros((1, 6))), ("'state'", "float64; expected float32", "astype")),
    "wrong-shape": (feed(state=np.zeros((1, 7), np.float32)), ("'state'", "1x7; expected 1x6")),
    "without-batch": (feed(state=np.zeros(6, np.float32)), ("'state'", "shape 6; expected 1x6")),
    "scalar": (feed(state=np.float32(1)), ("'state'", "scalar; expected 1x6")),
    "objects": (feed(state=np.array([None])), ("x.npz", "plain arrays")),
    "truncated": (lambda path: (feed()(path), path.write_bytes(path.read_bytes()[:-40])), ("x.npz", "not an .npz")),
}


@pytest.mark.parametrize("name", FEEDS)
def test_bad_feed(refuses: Callable[..., str], tiny_bundle: Path, place: Path, name: str) -> None:
    write, said = FEEDS[name]
    write(place / "x.npz")
    refuses(INPUT, said, "run", tiny_bundle, "--input", "x.npz", "-o", "out/y.npz")
