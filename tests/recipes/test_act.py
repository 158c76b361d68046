"""recipes/act and calibration/act: the policy, the simulated arm, and the LeRobot dataset for its calibration."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgefuse.export import load_source
from edgefuse.recipe import read_recipe
from edgefuse.recordings import Wanted, open_recording
from edgefuse.recordings.formats import open_topics
from tests.recipes.files import load

ROOT = Path(__file__).resolve().parents[2]
RECIPE, CALIBRATION = ROOT / "recipes" / "act", ROOT / "calibration" / "act"
HELDOUT = CALIBRATION / "heldout"
DATA = "data/chunk-000/file-000.parquet"
CAMERAS = ("top", "wrist")
K = 20


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
def tabletop():
    """``tabletop.NAME`` and ``lerobot_v3`` of calibration/act."""
    sys.path.insert(0, str(CALIBRATION))
    yield importlib.import_module
    sys.path.remove(str(CALIBRATION))


@pytest.fixture(scope="module")
def columns():
    """The committed dataset's rows, without its images, as arrays."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(HELDOUT / DATA)
    return {name: np.array(table.column(name).to_pylist()) for name in table.column_names}


@pytest.fixture(scope="module")
def pictures():
    """Camera to (n, 72, 96, 3) uint8: the committed dataset's."""
    av = pytest.importorskip("av")
    found = {}
    for camera in CAMERAS:
        with av.open(str(HELDOUT / f"videos/observation.images.{camera}/chunk-000/file-000.mp4")) as video:
            found[camera] = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    return found


def copied(layer, into):
    """*into* with the weights of our attention *layer*, as torch's own module has them."""
    parts = (layer.query, layer.key, layer.value)
    into.in_proj_weight.data = torch.cat([part.weight for part in parts]).detach()
    into.in_proj_bias.data = torch.cat([part.bias for part in parts]).detach()
    into.out_proj.load_state_dict(layer.out.state_dict())
    return into


def test_the_weights_are_small_finite_and_those_of_the_model(trained):
    assert (RECIPE / "weights.pt").stat().st_size < 8e6
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())
    assert trained.state_dict()["action_std"].min() > 0.1  # the training data's, and not the 1 of an untrained model
    assert not torch.equal(trained.action_std, torch.ones(6))


def test_attention_is_torchs_multi_head_attention(model_file):
    torch.manual_seed(0)
    ours = model_file.Attention()
    theirs = copied(ours, nn.MultiheadAttention(model_file.DIM, model_file.HEADS, batch_first=True))
    query, key, value = (torch.randn(2, count, model_file.DIM) for count in (5, 7, 7))
    torch.testing.assert_close(ours(query, key, value), theirs(query, key, value)[0], rtol=1e-5, atol=1e-6)


def test_a_layer_without_places_is_torchs_post_norm_layer(model_file):
    torch.manual_seed(0)
    ours = model_file.EncoderLayer().eval()
    theirs = nn.TransformerEncoderLayer(model_file.DIM, model_file.HEADS, model_file.FEED, batch_first=True).eval()
    copied(ours.attention, theirs.self_attn)
    for name, layer in {"norm1": ours.attention_norm, "norm2": ours.feed_norm}.items():
        getattr(theirs, name).load_state_dict(layer.state_dict())
    theirs.linear1.load_state_dict(ours.feed[0].state_dict())
    theirs.linear2.load_state_dict(ours.feed[3].state_dict())
    tokens = torch.randn(2, 9, model_file.DIM)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens, torch.zeros(1, 9, 128)), theirs(tokens), rtol=1e-5, atol=1e-5)
        assert (ours(tokens, torch.randn(1, 9, 128)) - theirs(tokens)).abs().max() > 0.01  # places do matter


def test_places_are_sines_and_cosines_of_row_and_column(model_file):
    places = model_file.sinusoids(5, 6).reshape(5, 6, 128).numpy()
    for row, column in ((0, 0), (2, 5), (4, 1)):
        for offset, place in ((0, (row + 1) / 5), (64, (column + 1) / 6)):
            for i in (0, 1, 31):
                angle = 2 * np.pi * place / 10000 ** (2 * i / 64)
                found = places[row, column, offset + 2 * i : offset + 2 * i + 2]
                np.testing.assert_allclose(found, [np.sin(angle), np.cos(angle)], atol=1e-5)


