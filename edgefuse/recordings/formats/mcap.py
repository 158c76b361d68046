"""MCAP files (``.mcap``): ROS 2, ROS 1, JSON and Protobuf messages; with or without index, whole or cut short.

A message's arrival is its log time. The checksums of chunks are checked; messages outside chunks have none.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import Topic, reading
from edgefuse.recordings.formats.blocks import Blocks, BlockTopics
from edgefuse.recordings.formats.mcap_layout import Channel, Layout, split
from edgefuse.recordings.formats.mcap_walk import read_layout
from edgefuse.recordings.formats.payloads import Codec, json_codec, protobuf_codec
from edgefuse.recordings.formats.rostypes import CDR, ROS1, normal_name, ros_codec

ROS = {("cdr", "ros2msg"): ("msg", CDR), ("cdr", "ros2idl"): ("idl", CDR), ("ros1", "ros1msg"): ("msg", ROS1)}
"""The encodings of messages and of their schema to the definition's language and the messages' layout."""


def open(path: Path) -> BlockTopics:
    """See :class:`edgefuse.recordings.formats.Format`."""
    with reading(path):
        layout = read_layout(path)
    found = BlockTopics(
        path,
        Blocks(path, layout.blocks, split, layout.lost),
        _topics(layout),
        {key: channel.topic for key, channel in layout.channels.items()},
        partial(_codec, path, layout),
        layout.damage,
    )
    if not found.topics and found.damage:
        raise RecordingError(f"nothing of it can be read: {found.damage}", where=str(path))
    return found


def _codec(path: Path, layout: Layout, key: int) -> Codec:
    channel = layout.channels[key]
    schema, encoding = layout.schemas.get(channel.schema_id), channel.message_encoding
    described = schema.encoding if schema else "nothing"
    try:
        if encoding == "json":
            return json_codec()
        if schema and encoding == "protobuf":
            return protobuf_codec(schema)
        if schema and (encoding, described) in ROS:
            return ros_codec(schema.name, schema.data.decode(errors="replace"), *ROS[encoding, described])
    except ValueError as error:
        raise RecordingError(str(error), where=f"{path}: {channel.topic}") from error
    raise RecordingError(
        f"its messages are encoded as {encoding!r}, described by {described!r}",
        where=f"{path}: {channel.topic}",
        hint="Known are cdr with ros2msg or ros2idl, ros1 with ros1msg, json, and protobuf.",
    )


def _topics(layout: Layout) -> dict[str, Topic]:
    """A topic may have several channels, and they several types."""
    types: dict[str, dict[str, None]] = {}
    counts = Counter[str]()
    for key, channel in layout.channels.items():
        types.setdefault(channel.topic, {})[_type(layout, channel)] = None
        counts[channel.topic] += layout.counts[key]
    return {name: Topic(name, ", ".join(found), counts[name]) for name, found in types.items()}


def _type(layout: Layout, channel: Channel) -> str:
    schema = layout.schemas.get(channel.schema_id)
    if schema is None:
        return channel.message_encoding
    return normal_name(schema.name) if (channel.message_encoding, schema.encoding) in ROS else schema.name
