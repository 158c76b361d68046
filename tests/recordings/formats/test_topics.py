from __future__ import annotations

import pytest

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import TOPICS, open_topics, read_small
from tests.recordings.writers import drive, write_bag, write_hdf5, write_lerobot, write_mcap_ros2, write_rosbag2


def test_a_format_is_known_by_its_suffix_or_by_what_a_folder_holds(tmp_path):
    made = {
        "a.mcap": write_mcap_ros2(tmp_path / "a.mcap", drive(0.1)),
        "B.MCAP": write_mcap_ros2(tmp_path / "B.MCAP", drive(0.1)),
        "a.bag": write_bag(tmp_path / "a.bag", drive(0.1, version=1)),
        "a.h5": write_hdf5(tmp_path / "a.h5", {"imu": [1, 2]}),
        "rosbag2": write_rosbag2(tmp_path / "rosbag2", drive(0.1)),
        "lerobot": write_lerobot(tmp_path / "lerobot", (2,), video=False),
    }
    made["a.db3"] = made["rosbag2"] / "rosbag2.db3"
    for name, path in made.items():
        assert any(key.strip("/") in ("imu", "action") for key in open_topics(path).topics), name
    assert len(set(TOPICS.values())) == 4


def test_what_is_no_recording_says_what_would_be(tmp_path):
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b").write_text("")
    (tmp_path / "empty").mkdir()
    wrong = {
        "gone.mcap": "there is no such file",
        "a.txt": r"is a \.txt file; expected a recording\n.*\.mcap",
        "b": "is a file without a suffix",
        "empty": "is an empty folder; expected a recording",
        "": r"is a folder of a\.txt, b, empty …; expected",
    }
    for name, message in wrong.items():
        with pytest.raises(RecordingError, match=message):
            open_topics(tmp_path / name)


def test_a_folder_named_like_a_file_is_a_folder(tmp_path):
    path = write_rosbag2(tmp_path / "a.mcap", drive(0.1))
    assert "/imu" in open_topics(path).topics


def test_a_file_that_is_read_as_a_whole_has_a_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_small(tmp_path / "a", 5) == b"12345"
    with pytest.raises(RecordingError, match="has 5 bytes; expected at most 4"):
        read_small(tmp_path / "a", 4)
