from __future__ import annotations

import shutil
import sqlite3
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import open_topics
from tests.recordings.reading import expected, flipped, read, try_read, unreadable
from tests.recordings.writers import (
    MS,
    START,
    WHEEL,
    drive,
    image,
    ros2,
    store,
    write_bag,
    write_rosbag2,
)

BAGS = {
    "uncompressed": {"chunk_size": 4000},
    "lz4": {"chunk_size": 4000, "compression": "lz4"},
    "bz2": {"chunk_size": 4000, "compression": "bz2"},
    "one chunk": {},
    "topic by topic": {"chunk_size": 4000, "ordered": False},
}
FOLDERS = {
    f"{storage} {compression or 'uncompressed'}": {"storage": storage, "compression": compression}
    for storage in ("sqlite3", "mcap")
    for compression in ("", "message", "file")
}


def write_any(folder, name, **options):
    """The drive as a rosbag1 or as a rosbag2."""
    if name in BAGS:
        return write_bag(folder / "a.bag", drive(version=1), **BAGS[name], **options)
    return write_rosbag2(folder / "a", drive(), **FOLDERS[name], **options)


@pytest.mark.parametrize("form", [*BAGS, *FOLDERS])
def test_every_message_is_read_as_the_rosbags_library_reads_it(tmp_path, form):
    path = write_any(tmp_path, form)
    topics, found = read(path)
    assert found == expected(drive()) and topics.damage == ""
    assert {name: topic.count for name, topic in topics.topics.items()} == {"/camera": 10, "/imu": 50, "/wheel": 5}
    assert topics.topics["/wheel"].type == WHEEL and topics.topics["/imu"].type == "sensor_msgs/msg/Imu"
    ours = {(raw.topic, raw.arrival_ns): raw.decode() for raw in topics.messages(topics.topics)}
    with AnyReader([path]) as reader:
        theirs = {
            (connection.topic, time_ns): reader.deserialize(data, connection.msgtype)
            for connection, time_ns, data in reader.messages()
        }
    assert ours.keys() == theirs.keys() and all(_same(ours[key], theirs[key]) for key in ours)
    topics.close()


