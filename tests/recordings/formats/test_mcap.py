from __future__ import annotations

import itertools
import struct
import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import blocks, open_topics
from tests.recordings.reading import expected, flipped, read, try_read, unreadable
from tests.recordings.writers import (
    MS,
    START,
    WHEEL,
    drive,
    image,
    protobuf_type,
    ros2,
    store,
    write_mcap_json,
    write_mcap_protobuf,
    write_mcap_ros1,
    write_mcap_ros2,
)

FORMS = {
    "zstd": {"chunk_size": 4000},
    "lz4": {"chunk_size": 4000, "compression": "lz4"},
    "uncompressed": {"chunk_size": 4000, "compression": ""},
    "one chunk": {},
    "a chunk per message": {"chunk_size": 1},
    "unindexed": {"chunk_size": 4000, "indexed": False},
    "no message index": {"chunk_size": 4000, "index_types": IndexType.CHUNK},
    "no channels in the summary": {"chunk_size": 4000, "repeat_channels": False, "repeat_schemas": False},
    "no statistics": {"chunk_size": 4000, "use_statistics": False},
    "no checksums": {"chunk_size": 4000, "enable_crcs": False},
    "unchunked": {"use_chunking": False},
    "unchunked, unindexed": {"use_chunking": False, "indexed": False},
    "topic by topic": {"chunk_size": 4000, "ordered": False},
    "unchunked, topic by topic": {"use_chunking": False, "ordered": False},
}


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_every_message_is_read_in_order_of_arrival_with_its_stamp(tmp_path, options):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(), **options)
    topics, found = read(path)
    assert found == expected(drive()) and topics.damage == ""
    assert {name: topic.count for name, topic in topics.topics.items()} == {"/camera": 10, "/imu": 50, "/wheel": 5}
    assert topics.topics["/wheel"].type == WHEEL
    topics.close()


@pytest.mark.parametrize("options", [{"chunk_size": 4000}, {"chunk_size": 4000, "ordered": False}], ids=str)
def test_contents_are_those_that_the_mcap_library_finds(tmp_path, options):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(), **options)
    with path.open("rb") as file:
        theirs = [
            (channel.topic, message.log_time, message.data) for _, channel, message in make_reader(file).iter_messages()
        ]
    topics = open_topics(path)
    ours = list(topics.messages(topics.topics))
    assert sorted((raw.topic, raw.arrival_ns) for raw in ours) == sorted(item[:2] for item in theirs)
    data = {item[:2]: item[2] for item in theirs}
    for raw in ours:
        name = topics.topics[raw.topic].type
        assert bytes(store(2).serialize_cdr(raw.decode(), name)) == data[raw.topic, raw.arrival_ns]


def test_messages_of_a_custom_type_have_its_fields(tmp_path):
    message = ros2(WHEEL, speed=2.5, raw=[1, 2], names=["a", "b"])
    path = write_mcap_ros2(tmp_path / "a.mcap", {"/wheel": [(START, START + MS, message)]})
    (raw,) = open_topics(path).messages(["/wheel"])
    found = raw.decode()
    assert (found.speed, found.raw.tolist(), found.names, found.header.stamp.sec) == (2.5, [1, 2], ["a", "b"], 5)


def test_a_message_can_be_decoded_after_the_next_ones_were_read(tmp_path):
    topics = open_topics(write_mcap_ros2(tmp_path / "a.mcap", drive(), chunk_size=4000))
    every = list(topics.messages(["/camera", "/imu"]))
    assert [raw.decode().data[0] for raw in every if raw.topic == "/camera"] == list(range(10))
    assert [raw.decode().angular_velocity.x for raw in reversed(every) if raw.topic == "/imu"] == list(
        range(49, -1, -1)
    )


def test_it_can_be_read_twice_at_the_same_time(tmp_path):
    topics = open_topics(write_mcap_ros2(tmp_path / "a.mcap", drive(), chunk_size=4000))
    pairs = list(itertools.zip_longest(topics.messages(["/imu"]), topics.messages(["/imu"])))
    assert len(pairs) == 50 and all(one[:3] == two[:3] for one, two in pairs)
    assert next(topics.messages(["/imu"])).arrival_ns == START
    assert list(topics.messages([])) == list(topics.messages(["/nothing"])) == []


