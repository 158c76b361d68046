"""What a mapping makes of topics: deliveries in order, joined by their stamps, and every loss counted."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefuse.errors import RecipeError, RecordingError
from edgefuse.recordings import Wanted, open_recording
from edgefuse.recordings.mapped import open_mapped
from edgefuse.recordings.mapping import read_sources
from edgefuse.spec import TensorSpec
from tests.recordings.files import MS, START, times
from tests.recordings.memory import Memory
from tests.recordings.writers import (
    drive,
    protobuf_type,
    shade,
    write_bag,
    write_hdf5,
    write_lerobot,
    write_mcap_json,
    write_mcap_protobuf,
    write_mcap_ros1,
    write_mcap_ros2,
    write_rosbag2,
)

HOUR = 3_600_000 * MS
IMAGE = TensorSpec("image", (1, 2, 2), stream="camera", modality="image", rate_hz=30.0)
MATRIX = TensorSpec("matrix", (1, 4), stream="camera", rate_hz=30.0)
IMU = TensorSpec("imu", (1, 6), stream="imu", modality="imu")
WANTED = {"camera": Wanted((IMAGE,)), "imu": Wanted((IMU,))}
TABLES = {"image": {"topic": "/camera"}, "imu": {"topic": "/imu"}}


def series(count, rate_hz=30, make=lambda n: np.full((2, 2), n, np.float32), delay_ms=0, start_ns=START):
    return [
        (int(stamp), int(stamp) + delay_ms * MS, make(n)) for n, stamp in enumerate(times(count, rate_hz, start_ns))
    ]


def six(n):
    return np.full(6, n, np.float64)


def two(images=10, imus=30):
    return {"/camera": ("float32[2,2]", series(images, 10, delay_ms=25)), "/imu": ("float64[6]", series(imus, 30, six))}


def mapped(topics, wanted=WANTED, tables=TABLES, damage=""):
    memory = topics if isinstance(topics, Memory) else Memory(topics, damage)
    return open_mapped(Path("r.mcap"), memory, wanted, read_sources(tables, "recording"), Path())


def numbers(recording, stream, chosen=None):
    return [int(next(iter(m.arrays.values())).flat[0]) for m in recording.messages([stream], chosen)]


def failed(*arguments, **keywords):
    with pytest.raises(RecordingError) as caught:
        mapped(*arguments, **keywords)
    return caught.value


# -- order, times, choice


def test_deliveries_come_in_order_of_arrival_in_the_inputs_shape_and_dtype():
    recording = mapped(two())
    found = list(recording.messages())
    assert [m.arrival_ns for m in found] == sorted(m.arrival_ns for m in found) and len(found) == 40
    assert recording.counts == {"camera": 10, "imu": 30}
    cameras = [m for m in found if m.stream == "camera"]
    assert all(m.arrays["image"].shape == (1, 2, 2) and m.arrays["image"].dtype == np.float32 for m in cameras)
    assert [m.number for m in cameras] == list(range(10)) == numbers(recording, "camera")
    assert recording.stamps("camera").dtype == np.int64 and list(recording.stamps("camera")) == times(10, 10).tolist()
    assert [m.stamp_ns for m in cameras] == times(10, 10).tolist()
    assert list(recording.arrivals("camera")) == [t + 25 * MS for t in times(10, 10).tolist()]
    assert (recording.start_ns, recording.end_ns) == (START, found[-1].arrival_ns)
    assert recording.dropped == {} and recording.notes == () and recording.label_count == 0


def test_only_chosen_deliveries_are_decoded():
    memory = Memory(two())
    recording = mapped(memory)
    before = dict(memory.decoded)
    assert before == {"/camera": 1, "/imu": 1}, "opening tries one message of each"
    found = list(recording.messages(chosen={"camera": {3, 7}, "imu": range(2)}))
    assert [(m.stream, m.number) for m in found if m.stream == "camera"] == [("camera", 3), ("camera", 7)]
    assert memory.decoded == {"/camera": 3, "/imu": 3} and len(found) == 4
    assert numbers(recording, "camera", {"imu": [1]}) == []


def test_two_readings_at_the_same_time_do_not_disturb_each_other():
    topics = two() | {"/info": ("float64[4]", series(10, 10, lambda n: np.full(4, n, np.float64)))}
    recording = mapped(topics, {"camera": Wanted((IMAGE, MATRIX))}, TABLES | {"matrix": {"topic": "/info"}})
    for one, other in itertools.zip_longest(recording.messages(), recording.messages()):
        assert one.number == other.number and one.arrays["matrix"][0, 0] == other.arrays["image"][0, 0, 0]


def test_a_window_takes_samples_and_chunks_and_a_field_chooses():
    wanted = {"imu": Wanted((TensorSpec("imu", (1, 8, 2)),), axis=1)}
    for content, shape in [(np.ones(2), (2,)), (np.ones((3, 2)), (1, 3, 2))]:
        topics = {"/imu": ("x", [(START, START, {"gyro": content, "temperature": 3.0})])}
        found = next(mapped(topics, wanted, {"imu": {"topic": "/imu", "field": "gyro"}}).messages())
        assert found.arrays["imu"].shape == shape and found.arrays["imu"].dtype == np.float32


# -- what does not fit


def test_messages_that_do_not_fit_are_dropped_and_counted_once_by_reason():
    topics = two()
    items = topics["/camera"][1]
    for place, content in [
        (2, ValueError("bytes are wrong")),
        (4, np.ones((3, 2), np.float32)),
        (5, np.ones((2, 2), int)),
    ]:
        items[place] = (*items[place][:2], content)
    recording = mapped(topics)
    assert recording.dropped == {}, "nothing has been read yet"
    assert numbers(recording, "camera") == [0, 1, 3, 6, 7, 8, 9] == numbers(recording, "camera")
    assert recording.dropped == {"camera": {"decode": 1, "shape": 1, "dtype": 1}}
    assert recording.notes[0] == "camera: the first that was dropped for 'decode': bytes are wrong"
    assert recording.counts["camera"] == 10 and len(list(recording.arrivals("camera"))) == 10


def test_one_bad_message_at_the_start_is_dropped_and_five_are_an_error():
    for bad in (1, 4):
        topics = two()
        topics["/camera"][1][:bad] = [(s, a, ValueError("no image")) for s, a, _ in topics["/camera"][1][:bad]]
        assert len(numbers(mapped(topics), "camera")) == 10 - bad
    topics["/camera"][1][:5] = [(s, a, ValueError("no image")) for s, a, _ in topics["/camera"][1][:5]]
    error = failed(topics)
    assert error.what == "none of the first 5 messages fits: no image" and error.where == "r.mcap: /camera, for image"
    error = failed({"/camera": ("x", [(START, START, np.ones(3))])}, {"camera": Wanted((IMAGE,))})
    assert (
        error.what == "the only message does not fit: without transforms it is 3 float64; the input takes 1x2x2 float32"
    )


def test_an_unknown_type_or_field_says_what_there_is():
    speeds = {"/imu": ("edge/Speed", [(START, START, {"speed": 1.0, "gear": 2})])}
    wanted = {"imu": Wanted((TensorSpec("imu", (1, 1)),))}
    error = failed(speeds, wanted, {"imu": {"topic": "/imu"}})
    assert "edge/Speed" in error.what and "speed, gear" in error.hint and error.where == "r.mcap: /imu, for imu"
    error = failed(speeds, wanted, {"imu": {"topic": "/imu", "field": "spede"}})
    assert "there is no 'spede'; Did you mean 'speed'?" in error.what
    with pytest.raises(RecipeError, match="no transform 'sclae'"):
        mapped(speeds, wanted, {"imu": {"topic": "/imu", "transforms": [{"sclae": 1}]}})


# -- topics that are not there


def test_a_stream_that_is_not_there_is_a_note_that_names_the_nearest_topic():
    topics = two()
    topics["/imu/data"] = topics.pop("/imu")
    recording = mapped(topics)
    assert recording.counts == {"camera": 10} and recording.unused == ("/imu/data",)
    assert recording.notes == ("there is no topic '/imu' for imu (did you mean '/imu/data'?)",)
    assert mapped(two(), tables={"image": TABLES["image"]}).notes == ("imu has no [recording.imu]",)
    assert "did you mean '/camera'" in mapped(two(), tables=TABLES | {"image": {"topic": "camera"}}).notes[0]
    empty = mapped(two() | {"/imu": ("float64[6]", [])})
    assert empty.counts == {"camera": 10} and empty.notes == ("/imu has no messages",)


def test_a_stream_of_which_a_part_is_there_is_an_error_and_so_are_no_streams_at_all():
    error = failed(two(), {"camera": Wanted((IMAGE, MATRIX))}, TABLES | {"matrix": {"topic": "/info"}})
    assert error.what == "there is no topic '/info' for matrix; image, of the same stream 'camera', is there"
    error = failed({"/scan": ("x", [])})
    assert (
        "no topic '/camera' for image; there is no topic '/imu' for imu" in error.what and "/scan  x  0" in error.hint
    )
    assert "holds no deliveries" in failed({"/camera": ("x", []), "/imu": ("x", [])}).what


def test_without_a_mapping_the_topics_are_listed_with_tables_to_begin_with(tmp_path):
    path = write_mcap_ros2(tmp_path / "r.mcap", drive())
    with pytest.raises(RecordingError) as caught:
        open_recording(path, WANTED)
    hint = caught.value.hint
    assert "nothing says" in caught.value.what and "--recipe" in hint and caught.value.where == str(path)
    assert "  /camera  sensor_msgs/msg/Image  10\n  /imu     sensor_msgs/msg/Imu    50\n" in hint
    assert '[recording.image]\ntopic = "/camera"\n[recording.imu]\ntopic = "/imu"' in hint
    many = Memory({f"/t{n}": ("x", []) for n in range(60)})
    with pytest.raises(RecordingError) as caught:
        open_mapped(path, many, WANTED, {}, Path())
    assert "… and 20 more" in caught.value.hint and 'topic = "…"' in caught.value.hint


# -- several topics in one stream

PAIR = {"camera": Wanted((IMAGE, MATRIX))}


def pair(images, infos, tolerance_ms=None):
    topics = {"/camera": ("x", images), "/info": ("y", infos)}
    limit = {} if tolerance_ms is None else {"tolerance_ms": tolerance_ms}
    return mapped(topics, PAIR, {"image": {"topic": "/camera"}, "matrix": {"topic": "/info", **limit}})


def four(n):
    return np.full(4, n, np.float32)


def test_inputs_of_one_topic_come_from_the_same_message():
    both = [(START + n, START + n, {"i": np.full((2, 2), n, np.float32), "m": four(n)}) for n in range(5)]
    tables = {"image": {"topic": "/both", "field": "i"}, "matrix": {"topic": "/both", "field": "m"}}
    memory = Memory({"/both": ("x", both)})
    found = list(mapped(memory, PAIR, tables).messages())
    assert [m.arrays["matrix"][0, 0] for m in found] == [m.arrays["image"][0, 0, 0] for m in found] == [0, 1, 2, 3, 4]
    assert memory.decoded["/both"] == 1 + 5, "a message is decoded once for all inputs"


def test_inputs_of_several_topics_are_joined_with_the_nearest_and_delivered_when_both_are_there():
    infos = series(20, 10, four, delay_ms=60, start_ns=START + 4 * MS)
    recording = pair(series(10, 10, delay_ms=20), infos[:5] + infos[6:])
    found = list(recording.messages())
    assert [m.arrays["image"][0, 0, 0] for m in found] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert all(m.arrays["matrix"][0, 0] == m.arrays["image"][0, 0, 0] for m in found)
    assert all(m.arrival_ns - m.stamp_ns == 64 * MS for m in found) and recording.counts == {"camera": 9}
    assert recording.notes == ("camera: 10 of 19 messages of /info are nearest to none of /camera",)
    assert recording.dropped == {"camera": {"no matrix within 16.6667 ms": 1}}, "half a period of 30 Hz"
    assert [m.number for m in found] == list(range(9))


def test_the_tolerance_is_the_recipes_and_none_within_it_is_an_error_that_says_so():
    late = series(10, 10, four, start_ns=START + 40 * MS)
    assert pair(series(10, 10), late, tolerance_ms=40).counts == {"camera": 10}
    with pytest.raises(RecordingError) as caught:
        pair(series(10, 10), late, tolerance_ms=39)
    assert "within 39 ms" in caught.value.what and "[recording.matrix] tolerance_ms" in caught.value.hint


@pytest.mark.parametrize("arrives_ns", [START - HOUR, START, START + 5_000 * MS])
def test_what_is_said_once_holds_all_the_time(arrives_ns):
    recording = pair(series(10, 10), [(START, arrives_ns, four(7))])
    found = list(recording.messages())
    assert len(found) == 10 and all(m.arrays["matrix"].tolist() == [[7, 7, 7, 7]] for m in found)
    assert recording.stamps("camera").tolist() == times(10, 10).tolist()


def test_a_partner_that_does_not_fit_drops_what_it_is_a_part_of():
    infos = series(10, 10, four)
    infos[3] = (*infos[3][:2], ValueError("no matrix"))
    recording = pair(series(30, 30), infos, tolerance_ms=50)
    assert len(list(recording.messages())) == 26 and recording.dropped == {
        "camera": {"no matrix within 50 ms": 1, "decode": 3}
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), min_size=2, max_size=25),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), min_size=2, max_size=25),
    st.integers(1, 60),
    st.data(),
)
def test_joining_equals_a_search_over_all_pairs(one, other, tolerance_ms, data):
    images = [(START + s * MS, START + (s + d) * MS, np.full((2, 2), i, np.float32)) for i, (s, d) in enumerate(one)]
    infos = [(START + s * MS, START + (s + d) * MS, four(i)) for i, (s, d) in enumerate(other)]
    expected = []
    for stamp, _ in one:
        near = min(abs(s - stamp) for s, _ in other)
        if near <= tolerance_ms:
            expected.append((stamp, near))
    tables = {"image": {"topic": "/camera", "tolerance_ms": tolerance_ms},
              "matrix": {"topic": "/info", "tolerance_ms": tolerance_ms}}  # fmt: skip
    topics = {"/camera": ("x", images), "/info": ("y", infos)}
    if not expected:
        assert "within" in failed(topics, PAIR, tables).what
        return
    recording = mapped(topics, PAIR, tables)
    found = list(recording.messages())
    assert len(found) == len(expected) == recording.counts["camera"]
    assert sorted(((m.stamp_ns - START) // MS) for m in found) == sorted(stamp for stamp, _ in expected)
    assert [m.arrival_ns for m in found] == sorted(m.arrival_ns for m in found)
    for m in found:
        parts = [one[int(m.arrays["image"][0, 0, 0])], other[int(m.arrays["matrix"][0, 0])]]
        apart = abs(parts[0][0] - parts[1][0])
        assert (parts[0][0], apart) in expected and m.stamp_ns == START + parts[0][0] * MS
        assert m.arrival_ns == START + max(s + d for s, d in parts) * MS
        assert m.stamp_ns == recording.stamps("camera")[m.number]
    assert list(recording.arrivals("camera")) == [m.arrival_ns for m in found]
    chosen = data.draw(st.sets(st.integers(0, len(found) - 1)))
    again = list(recording.messages(chosen={"camera": chosen}))
    assert {m.number for m in again} == chosen
    for m in again:
        same = next(f for f in found if f.number == m.number)
        assert all(np.array_equal(m.arrays[name], same.arrays[name]) for name in ("image", "matrix"))


# -- labels


def label_topic(stamps, values=None):
    return {
        "/truth": (
            "x",
            [(s, START + n * MS, np.int64(n) if values is None else values[n]) for n, s in enumerate(stamps)],
        )
    }


def test_labels_come_in_order_of_their_stamps_and_bad_ones_are_counted():
    stamps = [START, START + 30, START + 10, None, START + 20]
    recording = mapped(two() | label_topic(stamps), tables=TABLES | {"label": {"topic": "/truth"}})
    found = [(int(label.value), label.stamp_ns) for label in recording.labels()]
    assert [value for value, _ in found] == [0, 2, 4, 1, 3] and found[-1][1] == START + 3 * MS
    assert recording.label_count == 5 and recording.notes == (
        "/truth: only 4 of 5 have a stamp; arrival stands for it",
    )
    values = [np.int64(0), ValueError("cut"), np.int64(2), "left", np.int64(4)]
    recording = mapped(two() | label_topic(stamps, values), tables=TABLES | {"label": {"topic": "/truth"}})
    for _ in range(2):
        assert [int(label.value) for label in recording.labels()] == [0, 2, 4]
    assert recording.dropped == {"label": {"decode": 1, "type": 1}}


def test_labels_that_are_not_there_are_a_note_and_an_input_may_be_called_label():
    recording = mapped(two(), tables=TABLES | {"label": {"topic": "/truht"}})
    assert list(recording.labels()) == [] and "nothing can be judged" in recording.notes[0]
    wanted = {"label": Wanted((TensorSpec("label", (1, 6)),))}
    recording = mapped(two(), wanted, {"label": {"topic": "/imu"}})
    assert recording.label_count == 0 and recording.counts == {"label": 30}


# -- clocks


def test_messages_without_a_stamp_take_their_arrival_and_that_is_said():
    topics = {
        name: (kind, [(s + 300 * 24 * HOUR, a + 300 * 24 * HOUR, c) for s, a, c in items])
        for name, (kind, items) in two().items()
    }
    topics["/imu"][1][:] = [(None, a, c) for _, a, c in topics["/imu"][1]]
    camera = topics["/camera"][1]
    camera[3] = (None, *camera[3][1:])
    camera[4] = (0, *camera[4][1:])
    recording = mapped(topics)
    assert recording.notes == ("/camera: only 8 of 10 have a stamp; arrival stands for it",
                               "/imu: no message has a stamp; arrival stands for it")  # fmt: skip
    assert recording.stamps("imu").tolist() == list(recording.arrivals("imu"))
    assert recording.stamps("camera")[3] == camera[3][1] and recording.stamps("camera")[4] == camera[4][1]


def test_a_clock_that_jumps_is_counted_and_nothing_is_dropped():
    topics = two()
    imu = topics["/imu"][1]
    for place, jump in [(3, 2 * HOUR), (4, -2 * HOUR), (5, 2**70)]:
        imu[place] = (imu[place][0] + jump, *imu[place][1:])
    recording = mapped(topics)
    assert recording.notes == (
        "/imu: 3 of 30 stamps are more than 1 h from their arrival, the median 7200 s ahead of it",
    )
    assert len(numbers(recording, "imu")) == 30 and recording.dropped == {}


@pytest.mark.parametrize("ahead", [0, 400 * 24 * HOUR])
def test_where_the_sensors_have_a_clock_of_their_own_arrivals_are_moved_to_it(ahead):
    """As in a simulation: stamps from 0, and the recorder writes today's date."""
    topics = two()
    for name, (kind, items) in topics.items():
        late = 40 * MS if name == "/imu" else 0
        topics[name] = (kind, [(s - START + ahead, a - START + 300 * 24 * HOUR + late, c) for s, a, c in items])
    topics["/camera"][1][4] = (None, *topics["/camera"][1][4][1:])
    recording = mapped(topics)
    camera, imu = (np.array(list(recording.arrivals(n))) - recording.stamps(n) for n in ("camera", "imu"))
    assert not camera.any() and set(imu) == {15 * MS} and recording.start_ns == ahead
    word = "ahead of" if ahead else "behind"
    days = 100 if ahead else 300
    assert f"the sensors' clock is {days * 86400} s {word} the recorder's" in recording.notes[0]


