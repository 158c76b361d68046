from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import open_topics
from tests.recordings.reading import flipped, read, try_read, unreadable
from tests.recordings.writers import png, shade, write_lerobot, write_parquet, write_video

TOP = "observation.images.top"
EPISODES = (8, 5)


@pytest.fixture(params=[(3, True), (3, False), (2, True), (2, False)], ids=lambda item: f"v{item[0]} video={item[1]}")
def dataset(request, tmp_path):
    version, video = request.param
    return write_lerobot(tmp_path / "set", EPISODES, version=version, video=video)


def test_every_feature_is_a_topic(dataset):
    topics, found = read(dataset)
    assert topics.damage == "" and len(found) == 13 * len(topics.topics)
    kinds = {name: (topic.type, topic.count) for name, topic in topics.topics.items()}
    assert kinds.pop(TOP) in (("video", 13), ("image", 13))
    assert kinds == {
        "observation.state": ("float32", 13),
        "action": ("float32", 13),
        "timestamp": ("float32", 13),
        "task": ("string", 13),
        **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), ("int64", 13)),
    }
    topics.close()


def test_episodes_lie_one_behind_another_with_a_gap(dataset):
    topics = open_topics(dataset)
    rows = list(topics.messages(["observation.state"]))
    assert all(raw.stamp_ns == raw.arrival_ns for raw in rows)
    seconds = np.array([raw.arrival_ns for raw in rows]) / 1e9
    within = np.arange(8) / 10, np.arange(5) / 10
    assert np.allclose(seconds, np.concatenate([10 + within[0], 10 + 0.7 + 10 + within[1]]), atol=1e-6)
    values = np.array([raw.decode() for raw in rows])
    assert values.dtype == np.float32 and values[:, 1].tolist() == [0] * 8 + [1] * 5
    assert values[:, 0].tolist() == [*range(8), *range(5)]


def test_values_have_the_features_dtype_and_shape(dataset):
    topics = open_topics(dataset)
    for name, shape in (("action", (1,)), ("observation.state", (2,)), ("episode_index", (1,))):
        raw = next(topics.messages([name]))
        assert raw.decode().shape == shape
        raw.decode()[...] = 9  # it is the caller's own
        assert (raw.decode() == 0).all()
    assert [raw.decode() for raw in topics.messages(["task"])] == ["do 0"] * 8 + ["do 1"] * 5


def test_frames_are_those_of_their_rows(dataset):
    topics = open_topics(dataset)
    frames = [raw.decode() for raw in topics.messages([TOP])]
    assert all(pixels.shape == (32, 48, 3) and pixels.dtype == np.uint8 for pixels in frames)
    assert [round(pixels.mean() - shade(index)) for index, pixels in enumerate(frames)] == pytest.approx(
        [0] * 13, abs=2
    )


@pytest.mark.parametrize("order", [[12, 3, 0, 11, 4], [5], list(range(0, 13, 3)), list(reversed(range(13)))], ids=str)
def test_frames_can_be_decoded_in_any_order_after_the_iteration(dataset, order):
    every = list(open_topics(dataset).messages([TOP]))
    for index in order:
        assert every[index].decode().mean() == pytest.approx(shade(index), abs=2)


def test_a_long_video_is_sought_not_decoded_from_its_beginning(tmp_path):
    folder = write_lerobot(tmp_path / "set", (200, 100))
    every = list(open_topics(folder).messages([TOP]))
    for index in (250, 251, 40, 299, 199, 200, 0):
        assert every[index].decode().mean() == pytest.approx(shade(index), abs=2)


def test_two_readings_do_not_disturb_each_other(dataset):
    topics = open_topics(dataset)
    for one, two in itertools.zip_longest(topics.messages([TOP]), itertools.islice(topics.messages([TOP]), 3, None)):
        assert one.decode().mean() < 255 and (two is None or two.decode().mean() < 255)
    again = [raw.decode().mean() for raw in topics.messages([TOP])]
    assert again == pytest.approx([shade(index) for index in range(13)], abs=2)


def test_av1_as_lerobot_writes_it(tmp_path):
    folder = write_lerobot(tmp_path / "set", (6,), codec="libsvtav1", pixels=_large)
    frames = [raw.decode().mean() for raw in open_topics(folder).messages([TOP])]
    assert frames == pytest.approx([shade(index) for index in range(6)], abs=3)


def _large(index):
    return np.full((64, 96, 3), shade(index), np.uint8)


