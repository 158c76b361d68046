from __future__ import annotations

import struct

import pytest
import zstandard

from edgefuse.recordings.formats.rostypes import CDR, ROS1, normal_name, ros_codec
from tests.recordings.writers import WHEEL, ros2, store

LINE = "=" * 80


def test_names_are_those_of_ros2():
    assert normal_name("sensor_msgs/Image") == normal_name("sensor_msgs/msg/Image") == "sensor_msgs/msg/Image"


@pytest.mark.parametrize(
    "text", ["float64 x\r\nfloat64 y\r\n", "# caf\u00e9\n\nfloat64 x # \u00e4\nfloat64 y", "float64 x 0.5\nfloat64 y"]
)
def test_definitions_as_they_occur(text):
    found = ros_codec("edge/Two", text, "msg", CDR).decode(b"\0\1\0\0" + struct.pack("<2d", 1.5, 2.5))
    assert (found.x, found.y) == (1.5, 2.5)


@pytest.mark.parametrize("name", ["sensor_msgs/msg/Imu", WHEEL])
def test_what_was_written_is_read(name):
    message = ros2(name, **{"header.stamp.sec": 3, "header.stamp.nanosec": 4})
    data = bytes(store(2).serialize_cdr(message, name))
    codec = ros_codec(name, store(2).generate_msgdef(name, ros_version=2)[0], "msg", CDR)
    for form in (data, zstandard.compress(data)):
        assert codec.stamp(form) == 3_000_000_004 and codec.decode(form).header.stamp.nanosec == 4
    assert codec.stamp(b"") is None and codec.stamp(zstandard.compress(data)[:9]) is None


ENDLESS = {
    "texts": "string[400000000] x\n",
    "messages": f"A[400000000] x\n{LINE}\nMSG: edge/A\nfloat64 y\n",
    "arrays of arrays": f"A[15000] x\n{LINE}\nMSG: edge/A\nB[15000] x\n{LINE}\nMSG: edge/B\nfloat64 x\n",
    "itself": "T x\n",
    "a wrong default": "float64 X=1e999\n",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("wire", [CDR, ROS1])
def test_definitions_that_would_not_end(text, wire):
    with pytest.raises(ValueError, match="the definition of edge/msg/T"):
        ros_codec("edge/T", text, "msg", wire)


@pytest.mark.parametrize("rest", ["", "A a\nA[3] b\n"], ids=["direct", "nested"])
def test_messages_without_bytes_are_not_counted_to_the_end(rest):
    inner = f"{LINE}\nMSG: edge/E\n{rest}" + (f"{LINE}\nMSG: edge/A\n" if rest else "")
    text, many = f"uint8 z\nE[] x\n{inner}", b"\0" + b"\xff" * 4
    with pytest.raises(ValueError, match="arrays of edge/msg/E, which has no fields"):
        ros_codec("edge/T", text, "msg", ROS1)
    with pytest.raises(ValueError):
        ros_codec("edge/T", text, "msg", CDR).decode(b"\0\1\0\0" + many + bytes(20))


def test_damaged_lengths_do_not_fill_the_memory():
    for text in ("uint8[] x\n", "float64[] x\n", "string[] x\n", "string x\n", "uint8[4000000000] x\n"):
        for wire in (CDR, ROS1):
            with pytest.raises(ValueError):
                ros_codec("edge/T", text, "msg", wire).decode(b"\0\1\0\0" + b"\xff\xff\xff\x7f" + bytes(50))


def test_a_name_is_no_code():
    for name in ("edge/T\nimport os", "edge/T'''", 'edge/T"""', "edge/T; x"):
        with pytest.raises(ValueError, match=r"cannot be read|not known"):
            ros_codec(name, "float64 x\n", "msg", CDR)


def test_an_unknown_distribution_is_the_newest():
    for distribution in ("", "rosbags", "humble"):
        assert ros_codec("std_msgs/msg/Bool", "", "msg", CDR, distribution).decode(b"\0\1\0\0\1").data is True
    with pytest.raises(ValueError, match="the type edge_msgs/msg/Wheel is not known"):
        ros_codec(WHEEL, "", "msg", CDR)
