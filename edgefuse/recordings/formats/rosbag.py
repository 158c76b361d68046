"""Bags of ROS 1 (``.bag``) and of ROS 2: a folder, or a single ``.db3`` (a single ``.mcap``: see ``mcap.py``)."""

from __future__ import annotations

from pathlib import Path

from edgefuse.recordings.formats import Topics


def open(path: Path) -> Topics:
    """See :class:`edgefuse.recordings.formats.Format`."""
    if path.is_dir():
        from edgefuse.recordings.formats import rosbag2

        return rosbag2.open(path)
    if path.suffix.lower() == ".db3":
        from edgefuse.recordings.formats import rosbag2_sqlite

        return rosbag2_sqlite.open(path)
    from edgefuse.recordings.formats import rosbag1

    return rosbag1.open(path)
