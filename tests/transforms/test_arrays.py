"""Transforms of numbers against loops and plain arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.making import made, misfit, refused

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (3, 4, 2), np.uint8)


def test_scale_and_offset_make_floats_of_integers_and_keep_those_that_are():
    found = made("scale", 1 / 255)(BYTES)
    assert found.dtype == np.float32 and np.allclose(found, BYTES / 255, rtol=1e-6)
    assert made("scale", 2)(np.array([2**40 + 1])).tolist() == [2**41 + 2]
    for dtype in (np.float16, np.float32, np.float64):
        assert made("offset", -1.5)(np.ones(3, dtype)).dtype == dtype
    assert made("scale", [1.0, 10.0])(BYTES)[2, 3].tolist() == [BYTES[2, 3, 0], BYTES[2, 3, 1] * 10]
    assert made("offset", [1, -1])(BYTES)[0, 0].tolist() == [BYTES[0, 0, 0] + 1, BYTES[0, 0, 1] - 1]
    assert misfit("scale", [1.0, 2.0, 3.0], BYTES) == "shape"
    assert "expected a number" in refused("scale", "half") and "expected numbers" in refused("offset", [True])
    assert "expected a number" in refused("scale", float("inf")) and "'byy'" in refused("scale", {"byy": 1})


def test_clip_keeps_what_lies_between_and_nan():
    found = made("clip", [0, 2.5])(np.array([-1.0, 1.0, 9.0, np.nan, np.inf]))
    assert np.array_equal(found, [0, 1, 2.5, np.nan, 2.5], equal_nan=True)
    assert "2 numbers" in refused("clip", [1]) and "lower number first" in refused("clip", [2, 1])


def test_normalize_is_per_channel_along_any_axis():
    mean, std = [10.0, 20.0], [2.0, 4.0]
    found = made("normalize", {"mean": mean, "std": std})(BYTES)
    assert found.dtype == np.float32
    for i, j, k in np.ndindex(BYTES.shape):
        assert found[i, j, k] == pytest.approx((BYTES[i, j, k] - mean[k]) / std[k], rel=1e-6)
    first = made("normalize", {"mean": mean, "std": 2.0, "axis": 0})(np.ones((2, 5)))
    assert first[:, 0].tolist() == [-4.5, -9.5]
    assert misfit("normalize", {"mean": mean, "std": std, "axis": 1}, BYTES) == "shape"
    assert "more than 0" in refused("normalize", {"mean": 0, "std": [1, 0]})
    assert "2 means and 3 std" in refused("normalize", {"mean": [0, 0], "std": [1, 1, 1]})
    assert "'std' is missing" in refused("normalize", {"mean": 0}) and "table" in refused("normalize", 3)


@given(st.permutations("HWC"), st.integers(0, 3), st.booleans())
def test_a_layout_moves_every_axis_by_its_letter(order, place, dropped):
    after = "".join(order)
    after = after[:place] + "1" + after[place:]
    array = np.arange(24).reshape(2, 3, 4)
    found = made("layout", f"{'1' if dropped else ''}HWC->{after}")(array[np.newaxis] if dropped else array)
    sizes = dict(zip("HWC1", (2, 3, 4, 1)))
    assert found.shape == tuple(sizes[letter] for letter in after)
    for index in itertools.product(*map(range, (2, 3, 4))):
        where = dict(zip("HWC1", (*index, 0)))
        assert found[tuple(where[letter] for letter in after)] == array[index]


def test_a_layout_that_does_not_fit_is_refused():
    for text in ("HWC", "HW->HWC", "HWW->WH", "hw->wh", "HW->HH", 3):
        refused("layout", text)
    assert misfit("layout", "HWC->CHW", np.ones((2, 3))) == "shape" == misfit("layout", "1H->H", np.ones((2, 3)))


def test_select_takes_places_or_a_stretch():
    array = np.arange(12).reshape(2, 6)
    assert made("select", [0, -1])(array).tolist() == [[0, 5], [6, 11]]
    assert made("select", {"indices": [1], "axis": 0})(array).tolist() == [[6, 7, 8, 9, 10, 11]]
    assert made("select", {"start": 1, "stop": 5, "step": 2})(array).tolist() == [[1, 3], [7, 9]]
    assert made("select", {"stop": -4})(array).shape == (2, 2)
    assert made("select", {"start": 1, "axis": 0})(array).shape == (1, 6)
    assert "whole numbers" in refused("select", [0.5]) and "1 or more" in refused("select", {"step": 0})


def test_cast_refuses_what_the_dtype_cannot_hold():
    assert made("cast", "float32")(BYTES).dtype == np.float32
    assert made("cast", "uint8")(np.array([0.0, 255.9])).tolist() == [0, 255]
    assert misfit("cast", "uint8", np.array([256.0])) == "range" == misfit("cast", "int8", np.array([-129.0]))
    assert misfit("cast", "int64", np.array([np.nan])) == "not finite"
    assert "float32" in refused("cast", "flaot32")


def test_reshape_and_finite():
    assert made("reshape", [3, -1])(np.arange(6)).shape == (3, 2)
    assert "at most one -1" in refused("reshape", [-1, -1])
    ranges = np.array([1.0, np.inf, -np.inf, np.nan], np.float32)
    assert made("finite", {"nan": 0, "posinf": 30, "neginf": -1})(ranges).tolist() == [1, 30, -1, 0]
    kept = made("finite", {"posinf": 30.0})(ranges)
    assert kept.dtype == np.float32 and np.array_equal(kept, [1, 30, -np.inf, np.nan], equal_nan=True)
    assert np.isinf(ranges[1]) and made("finite", {"nan": 0.0})(BYTES) is BYTES
    assert "expected nan" in refused("finite", {})