def test_arrivals_that_go_back_in_a_file_do_not_go_back_in_a_recording():
    class Unsorted(Memory):
        def messages(self, names):
            return iter(sorted(super().messages(names), key=lambda raw: raw.stamp_ns))

    topics = two()
    topics["/camera"][1][4] = (topics["/camera"][1][4][0], START + HOUR // 10, topics["/camera"][1][4][2])
    recording = mapped(Unsorted(topics))
    arrivals = [m.arrival_ns for m in recording.messages()]
    assert arrivals == sorted(arrivals) and arrivals[-1] == START + HOUR // 10 and len(arrivals) == 40


def test_stamps_in_a_simulation_may_be_0():
    topics = {"/imu": ("x", [(n * 10 * MS, n * 10 * MS, six(n)) for n in range(5)])}
    recording = mapped(topics, {"imu": WANTED["imu"]})
    assert recording.notes == () and recording.stamps("imu")[0] == 0


# -- files


def test_a_real_file_gives_what_was_written_and_is_closed(tmp_path):
    path = write_mcap_ros2(tmp_path / "r.mcap", drive())
    wanted = {"camera": Wanted((TensorSpec("image", (1, 3, 8, 8)),)), "imu": Wanted((IMU,))}
    steps = [{"scale": 0.5}, {"layout": "HWC->CHW"}]
    sources = read_sources({"image": {"topic": "/camera", "transforms": steps}, "imu": {"topic": "/imu"}}, "recording")
    recording = open_recording(path, wanted, sources)
    assert numbers(recording, "imu") == list(range(50)) and recording.unused == ("/wheel",)
    images = list(recording.messages(["camera"]))
    assert [float(m.arrays["image"][0, 2, 7, 7]) for m in images] == [n / 2 for n in range(10)]
    assert [m.arrival_ns - m.stamp_ns for m in images] == [10 * MS] * 10
    recording.close()


FILES = {
    "MCAP, ROS 2": lambda folder: write_mcap_ros2(folder / "r.mcap", drive()),
    "MCAP, ROS 1": lambda folder: write_mcap_ros1(folder / "r.mcap", drive(version=1)),
    "MCAP without index, out of order": lambda folder: write_mcap_ros2(
        folder / "r.mcap", drive(), ordered=False, indexed=False
    ),
    "ROS 1 bag": lambda folder: write_bag(folder / "r.bag", drive(version=1), compression="lz4"),
    "ROS 2 bag, sqlite3": lambda folder: write_rosbag2(folder / "bag", drive()),
    "ROS 2 bag, MCAP": lambda folder: write_rosbag2(folder / "bag", drive(), storage="mcap"),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_format_of_ros_gives_the_same_deliveries(kind, tmp_path):
    wanted = {"camera": Wanted((TensorSpec("image", (1, 8, 8, 3), "uint8"), TensorSpec("wheel", (1, 3)))),
              "imu": Wanted((IMU,))}  # fmt: skip
    tables = {
        "image": {"topic": "/camera"},
        "wheel": {"topic": "/wheel", "field": ["speed", "raw"], "tolerance_ms": 1},
        "imu": {"topic": "/imu"},
    }
    recording = open_recording(FILES[kind](tmp_path), wanted, read_sources(tables, "recording"))
    found = list(recording.messages())
    cameras = [
        (m.stamp_ns, m.arrival_ns, m.arrays["image"].max(), *m.arrays["wheel"][0]) for m in found if len(m.arrays) == 2
    ]
    assert cameras == [(START + n * 200 * MS, START + n * 200 * MS + 10 * MS, 2 * n, n / 2, n, 1) for n in range(5)]
    assert numbers(recording, "imu") == list(range(50)) and recording.damage == "" and recording.notes == ()
    assert recording.dropped == {"camera": {"no wheel within 1 ms": 5}}
    assert [m.arrival_ns for m in found] == sorted(m.arrival_ns for m in found)
    recording.close()


ROWS = {
    "HDF5": lambda folder: write_hdf5(
        folder / "r.h5",
        {
            "observations/images/top": np.stack([np.full((32, 48, 3), shade(n), np.uint8) for n in range(13)]),
            "observations/state": np.array([[n, 0.0] for n in range(8)] + [[n, 1.0] for n in range(5)]),
            "task": ["go left"] * 13,
            "reward": np.arange(13) / 2,
        },
        fps=10,
    ),
    "LeRobot": lambda folder: write_lerobot(folder / "set"),
}
NAMES = {
    "HDF5": ("observations/images/top", "observations/state", "reward"),
    "LeRobot": ("observation.images.top", "observation.state", "action"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_datasets_of_rows_are_topics_of_arrays_and_texts(kind, tmp_path):
    image, state, label = NAMES[kind]
    inputs = TensorSpec("image", (1, 3, 8, 12)), TensorSpec("state", (1, 2)), TensorSpec("task", (1, 3), "int64")
    wanted = {"camera": Wanted(inputs[:2]), "goal": Wanted(inputs[2:])}
    steps = [{"resize": {"size": [8, 12], "method": "area"}}, {"cast": "float32"}, {"layout": "HWC->CHW"}]
    words = [{"words": {"vocabulary": ["go", "left"], "length": 3}}]
    tables = {"image": {"topic": image, "transforms": steps}, "state": {"topic": state},
              "task": {"topic": "task", "transforms": words}, "label": {"topic": label}}  # fmt: skip
    path = ROWS[kind](tmp_path)
    recording = open_recording(path, wanted, read_sources(tables, "recording"))
    cameras = list(recording.messages(["camera"]))
    assert [m.arrays["state"][0].tolist() for m in cameras] == [[n, 0] for n in range(8)] + [[n, 1] for n in range(5)]
    shown = [float(m.arrays["image"].mean()) for m in cameras]
    assert np.allclose(shown, [shade(n) for n in range(13)], atol=4), "a video is lossy"
    assert {m.arrays["task"].shape for m in recording.messages(["goal"])} == {(1, 3)}
    assert [np.ravel(found.value)[0] for found in recording.labels()][:3] == [0, 0.5, 1.0]
    assert recording.dropped == {} and recording.notes == () and recording.label_count == 13
    one = list(recording.messages(chosen={"camera": {9}}))
    assert [m.number for m in one] == [9] and abs(float(one[0].arrays["image"].mean()) - shade(9)) < 4
    with pytest.raises(RecordingError) as caught:
        open_recording(path, wanted)
    assert f'[recording.image]\ntopic = "{image}"\n[recording.state]\ntopic = "{state}"' in caught.value.hint


def test_json_and_protobuf_are_taken_by_their_fields(tmp_path):
    wanted = {"imu": Wanted((TensorSpec("imu", (1, 2)),))}
    stamp = {"sec": START // 10**9, "nanosec": 7}
    said = [{"header": {"stamp": stamp}, "gyro": {"x": n, "y": [0.5, n]}} for n in range(3)]
    times_of = [(None, START + n * MS) for n in range(3)]
    path = write_mcap_json(tmp_path / "j.mcap", {"/imu": [(*t, m) for t, m in zip(times_of, said)]})
    tables = {"imu": {"topic": "/imu", "field": "gyro.y"}}
    recording = open_recording(path, wanted, read_sources(tables, "recording"))
    assert [m.arrays["imu"].tolist() for m in recording.messages()] == [[[0.5, n]] for n in range(3)]
    assert set(recording.stamps("imu")) == {START + 7}
    sample = [protobuf_type()(values=[n, n + 0.5]) for n in range(3)]
    path = write_mcap_protobuf(tmp_path / "p.mcap", {"/imu": [(*t, m) for t, m in zip(times_of, sample)]})
    tables = {"imu": {"topic": "/imu", "field": "values"}}
    recording = open_recording(path, wanted, read_sources(tables, "recording"))
    assert [m.arrays["imu"].tolist() for m in recording.messages()] == [[[n, n + 0.5]] for n in range(3)]


def test_a_topic_file_is_closed_where_the_mapping_is_wrong(monkeypatch):
    memory = Memory({"/x": ("x", [])})
    monkeypatch.setattr("edgefuse.recordings.mapped.open_topics", lambda path: memory)
    with pytest.raises(RecordingError):
        open_recording(Path(__file__), WANTED)
    assert memory.closed


def test_memory_of_joined_topics_is_given_back():
    pixels = np.zeros((160, 160), np.float32)
    image = TensorSpec("image", (1, 160, 160), stream="camera", rate_hz=30.0)
    topics = {"/camera": ("x", series(300, 30, lambda n: pixels, 20)), "/info": ("y", series(300, 30, four, 90))}
    tables = {"image": {"topic": "/camera", "transforms": [{"scale": 2}]}, "matrix": {"topic": "/info"}}
    recording = mapped(topics, {"camera": Wanted((image, MATRIX))}, tables)
    tracemalloc.start()
    assert sum(1 for _ in recording.messages()) == 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2 * pixels.nbytes  # three images wait for their matrices; all together are 300


def test_memory_holds_times_and_a_few_messages():
    class Long(Memory):
        """40 000 messages that are made when they are asked for."""

        def messages(self, names):
            from edgefuse.recordings.formats import Raw

            for n in range(40_000):
                yield Raw("/imu", START + n * MS, START + n * MS, lambda: six(0))

    recording = None
    tracemalloc.start()
    recording = mapped(Long({"/imu": ("x", [])}), {"imu": WANTED["imu"]})
    assert sum(1 for _ in recording.messages()) == 40_000
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 40_000 * 20 and peak < 40_000 * 80
