"""Transforms of scans and points against loops over points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.making import made, misfit, refused

RNG = np.random.default_rng(0)


def test_beams_take_the_nearest_one_or_the_nearest_obstacle():
    ranges = np.array([5, 4, 3, 2, 1, 0.5, 6, 7], np.float32)
    assert made("beams", 4)(ranges).tolist() == [4, 2, 0.5, 7]
    assert made("beams", {"count": 4, "pool": "min"})(ranges).tolist() == [4, 2, 0.5, 6]
    assert (
        made("beams", 8)(ranges).tolist() == ranges.tolist()
        and made("beams", 16)(ranges)[::2].tolist() == ranges.tolist()
    )
    holes = np.array([np.nan, 3, np.nan, np.nan, np.inf, np.inf], np.float32)
    found = made("beams", {"count": 3, "pool": "min"})(holes)
    assert found[0] == 3 and np.isnan(found[1]) and np.isinf(found[2])
    assert misfit("beams", 4, np.ones((2, 3))) == "shape" == misfit("beams", 4, np.ones(0))
    assert "1 or more" in refused("beams", 0) and "'max'" in refused("beams", {"count": 4, "pool": "max"})


@given(st.integers(1, 50), st.integers(1, 50))
def test_every_beam_counts_once_where_the_smallest_is_taken(size, count):
    ranges = np.arange(size, 0, -1).astype(np.float64)
    found = made("beams", {"count": count, "pool": "min"})(ranges)
    assert found.shape == (count,) and found.min() == 1 and np.all(np.diff(found) <= 0)


def test_polar_ranges_become_points_ahead_and_to_the_left():
    found = made("polar", {"start": -math.pi / 2, "stop": math.pi / 2})(
        np.array([1.0, 2.0, 3.0, np.inf, np.nan], np.float64)
    )
    assert np.allclose(found[[0, 2]], [[0, -1], [3, 0]], atol=1e-9) and np.isnan(found[3:]).all()
    assert made("polar", {"start": 0, "stop": 1})(np.ones(3, np.float32)).dtype == np.float32
    assert "'stop' is missing" in refused("polar", {"start": 0})


def test_points_are_drawn_or_filled_up_and_the_same_each_time():
    cloud = RNG.normal(size=(100, 4)).astype(np.float32)
    cloud[7] = np.nan
    drawn = made("points", 30)(cloud)
    assert drawn.shape == (30, 4) and np.array_equal(drawn, made("points", 30)(cloud))
    rows = [cloud.tolist().index(row) for row in drawn.tolist()]
    assert rows == sorted(set(rows)) and 7 not in rows and max(rows) > 60
    assert not np.array_equal(drawn, made("points", {"count": 30, "seed": 1})(cloud))
    padded = made("points", {"count": 110, "pad": -1.0})(cloud)
    assert padded.shape == (110, 4) and (padded[99:] == -1).all() and not (padded[98] == -1).any()
    assert made("points", 5)(cloud[:0]).tolist() == [[0.0] * 4] * 5
    assert misfit("points", 5, np.ones(3)) == "shape" and "1 or more" in refused("points", {"count": 0})


LAYERS = ["occupancy", "height", "density", "intensity"]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.sampled_from([0.25, 0.5, 1.0]), st.integers(0, 2**31))
def test_birdseye_equals_a_loop_over_points(count, cell, seed):
    rng = np.random.default_rng(seed)
    cloud = (rng.integers(-60, 60, (count, 4)) / 8).astype(np.float32)  # many on the edges of cells
    cloud[rng.random(count) < 0.1, 2] = np.nan
    found = made("birdseye", {"x": [0, 4], "y": [-2, 2], "cell": cell, "channels": LAYERS})(cloud)
    side = round(4 / cell)
    cells: dict[tuple[int, int], list] = {}
    for x, y, z, power in cloud.astype(float):
        if not math.isnan(z) and 0 <= x < 4 and -2 <= y < 2:
            cells.setdefault((int(x // cell), int((y + 2) // cell)), []).append((z, power))
    expected = np.zeros((side, side, 4))
    for place, inside in cells.items():
        heights, powers = zip(*inside)
        expected[place] = 1, max(heights), len(inside), sum(powers) / len(powers)
    assert found.dtype == np.float32 and np.allclose(found, expected, rtol=1e-6)


def test_birdseye_checks_its_table_and_its_points():
    table = {"x": [0, 40], "y": [-20, 20], "cell": 0.25}
    assert made("birdseye", table)(np.zeros((0, 3), np.float32)).shape == (160, 160, 1)
    assert misfit("birdseye", {**table, "channels": ["intensity"]}, np.ones((5, 3))) == "shape"
    assert "'heigt'" in refused("birdseye", {**table, "channels": ["heigt"]})
    assert "lower number first" in refused("birdseye", {**table, "x": [4, 0]})
    assert "more than 0" in refused("birdseye", {**table, "cell": 0}) and "at most" not in refused(
        "birdseye", {**table, "cell": "a"}
    )
    for cell in (1e-4, 1000.0):
        assert "cells" in refused("birdseye", {**table, "cell": cell})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_point_just_below_the_far_edge_stays_inside(dtype):
    edge = np.nextafter(dtype(4), dtype(0))
    cloud = np.array([[edge, edge - 2, 0]], dtype)
    assert made("birdseye", {"x": [0, 4], "y": [-2, 2], "cell": 0.1})(cloud).sum() == 1