def _same(one, other):
    if hasattr(one, "__msgtype__"):
        return all(_same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    return np.array_equal(one, other)


@pytest.mark.parametrize("form", ["lz4", "sqlite3 uncompressed", "mcap uncompressed"])
def test_it_can_be_read_again_and_by_two_at_the_same_time(tmp_path, form):
    topics = open_topics(write_any(tmp_path, form))
    one, two = topics.messages(["/imu", "/camera"]), topics.messages(["/imu"])
    ahead = [next(one) for _ in range(30)]
    imus = [raw.decode().angular_velocity.x for raw in two]
    assert imus == list(range(50)) and len(list(one)) == 30
    assert [raw.decode().angular_velocity.x for raw in reversed(ahead) if raw.topic == "/imu"] == list(
        range(24, -1, -1)
    )
    assert list(topics.messages([])) == []


@pytest.mark.parametrize("form", ["uncompressed", "lz4", "bz2", "topic by topic"])
def test_a_bag_that_was_cut_is_read_as_far_as_it_goes(tmp_path, form):
    path = write_any(tmp_path, form)
    data, every, most = path.read_bytes(), expected(drive()), 0
    for end in [*range(0, len(data), max(1, len(data) // 120)), len(data) - 1]:
        path.write_bytes(data[:end])
        damage, found = try_read(path)
        assert found == [item for item in every if item in found] and (len(found) == len(every) or damage)
        most = max(most, len(found)) if "cut short after" in damage else most
    assert most >= 60


def test_a_bag_that_was_never_closed_has_its_chunks(tmp_path):
    path = write_any(tmp_path, "lz4")
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + len(b"index_pos=")
    index = int.from_bytes(data[at : at + 8], "little")
    data[at : at + 8] = bytes(8)
    active = tmp_path / "a.bag.active"
    active.write_bytes(data[:index])
    topics, found = read(active)
    assert found == expected(drive()) and topics.damage == "cut short after 1.0 s"


def test_a_damaged_chunk_is_left_out_and_said_once(tmp_path):
    path = write_any(tmp_path, "bz2")
    blocks = open_topics(path).blocks.blocks
    data = bytearray(path.read_bytes())
    data[blocks[2].offset + 30] ^= 0x55
    path.write_bytes(data)
    topics = open_topics(path)
    for _ in range(2):
        assert 40 < len(list(topics.messages(topics.topics))) < 65
        assert topics.damage == f"1 of {len(blocks)} chunks: its bz2 data are damaged"


@pytest.mark.parametrize("size", [0, 4096])
def test_a_database_that_was_cut_is_read_as_far_as_it_goes(tmp_path, size):
    whole = drive(2, side=64)
    path = write_rosbag2(tmp_path / "a", whole) / "a.db3"
    data, every, most = path.read_bytes(), expected(whole), 0
    step = size or 9973
    for end in range(0, len(data), step):
        path.write_bytes(data[:end])
        damage, found = try_read(path)
        assert damage and len(set(found)) == len(found) and set(found) <= set(every)
        most = max(most, len(found))
        assert len(found) == len(every) or "cut short" in damage or end < 20 * 4096
    assert most > len(every) * 0.8


def test_a_damaged_page_costs_the_messages_on_it(tmp_path):
    whole = drive(2, side=64)
    path = write_rosbag2(tmp_path / "a", whole) / "a.db3"
    data = bytearray(path.read_bytes())
    for page in range(len(data) // 4096 // 2, len(data) // 4096 // 2 + 3):
        data[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    path.write_bytes(data)
    topics, found = read(path)
    assert 0.5 * len(expected(whole)) < len(found) < len(expected(whole)) and topics.damage


def test_what_lies_in_the_log_beside_a_database_is_read(tmp_path):
    path = write_rosbag2(tmp_path / "a", drive()) / "a.db3"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(
        "INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, timestamp + 1, data FROM messages"
    )
    database.commit()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", crashed / f"a.db3{end}")
    database.close()
    topics, found = read(crashed / "a.db3")
    assert len(found) == 130 and topics.damage == ""


def test_a_database_without_definitions_has_the_types_that_ros_ships(tmp_path):
    path = write_rosbag2(tmp_path / "a", drive()) / "a.db3"
    database = sqlite3.connect(path)
    database.execute("DROP TABLE message_definitions")
    database.execute("UPDATE schema SET schema_version = 3")
    database.commit()
    database.close()
    topics = open_topics(path)
    assert len(list(topics.messages(["/imu", "/camera"]))) == 60
    with pytest.raises(RecordingError, match=r"a\.db3: /wheel: the type edge_msgs/msg/Wheel is not known.*\n.*MCAP"):
        topics.messages(["/wheel", "/imu"])


def test_the_types_are_those_of_the_distribution_that_recorded(tmp_path):
    message = ros2("sensor_msgs/msg/Range", range=2.5)  # which has a field more from Iron on
    path = write_rosbag2(tmp_path / "a", {"/range": [(START, START, message)]})
    database = sqlite3.connect(path / "a.db3")
    database.execute("DROP TABLE message_definitions")
    database.execute("UPDATE messages SET data = substr(data, 1, length(data) - 4)")
    database.commit()
    metadata = (path / "metadata.yaml").read_text()
    for name, decodes in (("humble", True), ("kilted", False)):
        (path / "metadata.yaml").write_text(metadata.replace("ros_distro: rosbags", f"ros_distro: {name}"))
        database.execute("UPDATE schema SET ros_distro = ?", (name,))
        database.commit()
        for place in (path, path / "a.db3"):
            (raw,) = open_topics(place).messages(["/range"])
            if decodes:
                assert raw.decode().range == 2.5
            else:
                with pytest.raises(ValueError):
                    raw.decode()
    database.close()


def split_bag(folder, storage="mcap"):
    """Three files of a third of the drive each, as ``ros2 bag record -b`` makes them."""
    whole = drive(3)
    names = []
    folder.mkdir()
    for number in range(3):
        start, end = START + number * 1000 * MS, START + (number + 1) * 1000 * MS
        part = {topic: [item for item in items if start <= item[1] < end] for topic, items in whole.items()}
        one = write_rosbag2(folder / f"part{number}", part, storage=storage)
        suffix = {"mcap": ".mcap", "sqlite3": ".db3"}[storage]
        names.append(f"drive_{number + 8}{suffix}")
        shutil.move(one / f"part{number}{suffix}", folder / names[-1])
        metadata = (one / "metadata.yaml").read_text()
        shutil.rmtree(one)
    old = f"- part2{suffix}\n"
    listed = metadata.replace(old, "".join(f"- drive/{name}\n  " for name in names).rstrip(" "), 1)
    assert listed != metadata
    (folder / "metadata.yaml").write_text(listed)
    return folder, names, expected(whole)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_of_several_files(tmp_path, storage):
    folder, names, every = split_bag(tmp_path / "drive", storage)
    topics, found = read(folder)
    assert found == every and topics.damage == "" and topics.topics["/imu"].count == 150
    (folder / "metadata.yaml").unlink()  # it is written last; drive_10 comes behind drive_9
    topics, found = read(folder)
    assert found == every and topics.damage == "metadata.yaml is missing: the recorder did not end"
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    topics, found = read(folder)
    assert found == every and topics.damage == "metadata.yaml is damaged"
    (folder / names[1]).write_bytes(b"")
    topics, found = read(folder)
    assert len(found) == 130 and topics.damage == f"metadata.yaml is damaged; {names[1]}: is empty: 0 bytes"


def test_a_file_that_metadata_names_is_missing(tmp_path):
    folder, names, _ = split_bag(tmp_path / "drive")
    (folder / names[1]).unlink()
    topics, found = read(folder)
    assert len(found) == 130 and topics.damage == f"{names[1]}: is missing"
    for name in (names[0], names[2]):
        (folder / name).unlink()
    with pytest.raises(RecordingError, match=f"drive: {names[0]}: is missing; .*{names[2]}: is missing"):
        open_topics(folder)


METADATA = {
    "nothing": "",
    "no bag": "a: 1",
    "a list": "[1, 2]",
    "no files": "rosbag2_bagfile_information: {relative_file_paths: 5}",
    "an alias that goes round": "rosbag2_bagfile_information: &a [*a]",
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("text", METADATA.values(), ids=METADATA)
def test_metadata_that_is_none(tmp_path, text):
    folder = write_rosbag2(tmp_path / "a", drive())
    (folder / "metadata.yaml").write_text(text)
    topics, found = read(folder)
    assert found == expected(drive()) and topics.damage == "metadata.yaml is damaged"


def test_metadata_does_not_lead_out_of_the_folder(tmp_path):
    folder = write_rosbag2(tmp_path / "a", drive(), storage="mcap")
    shutil.move(folder / "a.mcap", tmp_path / "a.mcap")
    text = (folder / "metadata.yaml").read_text().replace("- a.mcap", "- ../a.mcap")
    (folder / "metadata.yaml").write_text(text)
    with pytest.raises(RecordingError, match=r"a\.mcap: is missing"):
        open_topics(folder)


def test_a_compressed_file_that_was_cut(tmp_path):
    noise = [image(np.random.default_rng(n).integers(0, 255, (64, 64), np.uint8), "mono8") for n in range(100)]
    whole = {"/camera": [(START + n, START + n, message) for n, message in enumerate(noise)]}
    path = write_rosbag2(tmp_path / "a", whole, storage="mcap", compression="file") / "a.mcap.zstd"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    topics, found = read(path.parent)
    assert 20 < len(found) < 100 and topics.damage.startswith("a.mcap.zstd: cut short after")
    unpacked = Path(topics.unpacked.name)
    assert unpacked.is_dir()
    topics.close()
    assert not unpacked.exists()
    path.write_bytes(b"text" * 100)
    with pytest.raises(RecordingError, match=r"its zstd data are damaged; a\.mcap\.zstd: is empty"):
        open_topics(path.parent)


NO_BAG = {
    "bag empty": ("a.bag", b"", "is empty: 0 bytes"),
    "bag text": ("a.bag", b"hello\n" * 50, "is no ROS 1 bag"),
    "bag of version 1.2": ("a.bag", b"#ROSBAG V1.2\n" + bytes(100), r"version V1\.2; expected V2\.0\n.*rosbag fix"),
    "bag cut": ("a.bag", b"#ROSBAG V2.0\n", "nothing of it can be read: cut short"),
    "db3 empty": ("a.db3", b"", "is empty: 0 bytes"),
    "db3 text": ("a.db3", b"hello\n" * 50, "is no sqlite3 database"),
    "db3 damaged": ("a.db3", b"SQLite format 3\0" + b"\x10\x00" + bytes(500), "is no bag that can be read"),
}


@pytest.mark.parametrize("name, data, message", NO_BAG.values(), ids=NO_BAG)
def test_what_is_no_bag(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordingError, match=message):
        open_topics(tmp_path / name)


def test_a_database_of_something_else(tmp_path):
    database = sqlite3.connect(tmp_path / "a.db3")
    database.execute("CREATE TABLE people (id INTEGER)")
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id FROM c"
    database.execute(f"CREATE VIEW messages AS {endless}")
    database.execute(f"CREATE VIEW topics AS {endless}")
    database.commit()
    database.close()
    with pytest.raises(RecordingError, match="expected tables topics and messages, found people"):
        open_topics(tmp_path / "a.db3")


def test_rows_of_a_wrong_kind_are_counted(tmp_path):
    path = write_rosbag2(tmp_path / "a", drive()) / "a.db3"
    database = sqlite3.connect(path)
    database.execute("UPDATE messages SET data = 'text' WHERE id = 3")
    database.execute("UPDATE messages SET timestamp = 'noon' WHERE id = 4")
    database.execute("UPDATE messages SET topic_id = 99 WHERE id = 5")
    database.commit()
    database.close()
    topics, found = read(path)
    assert len(found) == 62
    assert topics.damage == "2 messages are of no topic or of no time; 1 messages lie on damaged pages"


def test_another_serialization_is_an_error_only_where_it_is_wanted(tmp_path):
    path = write_rosbag2(tmp_path / "a", drive()) / "a.db3"
    database = sqlite3.connect(path)
    database.execute("UPDATE topics SET serialization_format = 'protobuf' WHERE name = '/wheel'")
    database.commit()
    database.close()
    topics = open_topics(path)
    assert len(list(topics.messages(["/imu"]))) == 50
    with pytest.raises(RecordingError, match="/wheel: its messages are encoded as 'protobuf'; expected 'cdr'"):
        topics.messages(["/wheel"])


def test_empty_recordings(tmp_path):
    for path in (write_bag(tmp_path / "a.bag", {}), write_rosbag2(tmp_path / "b", {})):
        topics, found = read(path)
        assert topics.topics == {} and found == [] and topics.damage == ""


@pytest.mark.parametrize("form", ["lz4", "sqlite3 uncompressed", "mcap uncompressed"])
def test_without_permission(tmp_path, form):
    path = write_any(tmp_path, form)
    open_topics(path).close()
    with (
        unreadable(path) as copy,
        pytest.raises(RecordingError, match=f"{path.name}.*: cannot be read: Permission denied"),
    ):
        open_topics(copy)


def test_a_damaged_message_raises_value_error(tmp_path):
    path = write_rosbag2(tmp_path / "a", drive(), compression="message") / "a.db3"
    database = sqlite3.connect(path)
    zstd = bytes(database.execute("SELECT data FROM messages WHERE id = 3").fetchone()[0])
    for row, data in enumerate((b"", b"\0\1", zstd[:20], zstd[:-3], b"\x28\xb5\x2f\xfd"), 1):
        database.execute("UPDATE messages SET data = ? WHERE id = ?", (data, row))
    database.commit()
    database.close()
    topics = open_topics(path)
    for raw in list(topics.messages(topics.topics))[:5]:
        with pytest.raises(ValueError, match=r"\w{4}"):
            raw.decode()


@pytest.mark.parametrize("form", ["bag", "sqlite3"])
def test_memory_holds_a_chunk_not_the_file(tmp_path, form):
    frame = image(np.random.default_rng(0).integers(0, 255, (1024, 512), np.uint8), "mono8", 1 if form == "bag" else 2)
    whole = {"/camera": [(START + n, START + n, frame) for n in range(64)]}
    path = write_bag(tmp_path / "a.bag", whole) if form == "bag" else write_rosbag2(tmp_path / "a", whole)
    tracemalloc.start()
    topics = open_topics(path)
    count = sum(1 for _ in topics.messages(["/camera"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 64 and peak < 8 << 20


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["uncompressed", "lz4", "bz2", "topic by topic", "db3"]),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_whatever_is_damaged_nothing_else_happens_than_an_error_or_less(tmp_path, form, flips, keep):
    whole = tmp_path / form / ("a.db3" if form == "db3" else "a.bag")
    if not whole.parent.exists():
        if form == "db3":
            write_rosbag2(tmp_path / "db3", drive(0.4))
            shutil.move(tmp_path / "db3/db3.db3", whole)
        else:
            whole.parent.mkdir()
            write_bag(whole, drive(0.4, version=1), **BAGS[form])
    data, path = flipped(whole.read_bytes(), flips), tmp_path / f"b{whole.suffix}"
    path.write_bytes(data[: int(keep * len(data))])
    damage, found = try_read(path)
    assert damage or len(found) == len(expected(drive(0.4)))


def test_the_stores_of_the_tests_are_those_of_the_reader():
    assert WHEEL in store(1).fielddefs and WHEEL in store(2).fielddefs