def test_only_chunks_with_the_topic_are_read(tmp_path):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(side=64), chunk_size=4000, compression="", ordered=False)
    data = bytearray(path.read_bytes())
    at = data.index(bytes([7]) * 64)  # in a frame
    data[at] ^= 1
    path.write_bytes(data)
    topics, found = read(path, ["/imu", "/wheel"])
    assert len(found) == 55 and topics.damage == ""
    assert len(list(topics.messages(["/camera"]))) == 9 and "1 of" in topics.damage


STAMPS = {
    "a header": (ros2("sensor_msgs/msg/Imu"), START, START),
    "a header of a custom type": (ros2(WHEEL), START + 1, START + 1),
    "0": (ros2("sensor_msgs/msg/Imu"), 0, None),
    "no header": (ros2("std_msgs/msg/Float64"), None, None),
    "a header that is not first": (ros2("tf2_msgs/msg/TFMessage"), None, None),
    "damaged nanoseconds": (ros2("sensor_msgs/msg/Imu", **{"header.stamp.nanosec": 1 << 31}), None, None),
    "before 1970": (ros2("sensor_msgs/msg/Imu", **{"header.stamp.sec": -5}), None, None),
}


@pytest.mark.parametrize("message, stamp, found", STAMPS.values(), ids=STAMPS)
def test_the_stamp_is_the_headers(tmp_path, message, stamp, found):
    path = write_mcap_ros2(tmp_path / "a.mcap", {"/a": [(stamp, START + MS, message)]})
    (raw,) = open_topics(path).messages(["/a"])
    assert (raw.stamp_ns, raw.arrival_ns) == (found, START + MS)


def test_a_ros1_header_has_its_stamp_behind_the_sequence_number(tmp_path):
    path = write_mcap_ros1(tmp_path / "a.mcap", drive(version=1))
    topics, found = read(path)
    assert found == expected(drive()) and topics.topics["/imu"].type == "sensor_msgs/msg/Imu"
    assert [raw.decode().speed for raw in topics.messages(["/wheel"])] == [0, 0.5, 1, 1.5, 2]


def test_big_endian_messages(tmp_path):
    message = ros2("sensor_msgs/msg/Imu", **{"header.stamp.sec": 7, "angular_velocity.x": 3.0})
    data = bytes(store(2).serialize_cdr(message, message.__msgtype__, little_endian=False))
    path = _write_raw(tmp_path / "a.mcap", "sensor_msgs/msg/Imu", [data])
    (raw,) = open_topics(path).messages(["/a"])
    assert raw.stamp_ns == 7_000_000_000 and raw.decode().angular_velocity.x == 3.0


def _write_raw(path, type_name, messages, encoding="cdr", schema="ros2msg", text=None):
    if text is None:
        text = store(2).generate_msgdef(type_name, ros_version=2)[0].encode()
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        channel = writer.register_channel("/a", encoding, writer.register_schema(type_name, schema, text))
        other = writer.register_channel("/json", "json", 0)
        for number, data in enumerate(messages):
            writer.add_message(channel, START + number, data, 0)
            writer.add_message(other, START + number, b"{}", 0)
        writer.finish()
    return path


def test_definitions_in_idl(tmp_path):
    line = "=" * 80
    text = (
        f"{line}\nIDL: edge_msgs/msg/Speed\nmodule edge_msgs {{ module msg {{ struct Speed {{ std_msgs::msg::Header "
        f"header; double value; }}; }}; }};\n{line}\nIDL: std_msgs/msg/Header\nmodule std_msgs {{ module msg {{ struct "
        f"Header {{ builtin_interfaces::msg::Time stamp; string frame_id; }}; }}; }};\n"
    )
    data = struct.pack("<4siII4xd", b"\0\1\0\0", 7, 5, 1, 2.5)
    path = _write_raw(tmp_path / "a.mcap", "edge_msgs/msg/Speed", [data], schema="ros2idl", text=text.encode())
    (raw,) = open_topics(path).messages(["/a"])
    assert raw.stamp_ns == 7_000_000_005 and raw.decode().value == 2.5


