"""Topics that no file holds, for what is done with them."""

from __future__ import annotations

from edgefuse.recordings.formats import Raw, Topic


class Memory:
    """``{topic: (type, [(stamp_ns or None, arrival_ns, content)])}``; a content that is an exception is raised by its
    ``decode``. ``decoded`` counts what has been decoded, by topic."""

    def __init__(self, topics, damage=""):
        self.data, self.damage, self.closed = topics, damage, False
        self.topics = {name: Topic(name, kind, len(items)) for name, (kind, items) in topics.items()}
        self.decoded = dict.fromkeys(topics, 0)

    def messages(self, names):
        found = [(arrival, name, stamp, content) for name in names for stamp, arrival, content in self.data[name][1]]
        for arrival, name, stamp, content in sorted(found, key=lambda item: item[0]):
            yield Raw(name, stamp, arrival, lambda name=name, content=content: self._decode(name, content))

    def _decode(self, name, content):
        self.decoded[name] += 1
        if isinstance(content, Exception):
            raise content
        return content

    def close(self):
        self.closed = True
