"""Frames: what goes in comes out, and what is no frame is refused in words."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgefuse.worker import wire
from edgefuse.worker.wire import MAGIC, PREFIX, Channel, Frame, WireError, encode, wait_for

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
DTYPES = hnp.boolean_dtypes() | st.one_of(
    *(
        kind(endianness=order, sizes=sizes)
        for order in "<>"
        for kind, sizes in (
            (hnp.integer_dtypes, (8, 16, 32, 64)),
            (hnp.unsigned_integer_dtypes, (8, 16, 32, 64)),
            (hnp.floating_dtypes, (16, 32, 64)),
        )
    )
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
VIEWS = st.sampled_from(
    [lambda a: a, lambda a: a.T, lambda a: a[..., ::2] if a.ndim else a, lambda a: np.broadcast_to(a, (2, *a.shape))]
)


def bytes_of(*arguments: Any) -> bytes:
    return b"".join(encode(*arguments))


def read(data: bytes) -> tuple[Frame | None, Channel]:
    """The first frame of *data*, after which the stream ends."""
    read_end, write_end = os.pipe()
    channel = Channel(read_end, os.open(os.devnull, os.O_WRONLY))
    writer = threading.Thread(target=_write_all, args=(write_end, data))
    writer.start()
    try:
        return channel.receive(time.monotonic() + 10.0), channel
    finally:
        os.close(read_end)
        writer.join()
        os.close(channel.write_fd)


def _write_all(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[tuple[Channel, Channel]]:
    """Two ends: what the first writes, the second reads."""
    there, back = os.pipe(), os.pipe()
    yield Channel(back[0], there[1]), Channel(there[0], back[1])
    for descriptor in (*there, *back):
        os.close(descriptor)


@given(
    st.dictionaries(st.text().filter(lambda key: key != "arrays"), JSON, max_size=4),
    st.dictionaries(st.text(), st.tuples(ARRAYS, VIEWS), max_size=3),
)
def test_headers_and_arrays_come_back_as_they_were(header: dict[str, Any], given_: dict[str, Any]) -> None:
    arrays = {name: view(array) for name, (array, view) in given_.items()}
    frame, _ = read(bytes_of(header, arrays))
    assert frame is not None and {key: frame.header[key] for key in header} == header
    found = frame.arrays()
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.owndata and found[name].flags.writeable


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array([1j]), np.longdouble([1.0])])
def test_what_is_no_number_of_64_bits_is_refused_before_it_is_sent(array: Any) -> None:
    with pytest.raises(TypeError, match="expected numbers"):
        encode({}, {"x": array})


def test_a_frame_that_nobody_would_take_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BODY", 10)
    with pytest.raises(ValueError, match="more than one request may carry"):
        encode({}, {"x": np.zeros(11, np.uint8)})


@given(st.binary(max_size=200).filter(lambda data: MAGIC not in data))
def test_what_a_login_shell_says_first_is_skipped_and_kept(greeting: bytes) -> None:
    frame, channel = read(greeting + bytes_of({"hello": 1}))
    assert frame == Frame({"hello": 1}) and channel.greeting == greeting == channel.unread


def test_a_shell_that_never_stops_talking_is_no_worker() -> None:
    with pytest.raises(WireError, match="no frame: b'y"):
        read(b"y\n" * wire.MAX_GREETING)


def test_a_stream_that_ends_in_a_frame_has_no_frame() -> None:
    whole = bytes_of({"id": 1}, {"x": np.arange(5)})
    for size in range(len(whole)):
        assert read(whole[:size])[0] is None
    assert read(whole)[0] is not None


@given(st.data())
def test_damage_is_an_error_of_ours_or_a_frame_but_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(bytes_of({"id": 1, "do": "x"}, {"x": np.arange(4, dtype="f4"), "y": np.zeros((2, 0))}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        frame, _ = read(bytes(whole))
        if frame is not None:
            assert all(isinstance(item, np.ndarray) for item in frame.arrays().values())
    except WireError:
        pass


@pytest.mark.parametrize(
    "item",
    [
        {"name": "x", "dtype": "O", "shape": [1]},
        {"name": "x", "dtype": "<f16", "shape": [1]},
        {"name": "x", "dtype": "(2,)<f4", "shape": [1]},
        {"name": "x", "dtype": "<f4", "shape": [3]},
        {"name": "x", "dtype": "<f4", "shape": [1]},
        {"name": "x", "dtype": "<f4", "shape": [-1]},
        {"name": "x", "dtype": "<f4", "shape": [1 << 70]},
        {"name": "x", "dtype": "<f4", "shape": [True, 2]},
        {"name": "x", "dtype": "<f4", "shape": [1e400]},
        {"name": "x", "dtype": "<f4", "shape": 2},
        {"name": "x", "dtype": "<f4"},
        {"dtype": "<f4", "shape": [2]},
        "x",
        None,
    ],
)
def test_arrays_that_do_not_fit_their_header_are_refused(item: Any) -> None:
    with pytest.raises(WireError, match="damaged"):
        Frame({"arrays": [item]}, bytes(8)).arrays()


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff\xfe", b"nul", b"[" * 100_000])
def test_a_header_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(WireError, match="header is"):
        read(PREFIX.pack(MAGIC, len(text), 0) + text)


@pytest.mark.parametrize(("header", "body"), [(wire.MAX_HEADER + 1, 0), (2, wire.MAX_BODY + 1)])
def test_a_frame_is_not_waited_for_that_would_fill_the_memory(header: int, body: int) -> None:
    with pytest.raises(WireError, match="no frame"):
        read(PREFIX.pack(MAGIC, header, body) + b"{}")


def test_several_frames_in_one_read_come_one_by_one(pipe: tuple[Channel, Channel]) -> None:
    near, far = pipe
    for number in range(3):
        near.send({"id": number})
    assert [far.receive().header["id"] for _ in range(3)] == [0, 1, 2]  # type: ignore[union-attr]


def test_nobody_reads_is_an_error_after_a_while(pipe: tuple[Channel, Channel]) -> None:
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        pipe[0].write([bytes(1 << 20)], stall_s=0.2)
    assert 0.15 < time.monotonic() - start < 5


def test_nobody_writes_is_an_error_at_the_deadline(pipe: tuple[Channel, Channel]) -> None:
    with pytest.raises(TimeoutError):
        pipe[0].receive(time.monotonic() + 0.1)


def test_a_frame_that_is_coming_in_may_take_longer_than_the_deadline(pipe: tuple[Channel, Channel]) -> None:
    near, far = pipe
    pieces = bytes_of({"id": 1}, {}, bytes(1000))

    def slowly() -> None:
        for start in range(0, len(pieces), 100):
            os.write(near.write_fd, pieces[start : start + 100])
            time.sleep(0.05)

    writer = threading.Thread(target=slowly)
    writer.start()
    frame = far.receive(time.monotonic() + 0.2)
    writer.join()
    assert frame is not None and len(frame.body) == 1000


def test_a_beat_goes_whole_or_not_at_all(pipe: tuple[Channel, Channel]) -> None:
    near, far = pipe
    with pytest.raises(TimeoutError):
        near.write([bytes_of({"fills": "x" * (1 << 20)})], stall_s=0.1)
    near.try_send({"beat": True})  # there is no room
    while wait_for([far], 0.0):
        far.fill()
    far._data.clear()
    near.try_send({"beat": True})
    assert far.receive(time.monotonic() + 1) == Frame({"beat": True})


def test_a_forwarded_frame_is_the_same(pipe: tuple[Channel, Channel]) -> None:
    near, far = pipe
    frame, _ = read(bytes_of({"id": 7, "text": "é"}, {"x": np.float32([1, 2])}))
    assert frame is not None
    near.forward(frame)
    assert far.receive() == frame


def test_the_format_is_what_the_documentation_says() -> None:
    """A header of JSON, then the arrays, C order and little-endian: anybody can read it."""
    data = bytes_of({"id": 1}, {"x": np.array([[1, 2], [3, 4]], ">i2").T})
    magic, header_size, body_size = PREFIX.unpack_from(data)
    header = json.loads(data[16 : 16 + header_size])
    assert (magic, body_size, len(data)) == (b"\x00EF1", 8, 16 + header_size + 8)
    assert header == {"id": 1, "arrays": [{"name": "x", "dtype": "<i2", "shape": [2, 2]}]}
    assert data[-8:] == b"\1\0\3\0\2\0\4\0"