def test_a_schema_without_text_is_what_ros_ships(tmp_path):
    message = ros2("sensor_msgs/msg/Imu", **{"angular_velocity.x": 3.0})
    data = bytes(store(2).serialize_cdr(message, message.__msgtype__))
    path = _write_raw(tmp_path / "a.mcap", "sensor_msgs/msg/Imu", [data], text=b"")
    assert next(open_topics(path).messages(["/a"])).decode().angular_velocity.x == 3.0
    path = _write_raw(tmp_path / "b.mcap", WHEEL, [data], text=b"")
    with pytest.raises(RecordingError, match=r"b\.mcap: /a: the type edge_msgs/msg/Wheel is not known"):
        open_topics(path).messages(["/a"])


JSON = {
    "sec and nsec": ({"timestamp": {"sec": 5, "nsec": 7}}, 5_000_000_007),
    "sec and nanosec": ({"header": {"stamp": {"sec": 5, "nanosec": 7}}, "timestamp": {"sec": 1}}, 5_000_000_007),
    "stamp": ({"stamp": {"secs": 5, "nsecs": 7}}, 5_000_000_007),
    "0": ({"timestamp": {"sec": 0, "nsec": 0}}, None),
    "text": ({"timestamp": "2026-01-01T00:00:00Z"}, None),
    "a bool": ({"timestamp": {"sec": True, "nsec": 0}}, None),
    "none": ({"value": 1}, None),
    "a list": ([1, 2], None),
}


@pytest.mark.parametrize("message, stamp", JSON.values(), ids=JSON)
@pytest.mark.parametrize("schema", [None, {"type": "object"}], ids=["schemaless", "with schema"])
def test_json(tmp_path, message, stamp, schema):
    path = write_mcap_json(tmp_path / "a.mcap", {"/a": [(None, START, message)]}, schema=schema)
    topics = open_topics(path)
    (raw,) = topics.messages(["/a"])
    assert raw.decode() == message and raw.stamp_ns == stamp
    assert topics.topics["/a"].type == ("json" if schema is None else "edge.Json")


@pytest.mark.parametrize("data", [b"{", b"\xff", b"", b"[" * 100_000])
def test_json_that_is_none(tmp_path, data):
    path = write_mcap_json(tmp_path / "a.mcap", {"/a": [(None, START, data)]})
    (raw,) = open_topics(path).messages(["/a"])
    assert raw.stamp_ns is None
    with pytest.raises(ValueError):
        raw.decode()


def test_protobuf(tmp_path):
    sample = protobuf_type()
    message = sample(data=b"abc", values=[1.5, 2.5])
    message.timestamp.seconds, message.timestamp.nanos = 5, 7
    items = [(None, START, message), (None, START + 1, sample(data=b"d"))]
    topics = open_topics(write_mcap_protobuf(tmp_path / "a.mcap", {"/a": items}))
    assert topics.topics["/a"].type == "edge.Sample"
    first, second = topics.messages(["/a"])
    assert (first.stamp_ns, second.stamp_ns) == (5_000_000_007, None)
    assert first.decode().data == b"abc" and list(first.decode().values) == [1.5, 2.5]


