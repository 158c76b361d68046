"""What is guessed of an input's layout, and that a window's policy says more than a guess."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.robustness.axes import channel_axis, plane, points_form, sizes, time_axis
from edgefuse.robustness.facts import layout, look, main_modality
from edgefuse.spec import DimRange, TensorSpec
from edgefuse.stream.policy import StreamPolicy


def spec(modality, *shape, **more):
    return TensorSpec("x", shape, modality=modality, **more)


@pytest.mark.parametrize(
    ("item", "time", "channels"),
    [
        (spec("audio", 1, 16000), 1, None),
        (spec("audio", 1, 1, 16000), 2, None),
        (spec("audio", 1, 32, 24), 1, None),
        (spec("imu", 1, 100, 6), 1, 2),
        (spec("imu", 1, 6, 100), 2, 1),
        (spec("imu", 1, 6), None, 1),
        (spec("state", 1, 7), None, 1),
        (spec("state", 1, 1, 7), 2, 1),
        (spec("text", 1, 12), 1, None),
        (spec("text", 1, 12, 64), 1, None),
        (spec("image", 1, 3, 96, 96), None, 1),
        (spec("image", 1, 96, 96, 3), None, 3),
        (spec("image", 1, 2, 3, 64, 64), None, 2),
        (spec("image", 1, 8, 8), None, None),
        (spec("points", 1, 1000, 4), None, 2),
        (spec("points", 1, 4, 1000), None, 1),
        (spec("points", 1, 360), None, None),
        (spec(None, 1, 5), None, None),
    ],
)
def test_axes_are_guessed_from_modality_and_shape(item, time, channels):
    found = time_axis(item, StreamPolicy())
    assert found == time and channel_axis(item, found) == channels


def test_a_windows_axis_is_time_whatever_the_shape_looks_like():
    item = spec("imu", 1, 6, 100)
    assert time_axis(item, StreamPolicy(kind="window", axis=1)) == 1
    assert channel_axis(item, 1) == 2
    assert time_axis(spec("imu", 1, 1, 6), StreamPolicy(kind="window", axis=1)) is None, "one step is no time"


@pytest.mark.parametrize(
    ("shape", "form"),
    [((1, 360), "scan"), ((1, 1, 360), "scan"), ((1, 500, 4), "set"), ((1, 3, 500), "set"), ((1, 64, 64), "grid"),
     ((1, 8, 64, 64), "grid"), ((1, 2, 1, 360), "grid")],
)  # fmt: skip
def test_lidar_comes_as_scan_set_or_grid(shape, form):
    assert points_form(shape) == form


def test_planes_and_dynamic_sizes():
    assert plane((1, 3, 8, 9), 1) == (2, 3) and plane((1, 8, 9, 3), 3) == (1, 2) and plane((1, 9), None) is None
    assert sizes((DimRange(1, 4), 5)) == (4, 5)
    assert layout(spec("image", 1, 1, 8, 8), StreamPolicy(), None).channels is None, "one channel is not swapped"


def test_a_mask_without_modality_takes_that_of_its_stream():
    tokens, mask = spec("text", 1, 12, dtype="int64"), TensorSpec("mask", (1, 12), "bool")
    assert main_modality((mask, tokens)) == "text" and main_modality((mask,)) is None
    feeds = [{"x": np.arange(12)[np.newaxis], "mask": np.ones((1, 12), bool)}]
    found = look(feeds, 1, {"text": (tokens, mask)}, {"text": StreamPolicy()})
    assert found["mask"].modality == "text" and found["mask"].time == 1 and found["x"].high == 11.0
    intrinsics = TensorSpec("k", (1, 9), modality="state")
    assert main_modality((intrinsics, spec("image", 1, 3, 8, 8))) == "image"


def test_facts_are_those_of_all_values_where_they_are_few():
    item = spec("imu", 1, 20, 3)
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.normal(0, [1, 10, 100], (1, 20, 3))} for _ in range(50)]
    found = look(feeds, 50, {"x": (item,)}, {"x": StreamPolicy()})["x"]
    values = np.concatenate([feed["x"] for feed in feeds], axis=1)[0]
    assert found.low == values.min() and found.high == values.max()
    assert found.spread.ravel() == pytest.approx(values.std(axis=0))
    assert found.quantiles[0.1].ravel() == pytest.approx(np.quantile(values, 0.1, axis=0))
