"""What is a set of samples, what a recording, and what a folder of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgefuse.calibration.paths import find_recordings
from edgefuse.errors import CalibrationError
from tests.recordings.files import tiny, write


@pytest.fixture
def place(tmp_path):
    write(tmp_path / "recording.npz", tiny(seconds=0.2))
    np.savez(tmp_path / "samples.npz", x=np.zeros((3, 2)), stamp_ns=np.arange(3))
    for name in ("split/calibrate", "split/golden", "set", "drives/bag", "drives/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "set" / "a.npz").write_bytes((tmp_path / "samples.npz").read_bytes())
    (tmp_path / "drives" / "bag" / "metadata.yaml").write_text("")
    for name in ("b.mcap", "a.MCAP", "notes.txt"):
        (tmp_path / "drives" / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["samples.npz"], []),
        (["set"], []),
        (["split"], []),
        (["recording.npz"], ["recording.npz"]),
        (["drives/b.mcap"], ["drives/b.mcap"]),
        (["drives/bag"], ["drives/bag"]),
        (["drives"], ["drives/a.MCAP", "drives/b.mcap", "drives/bag"]),
        (["recording.npz", "drives"], ["recording.npz", "drives/a.MCAP", "drives/b.mcap", "drives/bag"]),
    ],
)
def test_recordings_are_told_from_samples(place, names, expected):
    assert find_recordings([place / name for name in names]) == [place / name for name in expected]


def test_several_sets_are_no_set(place):
    with pytest.raises(CalibrationError, match="is a set of samples; of several paths"):
        find_recordings([place / "recording.npz", place / "set"])
    with pytest.raises(CalibrationError, match="there is no such file"):
        find_recordings([place / "nothing"])


def test_a_recording_that_ships_is_told_where_it_is_not_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalibrationError) as error:
        find_recordings([Path("calibration/rover/drive.mcap")])
    assert Path((error.value.hint or "").removeprefix("It ships with EdgeFuse: ")).is_file()
    for other in ("calibration/rover/none.mcap", "calibration/../calibration/rover/drive.mcap", "drive.mcap"):
        with pytest.raises(CalibrationError) as error:
            find_recordings([Path(other)])
        assert not error.value.hint