def test_damaged_messages_raise_value_error_with_a_reason(tmp_path):
    for encoding, schema in (("cdr", "ros2msg"), ("protobuf", "protobuf")):
        if schema == "protobuf":
            path = write_mcap_protobuf(tmp_path / "p.mcap", {"/a": [(None, START, protobuf_type()(data=b"abcdef"))]})
            with path.open("rb") as file:
                text = next(make_reader(file).iter_messages())[0].data
            path = _write_raw(tmp_path / "a.mcap", "edge.Sample", [b"\xff\xff", b"\x12\x20a"], encoding, schema, text)
        else:
            path = _write_raw(tmp_path / "a.mcap", "sensor_msgs/msg/Imu", [b"", b"\0\1\0\0", b"\0\1\0\0" + b"\1" * 40])
        for raw in open_topics(path).messages(["/a"]):
            with pytest.raises(ValueError, match=r"\w{4}") as caught:
                raw.decode()
            assert " at 0x" not in str(caught.value), "the same of the same bytes"
        if schema == "ros2msg":
            first = next(open_topics(path).messages(["/a"]))
            with pytest.raises(ValueError, match="the message is empty: 0 bytes"):
                first.decode()


WRONG = {
    "encoding": ({"encoding": "msgpack"}, "encoded as 'msgpack', described by 'ros2msg'"),
    "schema": ({"schema": "flatbuffer"}, "encoded as 'cdr', described by 'flatbuffer'"),
    "definition": ({"text": b"float64 x\n???\n"}, r"definition of sensor_msgs/msg/Imu cannot be read"),
    "missing part": ({"text": b"geometry_msgs/Vector3 x\n"}, "definition of sensor_msgs/msg/Imu cannot be used"),
    "a type that holds itself": ({"text": b"sensor_msgs/Imu x\n"}, "cannot be used"),
    "descriptor": ({"encoding": "protobuf", "schema": "protobuf"}, "its schema cannot be used"),
}


@pytest.mark.parametrize("options, message", WRONG.values(), ids=WRONG)
def test_a_topic_that_cannot_be_decoded_is_an_error_only_where_it_is_wanted(tmp_path, options, message):
    path = _write_raw(tmp_path / "a.mcap", "sensor_msgs/msg/Imu", [b"\0\1\0\0"] * 3, **options)
    topics = open_topics(path)
    assert topics.topics["/a"].count == 3 and len(list(topics.messages(["/json"]))) == 3
    with pytest.raises(RecordingError, match=r"a\.mcap: /a: .*" + message):
        topics.messages(["/json", "/a"])


def test_two_schemas_of_one_topic(tmp_path):
    items = [
        (START, START + n, ros2(name)) for n, name in enumerate(["sensor_msgs/msg/Imu", WHEEL, "sensor_msgs/msg/Imu"])
    ]
    topics = open_topics(write_mcap_ros2(tmp_path / "a.mcap", {"/a": items}))
    assert topics.topics["/a"].type == f"sensor_msgs/msg/Imu, {WHEEL}" and topics.topics["/a"].count == 3
    assert [hasattr(raw.decode(), "speed") for raw in topics.messages(["/a"])] == [False, True, False]


@pytest.mark.parametrize("options", [{"chunk_size": 300}, {"use_chunking": False}, {}], ids=str)
def test_log_times_that_go_back(tmp_path, options):
    times = np.random.default_rng(0).permutation(200) * MS + START
    items = [(None, int(time), {"n": n}) for n, time in enumerate(times)]
    path = write_mcap_json(tmp_path / "a.mcap", {"/a": items}, ordered=False, **options)
    topics, found = read(path)
    assert [item[2] for item in found] == sorted(times) and topics.damage == ""
    assert [times[raw.decode()["n"]] for raw in topics.messages(["/a"])] == sorted(times)