def test_a_video_with_fewer_frames_than_rows(tmp_path):
    folder = write_lerobot(tmp_path / "set", EPISODES, version=2)
    path = folder / f"videos/chunk-000/{TOP}/episode_000001.mp4"
    write_video(path, [np.full((32, 48, 3), 50, np.uint8)] * 3, 10)
    topics = open_topics(folder)
    every = list(topics.messages([TOP]))
    assert len(every) == 13 and topics.damage == ""
    for raw in every[11:]:
        with pytest.raises(ValueError, match=r"episode_000001\.mp4 has no frame at 0\.[34]00 s: it ends at 0\.200 s"):
            raw.decode()
    assert topics.damage == f"videos/chunk-000/{TOP}/episode_000001.mp4: 2 frames cannot be read"
    assert every[10].decode().mean() == pytest.approx(50, abs=2) and every[2].decode().mean() < 60


def test_a_damaged_stretch_of_a_video_costs_its_frames(tmp_path):
    noise = np.random.default_rng(0).integers(0, 40, (100, 32, 48, 3), np.uint8)
    folder = write_lerobot(tmp_path / "set", (100,), pixels=lambda index: noise[index] + np.uint8(shade(index) * 0.8))
    path = folder / f"videos/{TOP}/chunk-000/file-000.mp4"
    good = [raw.decode().mean() for raw in open_topics(folder).messages([TOP])]
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    found = 0
    for raw, mean in zip(open_topics(folder).messages([TOP]), good):
        with contextlib.suppress(ValueError):
            found += raw.decode().mean() == pytest.approx(mean, abs=1)
    assert 80 < found < 100


def test_a_video_that_is_missing_and_one_that_is_none(tmp_path):
    folder = write_lerobot(tmp_path / "set", EPISODES, version=2)
    name = f"videos/chunk-000/{TOP}/episode_000000.mp4"
    (folder / name).write_bytes(b"text" * 100)
    topics = open_topics(folder)
    for raw in itertools.islice(topics.messages([TOP]), 8):
        with pytest.raises(ValueError, match="Invalid data"):
            raw.decode()
    assert topics.damage == f"{name}: 8 frames cannot be read"
    (folder / name).unlink()
    topics, found = read(folder)
    assert topics.damage == f"{name} is missing"
    assert topics.topics[TOP].count == 5 and sum(item[0] == TOP for item in found) == 5
    assert topics.topics["action"].count == 13


def test_rows_that_are_missing_or_damaged(tmp_path):
    folder = write_lerobot(tmp_path / "set", EPISODES, version=2)
    path = folder / "data/chunk-000/episode_000001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    topics, found = read(folder)
    assert "data/chunk-000/episode_000001.parquet is no Parquet file" in topics.damage
    assert len(found) == 8 * 9 and topics.topics[TOP].count == 8
    path.unlink()
    topics, found = read(folder)
    assert len(found) == 8 * 9 and topics.damage == "data/chunk-000/episode_000001.parquet is missing"
    (folder / "data/chunk-000/episode_000000.parquet").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"episode_000000\.parquet: is no Parquet file"):
        open_topics(folder)


def test_columns_that_are_missing_raise_for_each_row(tmp_path):
    folder = write_lerobot(tmp_path / "set", EPISODES, video=False)
    path = folder / "data/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    for index, row in enumerate(rows):
        del row["action"]
        row[TOP] = {"bytes": None if index == 1 else b"text" if index == 2 else png(_large(index)), "path": None}
        row["observation.state"] = [1.0] if index == 3 else None if index == 4 else [1.0, 2.0]
        row["task_index"] = 7 if index == 5 else 0
        del row["timestamp"]
    write_parquet(path, rows)
    topics = open_topics(folder)
    assert open_topics(folder).damage == ""
    for name, wrong in (("action", set(range(13))), (TOP, {1, 2}), ("observation.state", {3, 4}), ("task", {5})):
        rows = list(topics.messages([name]))
        assert len(rows) == 13
        for index, raw in enumerate(rows):
            if index in wrong:
                with pytest.raises(ValueError):
                    raw.decode()
            else:
                raw.decode()
    assert [raw.arrival_ns for raw in topics.messages(["index"])][7:9] == [10_700_000_000, 20_700_000_000]


def test_features_of_two_axes_and_texts(tmp_path):
    folder = write_lerobot(tmp_path / "set", (3,), video=False)
    path = folder / "data/chunk-000/file-000.parquet"
    rows = [{**row, "grid": [[1.0, 2.0], [3.0, 4.0]], "said": "go"} for row in pq.read_table(path).to_pylist()]
    write_parquet(path, rows)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"] |= {"grid": {"dtype": "float64", "shape": [2, 2]}, "said": {"dtype": "string", "shape": [1]}}
    (folder / "meta/info.json").write_text(json.dumps(info))
    found = {raw.topic: raw.decode() for raw in open_topics(folder).messages(["grid", "said"])}
    assert found["grid"].tolist() == [[1, 2], [3, 4]] and found["said"] == "go"


