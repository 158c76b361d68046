"""Splits and layouts of calibration sets (bad sets: tests/cli/test_bad_input.py)."""

from __future__ import annotations

import numpy as np
import pytest

from edgefuse.calibration import open_calibration
from edgefuse.recipe import CalibrationSource
from edgefuse.spec import ModelSpec, TensorSpec

SPEC = ModelSpec((TensorSpec("x", (1, 3)),), ("y",))


def rows(count: int, start: int = 0) -> np.ndarray:
    return (np.arange(count * 3, dtype=np.float32) + start * 3).reshape(count, 3)


def values(split) -> list[float]:
    return [float(sample.feed["x"][0, 0]) for sample in split]


@pytest.mark.parametrize("array", [rows(10), rows(10)[:, None]], ids=["a[i:i+1]", "a[i]"])
def test_both_layouts_give_the_same_feeds(tmp_path, array):
    np.savez(tmp_path / "a.npz", x=array)
    found = open_calibration(CalibrationSource(tmp_path / "a.npz", samples=4), SPEC, None)
    feeds = [sample.feed["x"] for split in (found.calibrate, found.golden) for sample in split]
    assert all(feed.shape == (1, 3) for feed in feeds)
    assert sorted(float(feed[0, 0]) for feed in feeds) == [3.0 * i for i in range(10)]


def test_splits_are_disjoint_seeded_and_recorded(tmp_path):
    np.savez(tmp_path / "a.npz", x=rows(50))
    source = CalibrationSource(tmp_path / "a.npz", samples=20, seed=3)
    first, second = (open_calibration(source, SPEC, None) for _ in range(2))
    assert values(first.calibrate) == values(second.calibrate)
    assert not set(values(first.calibrate)) & set(values(first.golden))
    assert len(first.calibrate) == 20 and len(first.golden) == 30
    assert first.rule == {"by": "numpy.random.default_rng(seed).permutation", "seed": 3, "calibrate": 20, "golden": 30}
    other = open_calibration(CalibrationSource(tmp_path / "a.npz", samples=20, seed=4), SPEC, None)
    assert values(other.calibrate) != values(first.calibrate)


def test_half_of_a_small_set_stays_held_out(tmp_path):
    np.savez(tmp_path / "a.npz", x=rows(10))
    found = open_calibration(CalibrationSource(tmp_path / "a.npz", samples=256), SPEC, None)
    assert len(found.calibrate) == 5 and len(found.golden) == 5


def test_folders_named_after_the_splits_decide_them(tmp_path):
    for name, start in (("calibrate", 0), ("golden", 100)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "a.npz", x=rows(6, start))
    found = open_calibration(CalibrationSource(tmp_path), SPEC, None)
    assert max(values(found.calibrate)) < min(values(found.golden))


def test_files_of_a_folder_are_joined_in_order_of_their_names(tmp_path):
    np.savez(tmp_path / "b.npz", x=rows(3, 3))
    np.savez(tmp_path / "a.npz", x=rows(3), label=np.arange(3))
    np.savez(tmp_path / "b.npz", x=rows(3, 3), label=np.arange(3, 6))
    found = open_calibration(CalibrationSource(tmp_path, samples=2), SPEC, "label")
    samples = [*found.calibrate, *found.golden]
    assert all(float(sample.feed["x"][0, 0]) == 9.0 * (int(sample.label)) / 3 for sample in samples)


def test_a_group_array_travels_with_its_samples(tmp_path):
    np.savez(tmp_path / "a.npz", x=rows(8), group=np.repeat([5, 6], 4))
    found = open_calibration(CalibrationSource(tmp_path / "a.npz", samples=4), SPEC, None)
    assert {sample.group for sample in [*found.calibrate, *found.golden]} == {5, 6}
