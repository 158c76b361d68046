from __future__ import annotations

import bz2

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import blocks
from edgefuse.recordings.formats.blocks import Block, Blocks, Record, in_order
from edgefuse.recordings.formats.compression import beginning, unpack, unpack_all

PACKERS = {"lz4": lz4.frame.compress, "zstd": zstandard.compress, "bz2": bz2.compress}


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5).map(sorted), max_size=8))
def test_parts_are_merged_and_opened_when_their_time_has_come(parts):
    opened = []

    def start(number):
        opened.append(number)
        return ((time, number) for time in parts[number])

    found = []
    order = [(part[0], lambda number=number: start(number)) for number, part in enumerate(parts)]
    for time, number in in_order(order, lambda item: item[0]):
        assert all(parts[other][0] <= time for other in opened if other != number)
        found.append((time, number))
    assert [time for time, _ in found] == sorted(time for part in parts for time in part)
    assert sorted(opened) == list(range(len(parts)))


def test_of_equal_times_the_earlier_parts_come_first():
    parts = [(0, lambda: iter([(0, "a"), (1, "a")])), (1, lambda: iter([(1, "b")])), (0, lambda: iter([(0, "c")]))]
    assert [name for _, name in in_order(parts, lambda item: item[0])] == ["a", "c", "a", "b"]


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("size", [0, 1, 1000, 1_200_000])
def test_what_was_packed_is_unpacked(name, size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    packed = PACKERS[name](data)
    assert unpack(name, packed, size) == data
    assert beginning(name, packed, 10) == data[:10]
    if size:
        assert unpack_all(name, packed) == data
        with pytest.raises(ValueError, match=r"holds|damaged"):
            unpack(name, packed, size - 1)
        with pytest.raises(ValueError, match=r"holds|damaged"):
            unpack(name, packed[:-5], size + 5)
        cut = unpack(name, packed[: len(packed) // 2], size, cut=True)
        assert data.startswith(bytes(cut))


def test_blocks_that_overlap_too_much_are_refused_before_any_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "OPEN_AT_ONCE", 250)
    (tmp_path / "a").write_bytes(bytes(1000))

    def made(*spans):
        found = [Block(number * 100, 100, start, end, 100) for number, (start, end) in enumerate(spans)]
        return Blocks(tmp_path / "a", found, lambda data: iter([Record(0, 1, data)]))

    assert list(made((0, 5), (3, 9), (9, 12), (10, 12)).records([1])) is not None
    with pytest.raises(RecordingError, match="out of order"):
        list(made((0, 5), (3, 9), (4, 12)).records([1]))
