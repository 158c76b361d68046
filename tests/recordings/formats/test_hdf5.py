from __future__ import annotations

import itertools
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import open_topics
from tests.recordings.reading import flipped, read, try_read, unreadable
from tests.recordings.writers import MS, START, write_hdf5

TIMES = START + np.arange(20) * 50 * MS
ROWS = np.arange(40.0).reshape(20, 2)


def stamps(path, name):
    return [raw.stamp_ns for raw in open_topics(path).messages([name])]


def test_datasets_are_topics_and_rows_messages(tmp_path):
    images = np.arange(20 * 4 * 6 * 3, dtype=np.uint8).reshape(20, 4, 6, 3)
    path = write_hdf5(
        tmp_path / "a.h5",
        {
            "observations/images/top": images,
            "observations/qpos": ROWS,
            "observations/stamp_ns": TIMES,
            "said": [f"word {n}" for n in range(20)],
            "said.stamp_ns": TIMES + MS,
        },
    )
    topics, found = read(path)
    assert {name: (topic.type, topic.count) for name, topic in topics.topics.items()} == {
        "observations/images/top": ("uint8 4x6x3", 20),
        "observations/qpos": ("float64 2", 20),
        "said": ("text scalar", 20),
    }
    assert len(found) == 60 and topics.damage == ""
    for index, raw in enumerate(topics.messages(["observations/images/top"])):
        assert np.array_equal(raw.decode(), images[index]) and raw.decode().dtype == np.uint8
        assert raw.stamp_ns == raw.arrival_ns == TIMES[index]
        raw.decode()[...] = 0  # it is the caller's own
    assert [raw.decode() for raw in topics.messages(["said"])] == [f"word {n}" for n in range(20)]
    topics.close()


ORDER = {
    "its own": ("a/x.stamp_ns", TIMES),
    "its group's": ("a/stamp_ns", TIMES + 1),
    "its group's timestamp": ("a/timestamp", (TIMES + 2 * MS) / 1e9),
    "its group's timestamps": ("a/timestamps", (TIMES + 3 * MS) / 1e9),
    "its group's time": ("a/time", (TIMES + 4 * MS) / 1e9),
    "the file's": ("stamp_ns", TIMES + 5),
    "the file's timestamp, in nanoseconds": ("timestamp", TIMES + 6),
}


def test_times_are_looked_for_in_this_order(tmp_path):
    for first in range(len(ORDER)):
        given = dict(list(ORDER.values())[first:])
        path = write_hdf5(tmp_path / f"{first}.h5", {"a/x": ROWS, **given}, rate_hz=1)
        place, times = next(iter(given.items()))
        expected = times if times.dtype == np.int64 else np.round(times * 1e9)
        assert stamps(path, "a/x") == expected.tolist(), place
        assert list(open_topics(path).topics) == ["a/x"], "times are no topics"


def test_times_of_another_length_are_passed_over(tmp_path):
    given = {"a/x": ROWS, "a/timestamp": np.arange(19.0), "stamp_ns": TIMES.reshape(20, 1)}
    assert stamps(write_hdf5(tmp_path / "a.h5", given), "a/x") == TIMES.tolist()


@pytest.mark.parametrize("place", ["a/x", "a", "/"])
@pytest.mark.parametrize("name", ["rate_hz", "fps"])
def test_a_rate_stands_for_times(tmp_path, place, name):
    path = write_hdf5(tmp_path / "a.h5", {"a/x": ROWS, "b": ROWS})
    with h5py.File(path, "a") as file:
        file[place].attrs[name] = 50
    assert stamps(path, "a/x") == [10_000_000_000 + n * 20 * MS for n in range(20)]


