"""What of a message a model gets: by its type, or by the paths of the recipe."""

from __future__ import annotations

import base64
import copy
import io
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgefuse.errors import RecordingError
from edgefuse.recordings.fields import SINGLE, SPECIAL, VECTORS, take
from edgefuse.recordings.misfit import Misfit
from tests.recordings.writers import WHEEL, image, protobuf_type, ros1, ros2, store

RNG = np.random.default_rng(0)


def reason(message, kind, *paths):
    with pytest.raises(Misfit) as caught:
        take(message, kind, paths)
    return caught.value.reason, str(caught.value)


# -- images

PIXELS = RNG.integers(0, 256, (4, 5, 4), np.uint8)
DEPTH = RNG.integers(0, 2**16, (4, 5)).astype(np.uint16)
ENCODED = {
    "rgb8": (PIXELS[..., :3], PIXELS[..., :3]),
    "bgr8": (PIXELS[..., 2::-1], PIXELS[..., :3]),
    "rgba8": (PIXELS, PIXELS),
    "bgra8": (PIXELS[..., [2, 1, 0, 3]], PIXELS),
    "mono8": (PIXELS[..., 0], PIXELS[..., 0]),
    "8UC1": (PIXELS[..., 0], PIXELS[..., 0]),
    "8UC3": (PIXELS[..., :3], PIXELS[..., :3]),
    "16UC1": (DEPTH, DEPTH),
    "mono16": (DEPTH, DEPTH),
    "32FC1": (DEPTH.astype(np.float32) / 1000, DEPTH.astype(np.float32) / 1000),
    "64FC2": (PIXELS[..., :2] / 3, PIXELS[..., :2] / 3),
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
def test_every_encoding_byte_order_and_row_padding_gives_the_same_pixels(encoding, big, padding):
    sent, expected = ENCODED[encoding]
    message = image(np.ascontiguousarray(sent), encoding)
    data = np.ascontiguousarray(sent.astype(sent.dtype.newbyteorder(">")) if big else sent).tobytes()
    row = len(data) // 4
    message.data = np.frombuffer(
        b"".join(data[i * row : (i + 1) * row] + b"\xee" * padding for i in range(4)), np.uint8
    )
    message.step, message.is_bigendian = row + padding, int(big)
    found = take(message, "sensor_msgs/msg/Image")
    assert found.dtype == expected.dtype and found.dtype.isnative and np.array_equal(found, expected)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 5), st.sampled_from(list(ENCODED)))
def test_an_image_that_is_one_byte_short_is_a_misfit_and_without_its_last_padding_it_is_none(
    height, width, pad, encoding
):
    row = width * np.prod(np.shape(ENCODED[encoding][0])[2:], dtype=int) * ENCODED[encoding][0].dtype.itemsize
    message = SimpleNamespace(height=height, width=width, encoding=encoding, step=row + pad, is_bigendian=0)
    message.data = bytes(height * (row + pad) - pad)
    assert take(message, "sensor_msgs/Image").shape[:2] == (height, width)
    message.data = message.data[:-1]
    assert reason(message, "sensor_msgs/Image")[0] in ("cut short", "empty")


def test_images_that_do_not_fit_say_why():
    for change, short, said in [
        ({"data": b""}, "empty", "0 bytes"), ({"height": 0}, "empty", "0x5"), ({"step": 4}, "cut short", "step is 4"),
        ({"encoding": "bayer_rggb8"}, "encoding", "'bayer_rggb8'"), ({"encoding": "8FC1"}, "encoding", "8FC1"),
        ({"encoding": "rgba8"}, "cut short", "5 pixels take 20"),
    ]:  # fmt: skip
        message = image(PIXELS[..., :3].copy())
        for key, value in change.items():
            setattr(message, key, value)
        found = reason(message, "sensor_msgs/msg/Image")
        assert found[0] == short and said in found[1]


