"""Equality to the bit, and how a difference is told."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.pytest_plugin.bits import compare_bits


def pairs(expected, got):
    return [({"y": a}, {"y": b}) for a, b in zip(expected, got)]


def test_equal_bits_are_equal_also_those_of_nan():
    rows = np.array([[1.0, np.nan], [-np.inf, 0.0]], np.float32)
    (found,) = compare_bits(pairs(rows, rows.copy()))
    assert (found.elements, found.differing, found.lines) == (4, 0, [])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_next_number_is_one_ulp_away(dtype):
    rows = np.array([[1.5, -2.0], [3.0, 0.25]], dtype)
    other = rows.copy()
    other[1, 1] = np.nextafter(other[1, 1], dtype(1))
    (found,) = compare_bits(pairs(rows, other))
    assert (found.differing, found.samples_differing, found.max_ulp) == (1, 1, 1)
    assert found.worst[0].sample == 1 and found.worst[0].place == (1,)


def test_signs_of_zero_differ_and_are_no_step_apart():
    (found,) = compare_bits(pairs(np.zeros((1, 2), np.float32), -np.zeros((1, 2), np.float32)))
    assert found.differing == 2 and found.max_abs == 0.0 and found.max_ulp == 0


def test_steps_across_zero_are_counted():
    tiny = np.float32(1e-45)
    (found,) = compare_bits(pairs(np.array([[tiny]]), np.array([[-tiny]])))
    assert found.max_ulp == 2


def test_nan_in_place_of_a_number_is_the_worst():
    rows = np.ones((2, 3), np.float32)
    other = rows.copy()
    other[0, 0], other[1, 2] = 2.0, np.nan
    (found,) = compare_bits(pairs(rows, other))
    assert found.max_abs == np.inf and found.to_json()["max_abs"] is None
    assert found.lines[0] == "y float32 3: 2 of 6 elements differ, in 2 of 2 samples; at most inf apart, 8388608 ulp"
    assert "  sample 1 [2]: 1 → nan" in found.lines


def test_integers_and_booleans():
    for dtype in (np.int8, np.uint8, np.int64, np.bool_):
        rows = np.array([[0, 1]], dtype)
        (found,) = compare_bits(pairs(rows, rows[:, ::-1]))
        assert found.differing == 2 and found.max_abs == 1.0 and found.max_ulp is None


def test_another_shape_or_dtype_is_said():
    (found,) = compare_bits(pairs(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float64)))
    assert found.lines == ["y: float64 3 in place of float32 3"] and found.samples_differing == 2


def test_a_scalar_output():
    (found,) = compare_bits([({"y": np.float32(1).reshape(())}, {"y": np.float32(2).reshape(())})])
    assert found.lines[1] == "  sample 0 []: 1 → 2"