def test_without_times_the_error_says_what_was_looked_for(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", {"a/x": ROWS, "a/timestamp": np.arange(19.0), "b": ROWS, "b.stamp_ns": TIMES})
    topics = open_topics(path)
    assert len(list(topics.messages(["b"]))) == 20
    with pytest.raises(RecordingError) as caught:
        topics.messages(["b", "a/x"])
    for text in (
        "a.h5: a/x",
        "a/x.stamp_ns",
        "a/timestamp (which is float64 of (19,)",
        "rate_hz",
        "fps",
        "a/x.stamp_ns.",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize("value", [0, -5, "fast", [1, 2], np.nan], ids=str)
def test_a_rate_that_is_none(tmp_path, value):
    path = write_hdf5(tmp_path / "a.h5", {"x": ROWS}, fps=value)
    with pytest.raises(RecordingError, match=r"the attribute fps of / is .*; expected Hz"):
        open_topics(path).messages(["x"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_times_that_are_none(tmp_path, value):
    times = np.arange(20.0)
    times[7] = value
    path = write_hdf5(tmp_path / "a.h5", {"x": ROWS, "time": times})
    with pytest.raises(RecordingError, match=r"x: time: row 7 is .*, which is no time"):
        open_topics(path).messages(["x"])


def test_arrivals_and_stamps_that_go_back(tmp_path):
    back = TIMES.copy()
    back[3] = START
    given = {"x": ROWS, "x.stamp_ns": back, "y": ROWS, "y.stamp_ns": TIMES, "y.arrival_ns": TIMES + 7 * MS}
    _, found = read(write_hdf5(tmp_path / "a.h5", given))
    times = {name: [item[1:] for item in found if item[0] == name] for name in "xy"}
    assert times["x"][3] == (START, TIMES[2]) and times["x"][4] == (TIMES[4], TIMES[4])
    assert times["y"] == [(time, time + 7 * MS) for time in TIMES]


def test_episodes_lie_one_behind_another_with_a_gap(tmp_path):
    given = {}
    for number, count in ((0, 4), (2, 3), (10, 5)):
        given[f"data/demo_{number}/obs/qpos"] = np.full((count, 2), number)
        given[f"data/demo_{number}/actions"] = np.full((count, 1), number)
    topics, found = read(write_hdf5(tmp_path / "a.hdf5", given, fps=10))
    assert {name: topic.count for name, topic in topics.topics.items()} == {"actions": 12, "obs/qpos": 12}
    expected = [10, 10.1, 10.2, 10.3, 20.3, 20.4, 20.5, 30.5, 30.6, 30.7, 30.8, 30.9]
    for name in topics.topics:
        assert [item[2] / 1e9 for item in found if item[0] == name] == pytest.approx(expected)
        numbers = [raw.decode()[0] for raw in topics.messages([name])]
        assert numbers == [0] * 4 + [2] * 3 + [10] * 5


def test_rows_can_be_decoded_in_any_order_and_by_two_at_the_same_time(tmp_path):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).integers(0, 255, (50, 16, 16), np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("plain", data=values)
        file.create_dataset("packed", data=values, chunks=(7, 16, 16), compression="gzip")
        file.create_dataset("split", data=values, chunks=(3, 5, 16), compression="lzf", fletcher32=True)
        file.attrs["fps"] = 10
    topics = open_topics(path)
    every = list(topics.messages(topics.topics))
    for raw in np.random.default_rng(1).permutation(np.array(every, dtype=object)).tolist():
        index = (raw[2] - 10_000_000_000) // (100 * MS)
        assert np.array_equal(raw[3](), values[index])
    for one, two in itertools.zip_longest(
        topics.messages(["packed"]), itertools.islice(topics.messages(["packed"]), 9, None)
    ):
        assert one.decode().shape == (16, 16) and (two is None or two.decode().shape == (16, 16))


def test_other_kinds_of_rows(tmp_path):
    kind = np.dtype([("speed", "f4"), ("place", "i4", (2,)), ("name", "S5")])
    pair = np.array([(1.5, (1, 2), b"left"), (2.5, (3, 4), b"right")], kind)
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(3, dtype=np.uint8), np.arange(5, dtype=np.uint8)]
    path = write_hdf5(tmp_path / "a.h5", {"pair": pair, "number": [1, 2], "bytes": np.array([b"a", b"b"])}, fps=1)
    with h5py.File(path, "a") as file:
        file.create_dataset("ragged", data=ragged, dtype=h5py.vlen_dtype(np.uint8))
    found = {}
    for raw in open_topics(path).messages(["pair", "number", "bytes", "ragged"]):
        found.setdefault(raw.topic, []).append(raw.decode())
    assert found["pair"][1]["speed"] == 2.5 and found["pair"][0]["place"].tolist() == [1, 2]
    assert found["pair"][1]["name"] == "right" and found["bytes"] == ["a", "b"]
    assert found["number"][1] == 2 and found["ragged"][1].tolist() == [0, 1, 2, 3, 4]


def test_scalars_links_and_foreign_files_are_no_topics(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(40)))
    path = write_hdf5(tmp_path / "a.h5", {"x": ROWS, "scalar": 5}, fps=1)
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/x")
        file["far"] = h5py.ExternalLink("b.h5", "/x")
        file.create_dataset("outside", (10,), np.uint8, external=[(str(secret), 0, 40)])
    assert list(open_topics(path).topics) == ["x"]


def test_a_damaged_chunk_raises_for_its_rows(tmp_path):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).integers(0, 255, (20, 1000), np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(5, 1000), fletcher32=True)
        file.attrs["fps"] = 10
    with h5py.File(path) as file:
        offset = file["x"].id.get_chunk_info_by_coord((5, 0)).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[offset + 10] ^= 1
    path.write_bytes(damaged)
    for index, raw in enumerate(open_topics(path).messages(["x"])):
        if 5 <= index < 10:
            with pytest.raises(ValueError, match=f"row {index} cannot be read: "):
                raw.decode()
        else:
            assert np.array_equal(raw.decode(), values[index])


def test_datasets_that_claim_too_much(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("long", (1 << 40,), np.uint8, chunks=(1024,))
        file.create_dataset("wide", (3, 1 << 40), np.uint8, chunks=(1, 1024))
        file.attrs["fps"] = 10
    topics = open_topics(path)
    assert list(topics.topics) == ["wide"] and topics.damage == "long claims to have 1099511627776 rows"
    for raw in topics.messages(["wide"]):
        with pytest.raises(ValueError, match="claims to have 1099511627776 bytes"):
            raw.decode()


NO_FILE = {
    "empty": (b"", "is empty: 0 bytes"),
    "text": (b"hello\n" * 100, r"a\.h5: is no HDF5 file"),
    "its first bytes": (b"\x89HDF\r\n\x1a\n" + bytes(100), "is no HDF5 file that can be read"),
}


@pytest.mark.parametrize("data, message", NO_FILE.values(), ids=NO_FILE)
def test_what_is_no_hdf5(tmp_path, data, message):
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(RecordingError, match=message):
        open_topics(tmp_path / "a.h5")


def test_cut_anywhere(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", {"x": ROWS, "y": np.zeros((20, 500))}, fps=10)
    data = path.read_bytes()
    for end in range(0, len(data), len(data) // 50):
        path.write_bytes(data[:end])
        with pytest.raises(RecordingError, match=f"is cut short: {end} bytes are there" if end > 200 else "is "):
            open_topics(path)


def test_a_file_without_datasets(tmp_path):
    topics, found = read(write_hdf5(tmp_path / "a.h5", {}))
    assert topics.topics == {} and found == [] and topics.damage == ""


def test_without_permission(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", {"x": ROWS}, fps=10)
    open_topics(path)
    with unreadable(path) as copy, pytest.raises(RecordingError, match=r"a\.h5: cannot be read: .*Permission denied"):
        open_topics(copy)


def test_memory_holds_a_few_rows(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (64, 1 << 20), np.uint8, chunks=(1, 1 << 20))
        for row in range(64):
            data[row] = row
        file.create_dataset("plain", (64, 1 << 20), np.uint8)[:8] = 1
        file.attrs["fps"] = 10
    tracemalloc.start()
    for raw in open_topics(path).messages(["x", "plain"]):
        raw.decode()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_whatever_is_damaged_nothing_else_happens_than_an_error_or_less(tmp_path, flips, keep):
    whole = tmp_path / "whole.h5"
    if not whole.exists():
        write_hdf5(whole, {"a/x": ROWS, "a/said": [f"word {n}" for n in range(20)], "a/time": TIMES / 1e9})
    data, path = flipped(whole.read_bytes(), flips), tmp_path / "a.h5"
    path.write_bytes(data[: int(keep * len(data))])
    try_read(path)