def compressed(form, array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def test_compressed_images_are_decoded_in_rgb_order_and_grey_ones_stay_grey():
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[..., 0] = 200
    kind = "sensor_msgs/msg/CompressedImage"
    assert np.array_equal(take(ros2(kind, data=compressed("png", rgb), format="png"), kind), rgb)
    jpeg = take(ros2(kind, data=compressed("jpeg", rgb, quality=95), format="rgb8; jpeg compressed bgr8"), kind)
    assert jpeg.shape == (16, 16, 3) and np.abs(jpeg.astype(int) - rgb).max() <= 3
    assert np.array_equal(take(ros2(kind, data=compressed("png", PIXELS[..., 0]), format="png"), kind), PIXELS[..., 0])
    depth = take(ros2(kind, data=compressed("png", DEPTH), format="16UC1; png"), kind)
    assert depth.dtype == np.uint16 and np.array_equal(depth, DEPTH)
    for mode, shape in [("P", (16, 16, 3)), ("RGBA", (16, 16, 3)), ("LA", (16, 16)), ("1", (16, 16))]:
        buffer = io.BytesIO()
        Image.fromarray(rgb).convert("L" if mode == "LA" else "RGB").convert(mode).save(buffer, "png")
        assert take({"data": list(buffer.getvalue()), "format": "png"}, kind).shape == shape


def test_bytes_that_are_no_image_are_told_alike_every_time():
    kind = "sensor_msgs/msg/CompressedImage"
    told = reason(ros2(kind, data=np.full(40, 255, np.uint8), format="jpeg"), kind)
    assert told == ("decode", "the image cannot be decoded: it is no JPEG, PNG or WebP")


def test_compressed_depth_loses_its_header_and_becomes_metres():
    kind, header = "sensor_msgs/msg/CompressedImage", struct.pack("<iff", 0, 0.0, 0.0)
    data = np.frombuffer(header + compressed("png", DEPTH).tobytes(), np.uint8)
    assert np.array_equal(take(ros2(kind, data=data, format="16UC1; compressedDepth png"), kind), DEPTH)
    metres = np.array([[0.5, 1.0, np.nan], [2.0, 5.0, 9.5]], np.float32)
    scale = 100.0 * (100.0 + 1)  # as compressed_depth_image_transport does it: steps of 1 / depth
    shift = 1.0 - scale / 10.0
    steps = np.nan_to_num(scale / metres + shift).astype(np.uint16)
    data = struct.pack("<iff", 0, scale, shift) + compressed("png", steps).tobytes()
    found = take({"data": data, "format": "32FC1; compressedDepth"}, kind)
    assert found.dtype == np.float32 and np.allclose(found, metres, rtol=0.01, equal_nan=True)


def test_compressed_data_that_are_none_are_misfits():
    kind = "sensor_msgs/msg/CompressedImage"
    jpeg = compressed("jpeg", PIXELS[..., :3].copy()).tobytes()
    gif = compressed("gif", PIXELS[..., 0].copy()).tobytes()
    for data, short in [(b"", "empty"), (b"no image", "decode"), (jpeg[:-20], "decode"), (gif, "decode")]:
        assert reason({"data": data, "format": "jpeg"}, kind)[0] == short
    png = bytearray(compressed("png", np.zeros((64, 64, 3), np.uint8)).tobytes())
    png[60] ^= 0xFF
    assert reason({"data": bytes(png), "format": "png"}, kind)[0] == "decode"
    assert reason({"data": b"x" * 5, "format": "16UC1; compressedDepth"}, kind)[0] == "cut short"


def test_images_of_foxglove_may_be_base64():
    raw = {"width": 5, "height": 4, "encoding": "bgr8", "step": 15,
           "data": base64.b64encode(PIXELS[..., 2::-1].tobytes()).decode()}  # fmt: skip
    assert np.array_equal(take(raw, "foxglove.RawImage"), PIXELS[..., :3])
    png = base64.b64encode(compressed("png", PIXELS[..., :3].copy()).tobytes()).decode()
    assert np.array_equal(take({"data": png, "format": "png"}, "foxglove.CompressedImage"), PIXELS[..., :3])
    assert reason({"data": "???", "format": "png"}, "foxglove.CompressedImage")[0] == "decode"


# -- point clouds


def cloud(points, extra=0, big=False, height=1, row_padding=0):
    """A PointCloud2 of a structured array, with *extra* bytes behind each point and behind each row."""
    numbers = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
    wire = points.astype(points.dtype.newbyteorder(">")) if big else points
    size, width = points.dtype.itemsize + extra, len(points) // height
    each = [wire[i : i + 1].tobytes() + b"\xaa" * extra for i in range(len(points))]
    rows = [b"".join(each[i * width : (i + 1) * width]) + b"\xbb" * row_padding for i in range(height)]
    message = ros2("sensor_msgs/msg/PointCloud2", height=height, width=width, point_step=size, is_bigendian=big,
                   row_step=width * size + row_padding, data=np.frombuffer(b"".join(rows), np.uint8))  # fmt: skip
    message.fields = [
        ros2("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=numbers[dtype.str[1:]], count=1)
        for name, (dtype, offset) in points.dtype.fields.items()
    ]
    return message


DTYPE = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "u1"), ("ring", "u2"), ("time", "f8")]
POINTS = np.zeros(12, DTYPE)
for _name, _ in DTYPE:
    POINTS[_name] = RNG.integers(0, 200, 12)
