"""What the tests of the formats share: reading everything, damaging files, being nobody."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from edgefuse.errors import RecordingError
from edgefuse.recordings.formats import open_topics


def read(path, names=None):
    """The open recording, and (topic, stamp, arrival) of every message, each of which was decoded if it could be."""
    topics = open_topics(path)
    found = []
    for raw in topics.messages(topics.topics if names is None else names):
        found.append((raw.topic, raw.stamp_ns, raw.arrival_ns))
        with contextlib.suppress(ValueError):
            raw.decode()
    assert [item[2] for item in found] == sorted(item[2] for item in found), "messages come in order of arrival"
    return topics, found


def try_read(path):
    """As :func:`read`, or the error's text and nothing: there is no other way for it to fail."""
    try:
        topics, found = read(path)
    except RecordingError as error:
        assert error.what and error.where
        return str(error), []
    return topics.damage, found


def expected(topics):
    """(topic, stamp, arrival) of what a writer was given, in order of arrival."""
    found = [(topic, stamp, arrival) for topic, items in topics.items() for stamp, arrival, _ in items]
    return sorted(found, key=lambda item: item[2])


def flipped(data, places):
    """*places*: (where as a part of the length, what to xor with)."""
    found = bytearray(data)
    for part, value in places:
        found[min(int(part * len(found)), len(found) - 1)] ^= value
    return bytes(found)


@contextlib.contextmanager
def unreadable(path):
    """A copy of *path*, a file or folder, that nobody may read; and the block runs as nobody."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        copy = Path(folder, path.name)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        copy.chmod(0o000)
        if root:
            os.seteuid(65534)
        try:
            yield copy
        finally:
            if root:
                os.seteuid(0)
            copy.chmod(0o755)