def test_the_exported_graph_answers_as_the_model_does(trained, recipe, pictures, columns, tmp_path):
    import onnxruntime

    source = load_source(recipe.model.weights, recipe)
    source.export(tmp_path / "act.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "act.onnx")
    for row in (0, 700, 1500):
        feed = feed_of(pictures, columns, row)
        with torch.inference_mode():
            expected = trained(**{name: torch.from_numpy(array) for name, array in feed.items()})["actions"].numpy()
        found = session.run(["actions"], feed)[0]
        assert found.shape == (1, K, 6)
        np.testing.assert_allclose(found, expected, atol=1e-4)  # rad; float32 sums over some thousand terms


def feed_of(pictures, columns, row):
    images = {
        f"image_{camera}": np.ascontiguousarray(pictures[camera][row].transpose(2, 0, 1)[None], np.float32)
        * np.float32(1 / 255)
        for camera in CAMERAS
    }
    return {**images, "state": columns["observation.state"][row][None].astype(np.float32)}


def test_the_policy_looks_at_every_sensor_and_beats_holding_still(trained, pictures, columns):
    rows = range(0, len(columns["index"]), 25)
    feeds = [feed_of(pictures, columns, row) for row in rows]
    batch = {name: torch.from_numpy(np.concatenate([feed[name] for feed in feeds])) for name in feeds[0]}
    expected = torch.from_numpy(columns["action_chunk"][::25]).to(torch.float32)

    def error(inputs):
        with torch.inference_mode():
            return float((trained(**inputs)["actions"] - expected).abs().mean())

    still = float((batch["state"][:, None] - expected).abs().mean())
    assert error(batch) < 0.4 * still
    for name, value in batch.items():
        mixed = batch | {name: value.roll(len(value) // 2, dims=0)}  # another moment's
        assert error(mixed) > 1.5 * error(batch), name


def test_the_dataset_is_small_and_says_what_it_holds(columns, pictures):
    files = [file for file in HELDOUT.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 4e6
    info = json.loads((HELDOUT / "meta/info.json").read_text())
    frames = info["total_frames"]
    assert info["codebase_version"] == "v3.0"
    assert info["total_episodes"] >= 24 and frames >= 1500
    assert {name: len(values) for name, values in columns.items()} == dict.fromkeys(columns, frames)
    for camera, images in pictures.items():
        assert images.shape == (frames, *info["features"][f"observation.images.{camera}"]["shape"])
    assert set(info["features"]) == {*columns, *(f"observation.images.{camera}" for camera in CAMERAS)}


def test_the_chunk_is_the_actions_that_follow_in_the_episode(columns):
    for episode in (0, 7):
        rows = columns["episode_index"] == episode
        action, chunk = columns["action"][rows], columns["action_chunk"][rows]
        np.testing.assert_array_equal(chunk[10], action[10 : 10 + K])
        np.testing.assert_array_equal(chunk[-1], np.tile(action[-1], (K, 1)))
        np.testing.assert_array_equal(chunk[-3][:3], action[-3:])
    starts = np.flatnonzero(columns["frame_index"] == 0)
    np.testing.assert_allclose(columns["timestamp"], columns["frame_index"] / 25, rtol=1e-6)
    assert len(starts) == columns["episode_index"].max() + 1


def test_the_reader_gives_the_models_inputs(recipe, columns, pictures):
    inputs = {spec.name: spec for spec in recipe.inputs}
    streams = {"top": "image_top", "wrist": "image_wrist", "joints": "state"}
    wanted = {stream: Wanted((inputs[name],)) for stream, name in streams.items()}
    recording = open_recording(HELDOUT, wanted, recipe.recording, recipe.folder)
    frames = len(columns["index"])
    assert recording.counts == dict.fromkeys(streams, frames) and recording.label_count == frames
    rows = (0, 1, 500, frames - 1)
    chosen = dict.fromkeys(streams, rows)
    found = {(m.stream, m.number): m.arrays[streams[m.stream]] for m in recording.messages(chosen=chosen)}
    for row in rows:
        for name, array in feed_of(pictures, columns, row).items():
            stream = next(key for key, value in streams.items() if value == name)
            np.testing.assert_allclose(found[stream, row], array, atol=1e-6)
    labels = [label.value for label in recording.labels()]
    np.testing.assert_array_equal(np.reshape(labels[500], (K, 6)), columns["action_chunk"][500])
    assert not recording.dropped and not recording.damage


def test_every_feature_of_the_dataset_is_a_topic():
    topics = open_topics(HELDOUT)
    assert {"action", "action_chunk", "observation.state", *(f"observation.images.{c}" for c in CAMERAS)} <= set(
        topics.topics
    )
    topics.close()


@pytest.fixture(scope="module")
def made(tabletop):
    """Two short episodes of noise and smooth motion: what the writer is given, without a simulation."""
    pytest.importorskip("mujoco")  # which the module that defines an episode imports
    episode_file = tabletop("tabletop.episode")
    random, found = np.random.default_rng(0), []
    for length in (7, 10):
        ramp = np.linspace(0, 255, 72 * 96 * 3).reshape(72, 96, 3)
        images = {name: np.stack([np.roll(ramp, 5 * i) for i in range(length)]).astype(np.uint8) for name in CAMERAS}
        state, action = random.normal(size=(2, length, 6)).astype(np.float32)
        found.append(episode_file.Episode(images, state, action))
    return found


def test_the_same_episodes_give_the_same_dataset(tabletop, made, tmp_path):
    writer = tabletop("lerobot_v3")
    for name in ("a", "b"):
        writer.write_dataset(tmp_path / name, made, 4)
    first, second = (sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("a", "b"))
    assert len(first) == 7
    for one, other in zip(first, second, strict=True):
        assert one.relative_to(tmp_path / "a") == other.relative_to(tmp_path / "b")
        assert one.read_bytes() == other.read_bytes()


def test_a_dataset_holds_what_was_written(tabletop, made, tmp_path):
    av, parquet = pytest.importorskip("av"), pytest.importorskip("pyarrow.parquet")
    tabletop("lerobot_v3").write_dataset(tmp_path / "a", made, 4)
    table = parquet.read_table(tmp_path / "a" / DATA)
    np.testing.assert_array_equal(
        table.column("observation.state").to_pylist(), np.concatenate([e.state for e in made])
    )
    assert table.column("index").to_pylist() == list(range(17))
    episodes = parquet.read_table(tmp_path / "a/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in episodes] == [7, 10]
    start_s, end_s = (episodes[1][f"videos/observation.images.top/{side}_timestamp"] for side in ("from", "to"))
    with av.open(str(tmp_path / "a/videos/observation.images.top/chunk-000/file-000.mp4")) as video:
        stream = video.streams.video[0]
        shown = [(float(frame.pts * stream.time_base), frame) for frame in video.decode(stream)]
    assert len(shown) == 17
    part = [frame for time_s, frame in shown if start_s - 1e-6 <= time_s < end_s - 1e-6]
    assert len(part) == 10 and part[0].key_frame
    found = np.stack([frame.to_ndarray(format="rgb24") for frame in part]).astype(float)
    assert np.abs(found - made[1].images["top"]).mean() < 6  # of 255; the codec loses some
    stats = json.loads((tmp_path / "a/meta/stats.json").read_text())
    np.testing.assert_allclose(stats["action"]["mean"], np.concatenate([e.action for e in made]).mean(0), atol=1e-6)


@pytest.fixture(scope="module")
def world(tabletop):
    pytest.importorskip("mujoco")
    world = tabletop("tabletop.world").World()
    yield world
    world.close()


def test_the_expert_puts_the_cube_on_the_target(tabletop, world):
    draw_layout, expert_file = tabletop("tabletop.scene").draw_layout, tabletop("tabletop.expert")
    for seed in range(5):
        world.reset(draw_layout(np.random.default_rng(seed)))
        assert not world.success
        expert = expert_file.Expert(world)
        for _ in range(100):
            world.step(expert.command())
        assert expert.finished and world.success, seed


def test_inverse_kinematics_reach_the_place_with_the_hand_down(tabletop, world):
    draw_layout, expert_file = tabletop("tabletop.scene").draw_layout, tabletop("tabletop.expert")
    world.reset(draw_layout(np.random.default_rng(3)))
    expert = expert_file.Expert(world)
    goal, _ = expert.waypoints[1]
    world.data.qpos[world.places] = goal
    import mujoco

    mujoco.mj_forward(world.model, world.data)
    assert np.linalg.norm(world.grip - world.cube - np.array([0, 0, expert_file.CLEAR_M])) < 1e-3
    down = world.data.body("hand").xmat.reshape(3, 3)[:, 2]
    np.testing.assert_allclose(down, [0, 0, -1], atol=0.01)


@pytest.mark.skipif(ctypes.util.find_library("OSMesa") is None, reason="the cameras need libosmesa6")
def test_a_seed_is_an_episode(tmp_path):
    pytest.importorskip("mujoco")
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):  # a process of its own: mujoco draws by the first OpenGL it finds
        make = [sys.executable, CALIBRATION / "make.py", tmp_path / name, "--episodes", "1", "--seed", str(seed)]
        subprocess.run(make, check=True, capture_output=True, timeout=100)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 7
    first, again, other = ({file: (tmp_path / name / file).read_bytes() for file in files} for name in "abc")
    assert first == again
    varied = [file for file in files if file.name.startswith("file-")]
    assert len(varied) == 4 and all(first[file] != other[file] for file in varied)