KIND = "sensor_msgs/msg/PointCloud2"


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("extra", "height", "row_padding"), [(0, 1, 0), (5, 1, 0), (3, 4, 0), (0, 3, 7)])
def test_points_are_xyz_intensity_and_what_else_is_a_float(big, extra, height, row_padding):
    found = take(cloud(POINTS, extra, big, height, row_padding), KIND)
    expected = np.stack([POINTS[name].astype(np.float32) for name in ("x", "y", "z", "intensity", "time")], axis=1)
    assert found.dtype == np.float32 and np.array_equal(found, expected)


def test_fields_of_points_are_chosen_by_name():
    found = take(cloud(POINTS, 2), KIND, ("ring", "x"))
    assert np.array_equal(found, np.stack([POINTS["ring"], POINTS["x"]], axis=1).astype(np.float32))
    assert reason(cloud(POINTS), KIND, "reflectivity", "x")[0] == "field"
    assert take(cloud(POINTS), KIND, ("width",)) == 12 and take(cloud(POINTS[:0]), KIND).shape == (0, 5)


def test_points_that_are_cut_short_or_lie_beyond_their_step_are_misfits():
    message = cloud(POINTS)
    message.data = message.data[:-1]
    assert reason(message, KIND)[0] == "cut short"
    message = cloud(POINTS)
    message.fields[2].offset = 1000
    assert reason(message, KIND)[0] == "field"


def test_points_of_foxglove_have_other_type_numbers():
    packed = POINTS[["x", "y", "ring"]].astype([("x", "f4"), ("y", "f4"), ("ring", "u2")])
    fields = [
        {"name": "x", "offset": 0, "type": 7},
        {"name": "y", "offset": 4, "type": 7},
        {"name": "ring", "offset": 8, "type": 3},
    ]
    message = {"point_stride": 10, "fields": fields, "data": base64.b64encode(packed.tobytes()).decode()}
    assert np.array_equal(take(message, "foxglove.PointCloud", ("x", "ring"))[:, 1], POINTS["ring"])
    assert take(message, "foxglove.PointCloud").shape == (12, 2)


# -- vectors, numbers, texts


def test_an_imu_is_six_floats_in_the_promised_order():
    message = ros2(
        "sensor_msgs/msg/Imu", **{"angular_velocity.x": 1, "angular_velocity.z": 3, "linear_acceleration.y": 5}
    )
    found = take(message, "sensor_msgs/msg/Imu")
    assert found.dtype == np.float32 and found.tolist() == [1, 0, 3, 0, 5, 0]


KNOWN = [
    (version, kind, kind.replace("/", "/msg/"))
    for version in (1, 2)
    for kind in sorted({*VECTORS, *SINGLE, *SPECIAL})
    if kind.replace("/", "/msg/") in store(version).types
]


def test_every_known_type_is_one_of_ros_or_foxglove():
    ros = {kind for _, kind, _ in KNOWN}
    assert {*VECTORS, *SINGLE, *SPECIAL} - ros == {kind for kind in {*SINGLE, *SPECIAL} if kind.startswith("foxglove.")}


@pytest.mark.parametrize(("version", "kind", "full"), KNOWN)
def test_every_known_type_has_the_fields_that_are_taken(version, kind, full):
    message = (ros1 if version == 1 else ros2)(full)
    if "Image" in kind or "PointCloud" in kind:
        assert reason(message, full)[0] in ("encoding", "empty", "field")
        return
    found = take(message, full if version == 2 else kind)
    assert isinstance(found, str) or found.dtype.kind in "biuf"
    assert kind not in VECTORS or found.shape == (len(VECTORS[kind]),)