def test_equal_log_times_keep_the_files_order(tmp_path):
    items = [(None, START + n // 10, {"n": n}) for n in range(60)]
    for options in ({"chunk_size": 100}, {"use_chunking": False}):
        topics = open_topics(write_mcap_json(tmp_path / "a.mcap", {"/a": items}, **options))
        assert [raw.decode()["n"] for raw in topics.messages(["/a"])] == list(range(60))


def test_too_much_out_of_order_for_memory_is_an_error_that_says_what_helps(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "OPEN_AT_ONCE", 4000)
    times = [START + (n * 7 % 30) * MS for n in range(30)]
    path = write_mcap_json(
        tmp_path / "a.mcap", {"/a": [(None, time, {"x": "x" * 1000}) for time in times]}, ordered=False, chunk_size=1500
    )
    with pytest.raises(RecordingError, match=r"out of order.*\n.*mcap sort"):
        list(open_topics(path).messages(["/a"]))


@pytest.mark.parametrize("form", ["zstd", "lz4", "uncompressed", "unchunked", "unindexed", "topic by topic"])
def test_cut_anywhere_the_rest_is_read_and_said(tmp_path, form):
    path, written = tmp_path / "a.mcap", drive(0.4)
    write_mcap_ros2(path, written, **FORMS[form])
    data, every, most = path.read_bytes(), expected(written), 0
    for end in [*range(0, len(data), max(1, len(data) // 120)), len(data) - 1]:
        path.write_bytes(data[:end])
        damage, found = try_read(path)
        assert found == [item for item in every if item in found]
        assert len(found) == len(every) or damage
        most = max(most, len(found)) if "cut short after" in damage else most
    assert most >= len(every) - 6, "what is in front of the cut is read"


def test_cut_short_says_after_how_long(tmp_path):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(4), compression="", chunk_size=5000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    topics, found = read(path)
    last = (found[-1][2] - found[0][2]) / 1e9
    assert topics.damage == f"cut short after {last:.1f} s" and 1 < last < 3


def test_a_chunk_that_is_cut_gives_what_is_there(tmp_path):
    for compression in ("", "lz4", "zstd"):
        noise = [image(np.random.default_rng(n).integers(0, 255, (64, 64), np.uint8), "mono8") for n in range(50)]
        items = [(START, START + n, message) for n, message in enumerate(noise)]
        path = write_mcap_ros2(tmp_path / "a.mcap", {"/a": items}, compression=compression)
        path.write_bytes(path.read_bytes()[:150_000])
        topics, found = read(path)
        # zstd is unpacked in blocks of 128 KiB, lz4 in blocks of 64 KiB to 4 MiB
        assert len(found) >= {"": 35, "lz4": 15, "zstd": 28}[compression] and topics.damage.startswith("cut short")


def test_zeros_at_the_end_as_a_crash_leaves_them(tmp_path):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(), chunk_size=4000, compression="")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    topics, found = read(path)
    assert 0 < len(found) < 65 and topics.damage.startswith("cut short after")


@pytest.mark.parametrize("form", ["zstd", "lz4", "uncompressed", "unindexed"])
def test_a_chunk_with_a_wrong_byte_is_left_out_and_said_once(tmp_path, form):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(), **FORMS[form])
    layout = open_topics(path).blocks.blocks
    middle = layout[len(layout) // 2]
    data = bytearray(path.read_bytes())
    data[middle.offset + middle.length // 2] ^= 0x55
    path.write_bytes(data)
    topics = open_topics(path)
    for _ in range(2):
        found = list(topics.messages(topics.topics))
        assert 40 < len(found) < 65
        assert topics.damage.startswith(f"1 of {len(layout)} chunks: ")


def test_a_chunk_that_claims_too_much_does_not_fill_the_memory(tmp_path):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(), chunk_size=4000, indexed=False)
    data = bytearray(path.read_bytes())
    at = next(iter(open_topics(path).blocks.blocks)).offset
    size_at = at - 8 - 4 - 4 - 4 - 8  # records, "zstd", its length, checksum, size
    bomb = zstandard.compress(bytes(1 << 30))
    for claim, packed in ((1 << 62, None), (5000, bomb)):
        changed = bytearray(data)
        struct.pack_into("<Q", changed, size_at, claim)
        if packed:
            old = struct.unpack_from("<Q", changed, at - 8)[0]
            struct.pack_into("<Q", changed, at - 8, len(packed))
            struct.pack_into(
                "<Q", changed, size_at - 16 - 8, struct.unpack_from("<Q", changed, size_at - 24)[0] + len(packed) - old
            )
            changed[at : at + old] = packed
        path.write_bytes(changed)
        tracemalloc.start()
        damage, _ = try_read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "chunks: " in damage and peak < 40 << 20


def test_an_unknown_compression_is_named(tmp_path):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(), chunk_size=4000, indexed=False)
    path.write_bytes(path.read_bytes().replace(b"\4\0\0\0zstd", b"\4\0\0\0zopf"))
    with pytest.raises(RecordingError, match="'zopf', which is not known"):
        open_topics(path)


def test_large_attachments_and_metadata_are_passed_over(tmp_path):
    path = tmp_path / "a.mcap"
    for options in ({}, {"use_chunking": False}):
        with path.open("wb") as file:
            writer = Writer(file, **options)
            writer.start()
            channel = writer.register_channel("/a", "json", 0)
            for number in range(3):
                writer.add_attachment(0, 0, "log", "text/plain", bytes(100_000))
                writer.add_metadata("about", {"a": "b"})
                writer.add_message(channel, START + number, b"{}", 0)
            writer.finish()
        topics, found = read(path)
        assert len(found) == 3 and topics.damage == ""


NO_MCAP = {
    "empty": (b"", "is empty: 0 bytes"),
    "text": (b"hello\n" * 100, "is no MCAP file"),
    "cut in the first bytes": (b"\x89MCAP0", "is no MCAP file"),
    "nothing but the first bytes": (b"\x89MCAP0\r\n", "nothing of it can be read: cut short"),
}


@pytest.mark.parametrize("data, message", NO_MCAP.values(), ids=NO_MCAP)
def test_what_is_no_mcap(tmp_path, data, message):
    path = tmp_path / "a.mcap"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=message):
        open_topics(path)


def test_an_mcap_without_messages_is_whole(tmp_path):
    topics, found = read(write_mcap_json(tmp_path / "a.mcap", {}))
    assert topics.topics == {} and found == [] and topics.damage == ""


def test_without_permission(tmp_path):
    path = write_mcap_ros2(tmp_path / "a.mcap", drive(0.1))
    open_topics(path)
    with unreadable(path) as copy, pytest.raises(RecordingError, match=r"a\.mcap: cannot be read: Permission denied"):
        open_topics(copy)


def test_a_file_that_vanishes_is_an_error_not_a_traceback(tmp_path):
    topics = open_topics(write_mcap_ros2(tmp_path / "a.mcap", drive(0.1)))
    (tmp_path / "a.mcap").unlink()
    with pytest.raises(RecordingError, match="No such file"):
        list(topics.messages(["/imu"]))


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zstd"}, {"use_chunking": False}, {"finished": False}], ids=str
)
def test_memory_holds_a_chunk_not_the_file(tmp_path, options):
    path, megabyte = tmp_path / "a.mcap", np.random.default_rng(0).bytes(1 << 20)
    options = {"compression": "", **options}
    compression = CompressionType[options.pop("compression").upper() or "NONE"]
    finished = options.pop("finished", True)
    with path.open("wb") as file:
        writer = Writer(file, compression=compression, **options)
        writer.start()
        channel = writer.register_channel("/a", "json", 0)
        for number in range(64):
            writer.add_message(channel, START + number * MS, megabyte, 0)
        if finished:
            writer.finish()
    assert path.stat().st_size > 60 << 20
    tracemalloc.start()
    topics = open_topics(path)
    count = sum(1 for raw in topics._messages({channel: ("/a", _Plain)}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 64 and peak < 12 << 20


class _Plain:
    """A codec that does not look at the message."""

    stamp = staticmethod(lambda data: None)
    decode = staticmethod(lambda data: data)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["zstd", "lz4", "uncompressed", "unindexed", "unchunked"]),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_whatever_is_damaged_is_said(tmp_path, form, flips, keep):
    whole = tmp_path / f"{form}.mcap"
    if not whole.exists():
        write_mcap_ros2(whole, drive(0.4), **FORMS[form])
    data, path = flipped(whole.read_bytes(), flips), tmp_path / "a.mcap"
    path.write_bytes(data[: int(keep * len(data))])
    damage, found = try_read(path)
    if form != "unchunked":  # which has no checksums
        every = expected(drive(0.4))
        assert damage or len(found) == len(every)
