"""Transforms of images against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.making import made, misfit, refused

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 18, 3), np.uint8)
DEPTH = RNG.uniform(0.5, 9.0, (12, 18)).astype(np.float32)
KINDS = {
    "rgb": RGB,
    "grey": RGB[..., 0],
    "depth": DEPTH,
    "millimetres": (DEPTH * 1000).astype(np.uint16),
    "rgba": np.concatenate([RGB, RGB[..., :1]], axis=-1),
    "layers": np.stack([DEPTH, -DEPTH], axis=-1).astype(np.float64),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "area"])
def test_resize_keeps_the_dtype_the_channels_and_what_is_constant(kind, method):
    array = KINDS[kind]
    found = made("resize", {"size": [6, 6], "method": method})(array)
    assert found.shape == (6, 6, *array.shape[2:]) and found.dtype == array.dtype
    same = made("resize", {"size": [5, 31], "method": method})(np.full_like(array, 7))
    assert np.all(same == 7)


@pytest.mark.parametrize("kind", KINDS)
def test_area_is_the_mean_of_what_a_pixel_covers(kind):
    array = KINDS[kind]
    found = made("resize", {"size": [4, 3], "method": "area"})(array)
    for row in range(4):
        for column in range(3):
            mean = array[row * 3 : row * 3 + 3, column * 6 : column * 6 + 6].astype(np.float64).mean(axis=(0, 1))
            exact = 1.01 if array.dtype == np.uint8 else 0.51 if array.dtype.kind == "u" else 1e-5
            assert np.allclose(found[row, column], mean, atol=exact)  # Pillow rounds bytes along each axis


@given(st.integers(1, 30), st.integers(1, 30))
def test_nearest_takes_the_pixel_under_the_middle(height, width):
    found = made("resize", {"size": [height, width], "method": "nearest"})(RGB)
    for row in range(height):
        for column in range(width):
            assert np.array_equal(
                found[row, column], RGB[int((row + 0.5) * 12 / height), int((column + 0.5) * 18 / width)]
            )


def test_bilinear_twice_as_large_lies_between_neighbours_and_bicubic_stays_within_bytes():
    line = np.array([[0.0, 4.0]], np.float32)
    assert np.allclose(made("resize", [1, 4])(line), [[0, 1, 3, 4]])
    edge = np.zeros((8, 8), np.uint16)
    edge[:, 4:] = 65535
    found = made("resize", {"size": [16, 16], "method": "bicubic"})(edge)
    assert np.all(np.diff(found.astype(int), axis=1) >= 0)  # it overshoots on both sides, and must not wrap


def test_resize_and_crop_check_their_values_and_what_they_get():
    assert "2 whole numbers" in refused("resize", [48]) and "1 or more" in refused("resize", [0, 4])
    assert "'linear'" in refused("resize", {"size": [4, 4], "method": "linear"})
    assert "at most" in refused("resize", [10**5, 10**5]) and "table" not in refused("resize", "48x64")
    assert misfit("resize", [4, 4], np.ones(3)) == "shape" == misfit("resize", [4, 4], np.ones((0, 3)))
    assert "size or box" in refused("crop", {}) and "4 whole numbers" in refused("crop", {"box": [1, 2]})
    assert misfit("crop", [13, 4], RGB) == "shape" == misfit("crop", {"box": [8, 0, 5, 5]}, RGB)


def test_crop_cuts_around_the_centre_or_where_it_is_told():
    assert np.array_equal(made("crop", [4, 6])(RGB), RGB[4:8, 6:12])
    assert np.array_equal(made("crop", {"box": [1, 2, 3, 4]})(DEPTH), DEPTH[1:4, 2:6])
    assert np.array_equal(made("crop", {"size": [12, 18]})(RGB), RGB)


def test_channels_mono_and_flip():
    assert np.array_equal(made("channels", "bgr")(RGB), RGB[..., ::-1])
    assert made("channels", "R")(RGB).shape == (12, 18, 1) and misfit("channels", "bgra", RGB) == "shape"
    assert "rgba" in refused("channels", "yuv") and misfit("channels", "bgr", DEPTH) == "shape"
    grey = made("mono", True)(RGB)
    assert grey.dtype == np.uint8 and grey.shape == (12, 18)
    red, green, blue = RGB[3, 5].astype(float)
    assert abs(grey[3, 5] - (0.299 * red + 0.587 * green + 0.114 * blue)) <= 0.5001
    assert made("mono", True)(np.full((2, 2, 3), 255, np.uint8)).tolist() == [[255, 255], [255, 255]]
    assert made("mono", True)(RGB.astype(np.float32) / 255).dtype == np.float32
    assert "expected true" in refused("mono", False) and misfit("mono", True, DEPTH) == "shape"
    assert np.array_equal(made("flip", "horizontal")(RGB), RGB[:, ::-1])
    assert np.array_equal(made("flip", "vertical")(RGB), RGB[::-1])
    assert np.array_equal(made("flip", "both")(DEPTH), DEPTH[::-1, ::-1]) and "'left'" in refused("flip", "left")