def test_numbers_keep_their_dtype_and_texts_are_texts():
    for kind, value, dtype in [("Float32", 1.5, "float32"), ("Int64", 2**40, "int64"), ("Bool", True, "bool"),
                               ("UInt8", 200, "uint8"), ("Float64", 0.1, "float64")]:  # fmt: skip
        found = take(ros2(f"std_msgs/msg/{kind}", data=value), f"std_msgs/msg/{kind}")
        assert found.dtype == dtype and found.shape == () and found == np.asarray(value, dtype)
    assert take(ros2("std_msgs/msg/String", data="go left"), "std_msgs/msg/String") == "go left"


def test_a_multi_array_takes_its_layouts_shape():
    kind = "std_msgs/msg/Float32MultiArray"
    message = ros2(kind, data=np.arange(7))
    assert take(message, kind).shape == (7,)
    message.layout.dim = [ros2("std_msgs/msg/MultiArrayDimension", size=size) for size in (2, 3)]
    message.layout.data_offset = 1
    found = take(message, kind)
    assert found.dtype == np.float32 and found.tolist() == [[1, 2, 3], [4, 5, 6]]
    message.layout.data_offset = 0
    assert reason(message, kind) == ("shape", "holds 7 numbers; its layout says 2x3")


def test_scans_joints_and_intrinsics():
    scan = ros2("sensor_msgs/msg/LaserScan", ranges=[1.0, np.inf])
    assert take(scan, "sensor_msgs/msg/LaserScan").tolist() == [1.0, np.inf]
    joints = ros2("sensor_msgs/msg/JointState", position=[0.5, 1.5])
    assert take(joints, "sensor_msgs/msg/JointState").tolist() == [0.5, 1.5]
    k = np.arange(9.0)
    assert np.array_equal(take(ros2("sensor_msgs/msg/CameraInfo", k=k), "sensor_msgs/msg/CameraInfo"), k.reshape(3, 3))
    assert np.array_equal(take(ros1("sensor_msgs/msg/CameraInfo", K=k), "sensor_msgs/CameraInfo"), k.reshape(3, 3))


# -- paths


def test_paths_lead_through_attributes_keys_and_places_and_are_put_behind_one_another():
    odometry = ros2("nav_msgs/msg/Odometry", **{"twist.twist.linear.x": 0.5, "pose.covariance": np.arange(36.0)})
    kind = "nav_msgs/msg/Odometry"
    assert take(odometry, kind, ("twist.twist.linear.x", "pose.covariance.35")).tolist() == [0.5, 35.0]
    assert take(odometry, kind, ("twist.twist.linear.x",)) == 0.5
    both = take(odometry, kind, ("pose.covariance", "twist.twist.linear.x"))
    assert both.shape == (37,) and both.dtype == np.float64
    assert take({"a": {"b": [1, [2.5, 3]]}}, "json", ("a.b.1",)).tolist() == [2.5, 3]
    assert take({"a": np.ones((2, 3), np.uint8)}, "json", ("a",)).shape == (2, 3)
    assert take({"say": "hi"}, "json", ("say",)) == "hi"
    sample = protobuf_type()(data=b"\x01\x02", values=[0.5, 2.5])
    assert take(sample, "edge.Sample", ("values",)).tolist() == [0.5, 2.5]
    assert take(sample, "edge.Sample", ("data",)).tolist() == [1, 2]
    assert take(sample, "edge.Sample", ("values.1", "data")).tolist() == [2.5, 1, 2]


def test_json_has_null_for_what_is_not_finite():
    scan = {"ranges": [1.0, None, 3], "angle_min": 0.0}
    found = take(scan, "sensor_msgs/LaserScan")
    assert found.dtype == np.float32 and np.array_equal(found, np.array([1, np.nan, 3], np.float32), equal_nan=True)
    assert "is of str" in reason({"a": ["1", None]}, "json", "a")[1]


