"""Reading and writing sample archives as streams."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgefuse.errors import CalibrationError
from edgefuse.samples import SampleWriter, iterate_rows, read_headers


@given(
    npst.arrays(
        st.sampled_from([np.float32, np.int64, np.bool_, np.uint8]),
        npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5),
        elements=st.integers(0, 1),
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_rows_equal_what_numpy_reads(tmp_path_factory, array, compressed):
    path = tmp_path_factory.mktemp("rows") / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, a=array)
    rows = [row["a"] for row in iterate_rows(path, read_headers(path))]
    assert len(rows) == len(array)
    for row, expected in zip(rows, array):
        assert row.dtype == array.dtype and np.array_equal(row, expected)


def test_what_is_written_numpy_reads(tmp_path):
    path = tmp_path / "out.npz"
    with SampleWriter(path) as writer:
        for index in range(7):
            writer.write({"x": np.full((2, 3), index, np.float32), "label": np.asarray(index)})
    with np.load(path, allow_pickle=False) as archive:
        assert archive["x"].shape == (7, 2, 3) and archive["label"].tolist() == list(range(7))
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_the_same_samples_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        with SampleWriter(tmp_path / name) as writer:
            writer.write({"x": np.arange(5)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(CalibrationError, match="differs from the first"), SampleWriter(tmp_path / "x.npz") as writer:
        writer.write({"x": np.zeros(3)})
        writer.write({"x": np.zeros(4)})
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    """64 and 4,096 samples of 64 KiB: 256 MiB in one file, read and written with a peak below 8 MiB."""
    peaks = []
    for count in (64, 4096):
        path = tmp_path / f"{count}.npz"
        tracemalloc.start()
        with SampleWriter(path) as writer:
            for index in range(count):
                writer.write({"x": np.full((128, 128), index, np.float32)})
        assert sum(1 for _ in iterate_rows(path, read_headers(path))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20 and peaks[1] < 8 * 2**20
