"""Parts put together: order, lanes, and equality with one after another."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgefuse import assembled
from edgefuse.assembled import Assembled, find_lanes, part_spec
from edgefuse.manifest import _check_artifact
from edgefuse.parts import Part, Partition
from edgefuse.spec import ModelSpec, TensorSpec

SPEC = ModelSpec((TensorSpec("image", (2,)), TensorSpec("imu", (2,))), ("sum", "seen"))
CUT = Partition(
    (
        Part("image", ("image",), ("image",), ("a", "seen")),
        Part("imu", ("imu",), ("imu",), ("b",)),
        Part("trunk", ("image", "imu"), ("a", "b"), ("sum",)),
    ),
    (TensorSpec("a", (2,), stream="image"), TensorSpec("b", (2,), stream="imu")),
)


class Python:
    def __init__(self, function):
        self.function, self.closed = function, 0

    def __call__(self, feed):
        return self.function(feed)

    def close(self):
        self.closed += 1


def runners():
    return {
        "image": Python(lambda feed: {"a": feed["image"] * 2, "seen": feed["image"]}),
        "imu": Python(lambda feed: {"b": feed["imu"] + 1}),
        "trunk": Python(lambda feed: {"sum": feed["a"] + feed["b"]}),
    }


@pytest.mark.parametrize("lanes", [(), (["image"], ["imu"])])
def test_parts_make_the_models_outputs(lanes):
    whole = Assembled(CUT, runners(), SPEC, lanes)
    feed = {"image": np.array([1.0, 2.0]), "imu": np.array([3.0, 4.0])}
    for _ in range(50):
        found = whole(feed)
        assert list(found) == ["sum", "seen"] and (found["sum"] == [6.0, 9.0]).all()
    assert set(feed) == {"image", "imu"}
    whole.close()


def test_every_part_is_closed_and_an_error_in_a_lane_is_raised():
    parts = runners()
    parts["imu"] = Python(lambda feed: 1 / 0)
    whole = Assembled(CUT, parts, SPEC, (["image"], ["imu"]))
    with pytest.raises(ZeroDivisionError):
        whole({"image": np.zeros(2), "imu": np.zeros(2)})
    whole.close()
    whole.close()
    assert all(part.closed for part in parts.values())


def test_ctrl_c_while_a_lane_still_runs_waits_for_it(monkeypatch):
    parts, ended, waits = runners(), [], []
    parts["imu"] = Python(lambda feed: time.sleep(0.1) or ended.append(1) or {"b": feed["imu"]})
    whole = Assembled(CUT, parts, SPEC, (["image"], ["imu"]))
    real = assembled.wait

    def interrupted(waiting):
        waits.append(1)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return real(waiting)

    monkeypatch.setattr(assembled, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whole({"image": np.zeros(2), "imu": np.zeros(2)})
    assert ended == [1]
    whole.close()


def test_the_costliest_branches_are_spread_over_lanes():
    costs = {"a": 5.0, "b": 3.0, "c": 2.0}
    parts = tuple(Part(name, (name,), (f"in_{name}",), (f"out_{name}",)) for name in costs)
    trunk = Part("trunk", ("a", "b", "c"), ("out_a", "out_b", "out_c"), ("out",))
    cut = Partition((*parts, trunk), tuple(TensorSpec(f"out_{name}", (1,), stream=name) for name in costs))
    assert find_lanes(cut, costs, 2) == [["a"], ["b", "c"]]
    assert find_lanes(cut, costs, 1) == [["a", "b", "c"]]


def test_a_part_is_a_model_of_its_own():
    spec = part_spec(CUT["trunk"], CUT, SPEC)
    assert spec.names == ("a", "b") and spec.outputs == ("sum",)


def test_a_bundle_of_a_model_without_a_trunk_may_run_all_of_its_parts_in_lanes():
    alone = Partition((Part("image", ("image",), ("image",), ("seen",)), Part("imu", ("imu",), ("imu",), ("sum",))))
    parts = [{"name": part.name, "path": f"artifacts/{part.name}", "settings": {}} for part in alone.parts]
    made = {"path": "artifacts/whole", "settings": {}, "calls": "parts", "parts": parts, "lanes": [["image"], ["imu"]]}
    _check_artifact(made, alone)
    with pytest.raises(ValueError, match="lanes"):
        _check_artifact({**made, "lanes": [["image"], ["image"]]}, alone)