def test_paths_that_lead_nowhere_name_what_there_is():
    wheel = ros2(WHEEL, speed=1.0, raw=[1, 2])
    assert reason(wheel, WHEEL, "sped") == ("field", "there is no 'sped'; Did you mean 'speed'?")
    assert (
        reason(wheel, WHEEL, "header.stmp.sec")[1] == "there is no 'stmp' of 'header.stmp.sec'; Did you mean 'stamp'?"
    )
    assert "2 values, and none at 7" in reason(wheel, WHEEL, "raw.7")[1]
    assert "Header, which has stamp, frame_id" in reason(wheel, WHEEL, "header")[1]
    assert "different lengths" in reason({"a": [[1], [1, 2]]}, "json", "a")[1]
    assert "'b'" in reason({"a": 1}, "json", "a.b")[1] and reason({"a": None}, "json", "a")[0] == "field"
    assert reason(wheel, WHEEL, "__class__")[0] == "field"


def test_a_type_that_nobody_knows_needs_a_field_and_the_error_lists_them():
    for message, kind, names in [
        (ros2(WHEEL), WHEEL, "header, speed, raw, names"),
        ({"speed": 1, "raw": 2}, "edge.Json", "speed, raw"),
        (protobuf_type()(), "edge.Sample", "timestamp, data, values"),
    ]:
        with pytest.raises(RecordingError) as caught:
            take(message, kind)
        assert kind.replace("/msg/", "/") in caught.value.what and names in caught.value.hint


def test_arrays_and_texts_are_what_they_are():
    array = np.ones((2, 3), np.int16)
    assert take(array, "int16[3]") is array and take("go", "string") == "go"
    assert take(np.float32(2.5), "float32") == np.float32(2.5) and take([1, 2], "list").tolist() == [1, 2]


def test_a_message_of_another_type_than_it_says_is_a_misfit():
    for kind in ("sensor_msgs/Image", "sensor_msgs/Imu", "sensor_msgs/PointCloud2", "std_msgs/Int32",
                 "std_msgs/Int8MultiArray", "sensor_msgs/CameraInfo", "sensor_msgs/CompressedImage"):  # fmt: skip
        assert reason(SimpleNamespace(data=None, layout=3, fields=7, height="x"), kind)[0] in ("field", "decode")


def test_an_image_that_claims_to_be_huge_is_a_misfit():
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "png")
    assert reason({"data": buffer.getvalue(), "format": "png"}, "sensor_msgs/CompressedImage")[0] == "decode"


WHOLE = [
    ("sensor_msgs/Image", {"height": 4, "width": 5, "encoding": "rgb8", "step": 15, "is_bigendian": 0,
                           "data": [7] * 60}),
    ("foxglove.PointCloud", {"point_stride": 8, "data": [0] * 24,
                             "fields": [{"name": "x", "offset": 0, "type": 7}, {"name": "y", "offset": 4, "type": 7}]}),
    ("sensor_msgs/PointCloud2", {"height": 1, "width": 3, "point_step": 8, "row_step": 24,
                                 "is_bigendian": 0, "data": [0] * 24,
                                 "fields": [{"name": "x", "offset": 0, "datatype": 7, "count": 1}]}),
    ("std_msgs/Int16MultiArray", {"layout": {"dim": [{"size": 2}, {"size": 2}], "data_offset": 0},
                                  "data": [1, 2, 3, 4]}),
    ("sensor_msgs/CompressedImage", {"format": "16UC1; compressedDepth png", "data": [1] * 40}),
    ("sensor_msgs/CameraInfo", {"k": [0.0] * 9}),
    ("sensor_msgs/LaserScan", {"ranges": [1.0, 2.0]}),
]  # fmt: skip
ODD = [
    None,
    -1,
    -(2**31),
    2**31,
    10**30,
    0,
    1.5,
    float("nan"),
    "",
    "text",
    "AAAA",
    [],
    [[1], [2, 3]],
    {},
    [None],
    True,
    b"\x00",
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_whatever_a_message_holds_it_gives_an_array_or_a_misfit(whole, data):
    kind, message = whole
    message = copy.deepcopy(message)
    place = message
    for _ in range(data.draw(st.integers(0, 3))):
        inner = [
            value for value in (place.values() if isinstance(place, dict) else place) if isinstance(value, dict | list)
        ]
        if not inner:
            break
        place = data.draw(st.sampled_from(inner))
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if keys:
        place[data.draw(st.sampled_from(keys))] = data.draw(st.sampled_from(ODD))
    try:
        assert take(message, kind).dtype.kind in "biuf"
    except Misfit as error:
        assert error.reason and str(error)
