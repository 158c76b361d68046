"""ROS 1 bags (``.bag``, version 2.0): closed ones, and the ``.bag.active`` of a robot that lost power.

A message's arrival is the time at which it was recorded. The format has no checksums.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import Topic, reading
from edgefuse.recordings.formats.blocks import Blocks, BlockTopics
from edgefuse.recordings.formats.payloads import Codec
from edgefuse.recordings.formats.rosbag1_layout import Layout, read_layout
from edgefuse.recordings.formats.rosbag1_records import split
from edgefuse.recordings.formats.rostypes import ROS1, ros_codec


def open(path: Path) -> BlockTopics:
    """See :class:`edgefuse.recordings.formats.Format`."""
    with reading(path):
        layout = read_layout(path)
    found = BlockTopics(
        path,
        Blocks(path, list(layout.blocks.values()), split, layout.lost),
        _topics(layout),
        {key: item.topic for key, item in layout.connections.items()},
        partial(_codec, path, layout),
        layout.damage,
    )
    if not found.topics and found.damage:
        raise RecordingError(f"nothing of it can be read: {found.damage}", where=str(path))
    return found


def _codec(path: Path, layout: Layout, key: int) -> Codec:
    item = layout.connections[key]
    try:
        return ros_codec(item.type, item.definition, "msg", ROS1)
    except ValueError as error:
        raise RecordingError(str(error), where=f"{path}: {item.topic}") from error


def _topics(layout: Layout) -> dict[str, Topic]:
    """A topic has a connection for each node that publishes it."""
    types: dict[str, dict[str, None]] = {}
    for item in layout.connections.values():
        types.setdefault(item.topic, {})[item.type] = None
    counts = Counter[str]()
    for contents in layout.contents.values():
        for key, count in contents.counts.items():
            if key in layout.connections:
                counts[layout.connections[key].topic] += count
    return {name: Topic(name, ", ".join(found), counts[name]) for name, found in types.items()}