def test_without_the_episodes_table_only_the_videos_cannot_be_read(tmp_path):
    folder = write_lerobot(tmp_path / "set", EPISODES)
    shutil.rmtree(folder / "meta/episodes")
    (folder / "meta/tasks.parquet").unlink()
    topics, found = read(folder)
    assert topics.damage == "meta/episodes does not say where episodes are"
    assert topics.topics[TOP].count == 0 and "task" not in topics.topics and len(found) == 13 * 7


def change(**changes):
    def apply(folder):
        info = json.loads((folder / "meta/info.json").read_text())
        info |= changes
        (folder / "meta/info.json").write_text(json.dumps(info))

    return apply


WRONG = {
    "no JSON": (lambda folder: (folder / "meta/info.json").write_text("{"), r"info\.json: is no JSON"),
    "too deep": (lambda folder: (folder / "meta/info.json").write_text("[" * 100_000), r"info\.json: is no JSON"),
    "a list": (lambda folder: (folder / "meta/info.json").write_text("[]"), "is no JSON object"),
    "an old version": (change(codebase_version="v1.6"), r"is 'v1\.6'; expected v3\.x or v2\.x\n.*convert"),
    "no rate": (change(fps=0), "fps is 0; expected Hz"),
    "a text as rate": (change(fps="30"), "fps is '30'; expected Hz"),
    "chunks of nothing": (change(chunks_size=0), "chunks_size is 0"),
    "no features": (change(features=[]), "features are not as expected"),
    "features of nothing": (change(features={"a": 5}), "features are not as expected"),
}


@pytest.mark.parametrize("damage, message", WRONG.values(), ids=WRONG)
def test_an_info_that_is_wrong(tmp_path, damage, message):
    folder = write_lerobot(tmp_path / "set", (2,))
    damage(folder)
    with pytest.raises(RecordingError, match=message):
        open_topics(folder)


@pytest.mark.parametrize("name", ["../secret.parquet", "/etc/passwd", "data/{chunk_index:999999999999d}"])
def test_paths_do_not_lead_out_of_the_folder_nor_fill_the_memory(tmp_path, name):
    folder = write_lerobot(tmp_path / "set", (2,))
    shutil.copy(folder / "data/chunk-000/file-000.parquet", tmp_path / "secret.parquet")
    change(data_path=name, video_path=name)(folder)
    topics = open_topics(folder)
    assert name.split("{")[0] in topics.damage and topics.topics["index"].count == 2


def test_what_cannot_be_decoded_is_an_error_only_where_it_is_wanted(tmp_path):
    folder = write_lerobot(tmp_path / "set", (2,))
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["action"]["dtype"] = "float99"
    info["features"][TOP]["info"] = {"video.is_depth_map": True}
    (folder / "meta/info.json").write_text(json.dumps(info))
    topics = open_topics(folder)
    assert len(list(topics.messages(["index"]))) == 2
    with pytest.raises(RecordingError, match="action: has dtype 'float99', which is not known"):
        topics.messages(["action"])
    with pytest.raises(RecordingError, match=f"{TOP}: is depth kept as a video"):
        topics.messages([TOP])


def test_without_rows(tmp_path):
    folder = write_lerobot(tmp_path / "set", (2,), video=False)
    path = folder / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    topics, found = read(folder)
    assert found == [] and topics.topics["action"].count == 0 and topics.damage == ""


def test_without_permission(tmp_path):
    folder = write_lerobot(tmp_path / "set", (2,))
    open_topics(folder)
    with unreadable(folder) as copy, pytest.raises(RecordingError, match="cannot be read: Permission denied"):
        open_topics(copy)


def test_memory_holds_a_few_rows_and_frames(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (8, 256, 256, 3), np.uint8)
    for video in (False, True):
        folder = write_lerobot(tmp_path / f"set{video}", (150,), pixels=lambda index: noise[index % 8], video=video)
        tracemalloc.start()
        for raw in open_topics(folder).messages([TOP, "action"]):
            raw.decode()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 15 << 20, "150 frames are 29 MB, and their PNGs as much"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.integers(0, 4),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=3),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_whatever_is_damaged_nothing_else_happens_than_an_error_or_less(tmp_path, number, flips, keep):
    folder = tmp_path / "set"
    if not folder.exists():
        write_lerobot(folder, EPISODES)
    path = sorted(item for item in folder.rglob("*") if item.is_file())[number]
    data = path.read_bytes()
    changed = flipped(data, flips)
    path.write_bytes(changed[: int(keep * len(changed))])
    try:
        try_read(folder)
    finally:
        path.write_bytes(data)
