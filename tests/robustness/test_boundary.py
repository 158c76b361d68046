"""The tensors between branches and trunk, and whether they leave the range of the clean samples."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.assembled import Assembled
from edgefuse.parts import Part, Partition
from edgefuse.robustness.boundary import Boundary
from edgefuse.spec import ModelSpec, TensorSpec

SPEC = ModelSpec((TensorSpec("image", (1, 4), stream="camera"), TensorSpec("imu", (1, 4))), ("out",))


class Runs:
    def __init__(self, function):
        self.function, self.runs = function, 0

    def __call__(self, feed):
        self.runs += 1
        return self.function(feed)

    def close(self):
        pass


@pytest.fixture
def parts():
    """The camera's branch doubles, the imu's hands on INT8 of what a ReLU left; the trunk is never needed."""
    partition = Partition(
        (
            Part("camera", ("camera",), ("image",), ("seen",)),
            Part("imu", ("imu",), ("imu",), ("felt",)),
            Part("trunk", ("camera", "imu"), ("seen", "felt"), ("out",)),
        ),
        (TensorSpec("seen", (1, 4), "float32", stream="camera"), TensorSpec("felt", (1, 4), "uint8", stream="imu")),
    )
    runners = {
        "camera": Runs(lambda feed: {"seen": feed["image"] * 2}),
        "imu": Runs(lambda feed: {"felt": np.clip(feed["imu"] * 100, 0, 255).astype(np.uint8)}),
        "trunk": Runs(lambda feed: 1 / 0),
    }
    return Assembled(partition, runners, SPEC)


def feed(image, imu=(0.0, 0.5, 1.0, 2.0)):
    return {"image": np.array([image], np.float32), "imu": np.array([imu], np.float32)}


def test_values_outside_the_clean_range_are_counted_for_the_stream_that_changed(parts):
    boundary = Boundary(parts, [feed((0, 1, 2, 3)), feed((-1, 0, 1, 2))])
    assert boundary.outside(feed((0, 1, 2, 3)), "camera") == {"seen": (0, 4)}
    assert boundary.outside(feed((-2, 1, 2, 9)), "camera") == {"seen": (2, 4)}


def test_of_int8_saturated_values_count_but_not_the_zeros_of_a_relu(parts):
    boundary = Boundary(parts, [feed((0, 0, 0, 0))])
    assert boundary.outside(feed((0, 0, 0, 0), (-1.0, -2.0, 0.3, 2.5)), "imu") == {"felt": (0, 4)}
    assert boundary.outside(feed((0, 0, 0, 0), (-1.0, 3.0, 9.0, 2.5)), "imu") == {"felt": (2, 4)}
