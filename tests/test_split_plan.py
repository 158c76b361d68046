"""When a model is worth running part by part."""

from __future__ import annotations

import pytest

from edgefuse.parts import Part, Partition
from edgefuse.spec import ModelSpec, TensorSpec
from edgefuse.split_plan import _decide, stream_costs

CUT = Partition(
    (
        Part("camera", ("camera",), ("image",), ("a",)),
        Part("imu", ("imu",), ("imu",), ("b",)),
        Part("trunk", ("camera", "imu"), ("a", "b"), ("out",)),
    ),
    (TensorSpec("a", (1,), stream="camera"), TensorSpec("b", (1,), stream="imu")),
)
PART_MS = {"camera": 5.0, "imu": 0.2, "trunk": 0.5}


def spec(camera_hz, imu_hz):
    camera = TensorSpec("image", (1,), stream="camera", rate_hz=camera_hz)
    return ModelSpec((camera, TensorSpec("imu", (1,), stream="imu", rate_hz=imu_hz)), ("out",))


def test_each_branch_runs_at_its_sensors_rate_and_the_trunk_at_the_fastest():
    costs = stream_costs(CUT, spec(30, 200), PART_MS, 5.6)
    assert costs == pytest.approx({"whole": 5.6 * 200, "split": 30 * 5.0 + 200 * 0.2 + 200 * 0.5})


def test_a_stream_without_a_rate_costs_nothing_and_without_any_rate_nothing_is_known():
    assert stream_costs(CUT, spec(None, 100), PART_MS, 5.6) == pytest.approx({"whole": 560.0, "split": 70.0})
    assert stream_costs(CUT, spec(None, None), PART_MS, 5.6) is None


@pytest.mark.parametrize(
    ("whole", "split", "parallel", "costs", "passes", "expected"),
    [
        (5.0, 5.1, None, {"whole": 100.0, "split": 20.0}, True, (True, "whole", False)),
        (5.0, 5.1, None, {"whole": 100.0, "split": 95.0}, True, (False, "whole", False)),
        (5.0, 5.1, None, None, True, (False, "whole", False)),
        (5.0, 4.5, None, None, True, (True, "parts", False)),
        (5.0, 4.9, 3.0, None, True, (True, "parts", True)),
        (5.0, 4.0, 4.5, None, True, (True, "parts", False)),
        (5.0, 4.0, 3.0, {"whole": 100.0, "split": 20.0}, False, (False, "whole", False)),
    ],
)
def test_a_split_is_kept_only_where_it_gains(whole, split, parallel, costs, passes, expected):
    kept, calls, reason, lanes = _decide(whole, split, parallel, costs, passes)
    assert (kept, calls, lanes) == expected and reason
