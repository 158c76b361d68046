"""recipes/rover and calibration/rover: the model, the committed recording, and the simulation it comes from."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.util
import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from edgefuse.export import load_source
from edgefuse.recipe import read_recipe
from edgefuse.recordings import Wanted, open_recording
from edgefuse.spec import ModelSpec
from edgefuse.stream.policy import sensor_inputs
from tests.recipes.files import load

ROOT = Path(__file__).resolve().parents[2]
RECIPE, CALIBRATION = ROOT / "recipes" / "rover", ROOT / "calibration" / "rover"
DRIVE = CALIBRATION / "drive.mcap"


@pytest.fixture(scope="module")
def model_file():
    return load(RECIPE, "model")


@pytest.fixture(scope="module")
def recipe():
    return read_recipe(RECIPE / "recipe.toml")


@pytest.fixture(scope="module")
def trained(model_file):
    model = model_file.build().eval()
    model.load_state_dict(torch.load(RECIPE / "weights.pt", weights_only=True))
    return model


@pytest.fixture(scope="module")
def samples(recipe):
    """The recipe's reader of samples, and one sample for each second of half a minute of the committed recording."""
    module = load(RECIPE, "samples")
    data = module.read_drives(recipe, [DRIVE])
    return module, data.take(torch.arange(0, 300, 10))


def test_the_weights_are_small_finite_and_those_of_the_model(trained):
    assert (RECIPE / "weights.pt").stat().st_size < 8e6
    assert 1e6 < sum(parameter.numel() for parameter in trained.parameters()) < 3e6
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())


def test_attention_is_the_softmax_of_scaled_dot_products(model_file):
    torch.manual_seed(0)
    attention = model_file.Attention()
    tokens = torch.randn(2, 4, model_file.TOKEN)
    query, key, value = (layer(tokens) for layer in (attention.query, attention.key, attention.value))
    width = model_file.TOKEN // model_file.HEADS
    heads = []
    for head in range(model_file.HEADS):
        part = slice(head * width, (head + 1) * width)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(width)
        heads.append(torch.softmax(scores, dim=-1) @ value[..., part])
    expected = attention.out(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(tokens), expected, rtol=1e-5, atol=1e-6)  # float32, another order of sums


def test_the_exported_graph_answers_as_the_model_does(trained, recipe, samples, tmp_path):
    source = load_source(recipe.model.weights, recipe)
    source.export(tmp_path / "rover.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "rover.onnx")
    _, data = samples
    for row in range(3):
        one = data.take(torch.tensor([row]))
        with torch.inference_mode():
            expected = trained(*one.inputs)["state"].numpy()
        feed = {spec.name: array.numpy() for spec, array in zip(recipe.inputs, one.inputs)}
        found = session.run(["state"], feed)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)  # float32 sums over some thousand terms


def test_the_recording_fits_the_recipe_and_is_small(recipe):
    assert DRIVE.stat().st_size < 10e6
    streams = sensor_inputs(ModelSpec(recipe.inputs, recipe.outputs), recipe.state)
    wanted = {name: Wanted(items, 1 if name == "imu" else None) for name, items in streams.items()}
    recording = open_recording(DRIVE, wanted, recipe.recording, recipe.folder)
    seconds = (recording.end_ns - recording.start_ns) / 1e9
    assert 90 <= seconds <= 200
    assert not recording.damage and not recording.unused
    for name, rate_hz in {"camera": 30, "lidar": 10, "imu": 200}.items():
        assert recording.counts[name] == pytest.approx(seconds * rate_hz, rel=0.04)  # some frames are lost
    assert recording.label_count == pytest.approx(seconds * 50, rel=0.01)
    read = sum(1 for _ in recording.messages())
    assert read == sum(recording.counts.values()) and not recording.dropped
    recording.close()


def mean_error(model, data, absent=()):
    inputs = [torch.zeros_like(item) if place in absent else item for place, item in enumerate(data.inputs)]
    with torch.inference_mode():
        return float((model(*inputs)["state"] - data.state).abs().mean())


def test_it_beats_the_median_and_survives_without_any_one_sensor(trained, samples):
    _, data = samples
    constant = float((data.state - data.state.median(dim=0).values).abs().mean())
    assert mean_error(trained, data) < constant / 2
    for absent in range(4):
        assert mean_error(trained, data, (absent,)) < constant


def test_a_mirrored_drive_is_one_that_could_have_been(trained, samples):
    """What the sensors say about a mirrored world is what the mirrored samples hold: the model agrees about as well."""
    module, data = samples
    doubled = data.take(torch.arange(len(data)).repeat(8))
    mirrored = module.augment(doubled, torch.Generator().manual_seed(0), absent=0.0)
    turned = (mirrored.state[:, 1] * doubled.state[:, 1]) < 0
    assert 0.3 < float(turned.float().mean()) < 0.7
    some = turned.nonzero().squeeze(1)
    assert mean_error(trained, mirrored.take(some)) < 1.5 * mean_error(trained, doubled.take(some))


def test_every_goal_can_be_read(recipe, monkeypatch):
    monkeypatch.syspath_prepend(CALIBRATION)
    driver = importlib.import_module("simulation.driver")
    (step,) = recipe.recording["goal"].transforms
    length, vocabulary = step.value["length"], step.value["vocabulary"]
    assert len(vocabulary) + 2 <= load(RECIPE, "model").WORDS
    colours = ("red", "green", "blue", "yellow")
    for phrase, colour in itertools.product(itertools.chain(*driver.PHRASES.values()), colours):
        words = phrase.format(colour).split()
        assert len(words) <= length and set(words) <= set(vocabulary)


def missing():
    for name in ("mujoco", "mcap", "rosbags", "PIL"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed (pip install 'edgefuse[dev]')"
    if not ctypes.util.find_library("OSMesa"):
        return "the camera needs OSMesa (Debian: libosmesa6)"
    return ""


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    def record(name, seed):
        path = tmp_path / name
        command = [sys.executable, CALIBRATION / "record.py", path, "--seconds", "2", "--seed", str(seed)]
        subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120)
        return path.read_bytes()

    first = record("first.mcap", 5)
    assert record("again.mcap", 5) == first
    assert record("other.mcap", 6) != first
