"""What an .npz recording gives, and what is said of one that is wrong."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from edgefuse.errors import InputError, RecordingError
from edgefuse.recordings import Wanted, open_recording
from edgefuse.spec import TensorSpec
from tests.recordings.files import MS, START, times, tiny, write

IMAGE = TensorSpec("image", (1, 1, 8, 8), stream="camera", rate_hz=30.0)
STATE = TensorSpec("state", (1, 6), stream="state", rate_hz=100.0)
WANTED = {"camera": Wanted((IMAGE,)), "state": Wanted((STATE,))}


def test_messages_come_in_order_of_arrival_with_their_rows(tmp_path):
    arrays = tiny()
    recording = open_recording(write(tmp_path / "r.npz", arrays), WANTED)
    found = list(recording.messages())
    assert [item.arrival_ns for item in found] == sorted(item.arrival_ns for item in found)
    assert recording.counts == {"camera": 60, "state": 200} and len(found) == 260
    images = [item for item in found if item.stream == "camera"]
    assert [item.stamp_ns for item in images] == arrays["image.stamp_ns"].tolist()
    assert [item.arrival_ns - item.stamp_ns for item in images] == [10 * MS] * 60
    for item, row in zip(images, arrays["image"]):
        assert item.arrays["image"].shape == (1, 1, 8, 8) and np.array_equal(item.arrays["image"][0], row)
    assert (recording.start_ns, recording.end_ns) == (START, found[-1].arrival_ns)
    assert list(recording.arrivals("camera")) == [item.arrival_ns for item in images]
    assert list(recording.messages(["state"])) != [] and recording.unused == () and recording.label_count == 0


def test_rows_may_have_the_batch_dimension_and_a_window_takes_samples_and_chunks(tmp_path):
    imu = TensorSpec("imu", (1, 8, 4))
    for shape, expected in [((4,), (4,)), ((1, 3, 4), (1, 3, 4)), ((3, 4), (1, 3, 4))]:
        arrays = {"imu": np.zeros((5, *shape), np.float32), "imu.stamp_ns": times(5, 10)}
        path = write(tmp_path / "w.npz", arrays)
        assert next(open_recording(path, {"imu": Wanted((imu,), axis=1)}).messages()).arrays["imu"].shape == expected
        with pytest.raises(RecordingError, match="expected"):
            open_recording(path, {"imu": Wanted((imu,))})


def test_inputs_of_one_stream_are_one_message_with_equal_times(tmp_path):
    lidar = Wanted((TensorSpec("points", (1, 4), stream="lidar"), TensorSpec("power", (1, 4), stream="lidar")))
    arrays = {name: np.ones((3, 4), np.float32) for name in ("points", "power")}
    arrays |= {f"{name}.stamp_ns": times(3, 10) for name in ("points", "power")}
    found = list(open_recording(write(tmp_path / "l.npz", arrays), {"lidar": lidar}).messages())
    assert len(found) == 3 and found[0].arrays.keys() == {"points", "power"}
    write(tmp_path / "l.npz", arrays | {"power.stamp_ns": times(3, 11)})
    with pytest.raises(RecordingError, match="differs from points"):
        open_recording(tmp_path / "l.npz", {"lidar": lidar})


def test_stamps_that_go_back_are_no_error_and_nothing_arrives_before_what_came_earlier(tmp_path):
    arrays = tiny()
    arrays["state.stamp_ns"][3] = START
    recording = open_recording(write(tmp_path / "r.npz", arrays), WANTED)
    states = list(recording.messages(["state"]))
    assert states[3].stamp_ns == START and states[3].arrival_ns == states[2].arrival_ns


def test_labels_come_with_their_stamps_and_what_is_not_used_is_named(tmp_path):
    arrays = tiny(labels=np.arange(4)) | {"gps": np.zeros((3, 2))}
    recording = open_recording(write(tmp_path / "r.npz", arrays), WANTED)
    assert [(int(label.value), label.stamp_ns - START) for label in recording.labels()] == [
        (number, number * 500 * MS) for number in range(4)
    ]
    assert recording.label_count == 4 and recording.unused == ("gps",)


def test_a_stream_that_is_not_there_or_empty_has_no_count(tmp_path):
    arrays = tiny()
    kept = {name: array for name, array in arrays.items() if name.startswith("image")}
    assert open_recording(write(tmp_path / "a.npz", kept), WANTED).counts == {"camera": 60}
    empty = arrays | {"state": arrays["state"][:0], "state.stamp_ns": arrays["state.stamp_ns"][:0]}
    assert open_recording(write(tmp_path / "b.npz", empty), WANTED).counts == {"camera": 60}


def without(name):
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def replaced(**changes):
    return lambda arrays: arrays | {name.replace("__", "."): change(arrays) for name, change in changes.items()}


WRONG = {
    "no stamps": (without("image.stamp_ns"), "no array 'image.stamp_ns'"),
    "no data": (without("state"), "no array 'state'"),
    "fewer rows": (replaced(image=lambda a: a["image"][1:]), "has 59 rows, and image.stamp_ns 60"),
    "fewer stamps": (replaced(state__stamp_ns=lambda a: a["state.stamp_ns"][1:]), "200 rows, and state.stamp_ns 199"),
    "fewer arrivals": (replaced(image__arrival_ns=lambda a: a["image.arrival_ns"][1:]), "has 59 rows"),
    "stamps in seconds": (replaced(image__stamp_ns=lambda a: a["image.stamp_ns"] / 1e9), "float64; expected n int64"),
    "stamps of two dimensions": (replaced(image__stamp_ns=lambda a: a["image.stamp_ns"][None]), "1x60 int64"),
    "arrivals that go back": (replaced(image__arrival_ns=lambda a: a["image.arrival_ns"][::-1]), "goes back at row 1"),
    "another dtype": (replaced(image=lambda a: a["image"].astype(np.float64)), "float64; the model takes float32"),
    "another shape": (replaced(image=lambda a: a["image"][..., :7]), "60x1x8x7; expected (n)x1x1x8x8"),
    "labels without stamps": (replaced(label=lambda a: np.arange(4)), "no array 'label.stamp_ns'"),
    "labels out of order": (
        replaced(label=lambda a: np.arange(2), label__stamp_ns=lambda a: times(2, 1)[::-1]),
        "goes back at row 1",
    ),
    "labels of text": (
        replaced(label=lambda a: np.array(["a"]), label__stamp_ns=lambda a: times(1, 1)),
        "expected num",
    ),
    "a pickle": (replaced(image=lambda a: np.array([object()] * 60)), "Python objects"),
    "foreign": (lambda arrays: {"x": np.zeros(3)}, "none of the model's inputs, but x"),
    "nothing": (lambda arrays: {}, "none of the model's inputs, but nothing"),
    "all empty": (lambda arrays: {name: array[:0] for name, array in arrays.items()}, "no deliveries"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_recording_is_one_typed_error_that_names_the_place(kind, tmp_path):
    change, said = WRONG[kind]
    path = write(tmp_path / "r.npz", change(tiny()))
    with pytest.raises(RecordingError) as caught:
        open_recording(path, WANTED)
    assert said in caught.value.what and str(path) in caught.value.where and isinstance(caught.value, InputError)


def test_a_file_that_is_none_or_of_another_kind_is_refused(tmp_path):
    (tmp_path / "r.npz").write_bytes(b"PK\x03\x04 no zip")
    (tmp_path / "r.wav").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, said in [
        ("r.npz", "not an .npz"),
        ("r.wav", "a .wav file"),
        ("folder", "an empty folder"),
        ("none.npz", "no such"),
    ]:
        with pytest.raises(RecordingError, match=said):
            open_recording(tmp_path / name, WANTED)


def test_data_that_are_damaged_inside_are_found_while_they_are_read(tmp_path):
    path = tmp_path / "r.npz"
    np.savez(path, **tiny())
    data = bytearray(path.read_bytes())
    place = data.index(tiny()["image"].tobytes()[:64]) + 5000
    data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="damaged"):
        list(open_recording(path, WANTED).messages())


def test_memory_holds_one_message_of_each_stream_whatever_the_recordings_length(tmp_path):
    image = TensorSpec("image", (1, 3, 128, 128), stream="camera")
    arrays = {"image": np.zeros((300, 3, 128, 128), np.float32), "image.stamp_ns": times(300, 30)}
    path = write(tmp_path / "r.npz", arrays)  # 59 MB unpacked
    del arrays
    tracemalloc.start()
    recording = open_recording(path, {"camera": Wanted((image,))})
    assert sum(1 for _ in itertools.chain(recording.messages(), recording.messages(["camera"]))) == 600
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
