"""Which topic of a recording feeds which input, checked against the topics that there are. Numpy only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefuse.errors import RecordingError
from edgefuse.recordings import Wanted
from edgefuse.recordings.fields import take
from edgefuse.recordings.formats import Topic
from edgefuse.recordings.mapping import LABEL, Source, Sources
from edgefuse.spec import Array, TensorSpec
from edgefuse.transforms import Chain, make_chain

KINDS = {
    "image": ("CompressedImage", "Image", "video"),
    "depth": ("Image", "CompressedImage", "video"),
    "points": ("PointCloud", "LaserScan"),
    "imu": ("Imu",),
    "state": ("JointState", "Odometry", "Twist", "float"),
    "audio": ("Audio", "MultiArray"),
    "text": ("String", "string", "text"),
}
"""Modality to what the types of its topics are called, for the example that an error gives."""
MOST_TOPICS = 40


@dataclass(frozen=True)
class Reader:
    """Makes the array of one input (or of the label) of a topic's messages, of type ``kind``."""

    name: str
    source: Source
    kind: str
    chain: Chain

    def __call__(self, message: Any) -> Array:
        return self.chain(take(message, self.kind, self.source.field))


@dataclass(frozen=True)
class Plan:
    """``readers``: stream name to what makes its inputs; only streams whose topics are there."""

    readers: Mapping[str, tuple[Reader, ...]]
    label: Reader | None
    notes: tuple[str, ...]

    def every_reader(self) -> Iterator[Reader]:
        yield from (reader for group in self.readers.values() for reader in group)
        if self.label is not None:
            yield self.label


def make_plan(
    path: Path, topics: Mapping[str, Topic], wanted: Mapping[str, Wanted], sources: Sources, folder: Path
) -> Plan:
    """Raises :class:`RecordingError` where a stream has some of its inputs' topics and not the others, or where no
    stream has any; ``RecipeError`` for wrong transforms."""
    readers: dict[str, tuple[Reader, ...]] = {}
    notes: list[str] = []
    for name, stream in wanted.items():
        lacking = [_lacking(item.name, topics, sources) for item in stream.inputs]
        if not any(lacking):
            chains = [make_chain(sources[item.name], item, folder, stream.axis) for item in stream.inputs]
            readers[name] = tuple(
                _reader(item.name, sources, topics, chain) for item, chain in zip(stream.inputs, chains)
            )
        elif all(lacking):
            notes += lacking
        else:
            there = ", ".join(item.name for item, text in zip(stream.inputs, lacking) if not text)
            wrong = next(text for text in lacking if text)
            raise RecordingError(f"{wrong}; {there}, of the same stream {name!r}, is there", where=str(path))
    if not readers:
        raise RecordingError(f"feeds no input: {'; '.join(notes)}", where=str(path), hint=topics_text(topics))
    label = None
    if LABEL in sources and LABEL not in {item.name for stream in wanted.values() for item in stream.inputs}:
        reason = _lacking(LABEL, topics, sources)
        if reason:
            notes.append(f"{reason}, so nothing can be judged")
        else:
            label = _reader(LABEL, sources, topics, make_chain(sources[LABEL], None, folder))
    return Plan(readers, label, tuple(notes))


def _reader(name: str, sources: Sources, topics: Mapping[str, Topic], chain: Chain) -> Reader:
    source = sources[name]
    return Reader(name, source, topics[source.topic].type, chain)


def _lacking(name: str, topics: Mapping[str, Topic], sources: Sources) -> str:
    """Why there is nothing for the input *name*; empty: there is."""
    if name not in sources:
        return f"{name} has no [recording.{name}]"
    topic = sources[name].topic
    return "" if topic in topics else f"there is no topic {topic!r} for {name}{_near(topic, topics)}"


def _near(topic: str, topics: Iterable[str]) -> str:
    bare, asked = {name.strip("/").lower(): name for name in topics}, topic.strip("/").lower()
    within = sorted((name for name in bare if asked and (asked in name or name in asked)), key=len)
    close = difflib.get_close_matches(asked, bare, n=1, cutoff=0.6) or within
    return f" (did you mean {bare[close[0]]!r}?)" if close else ""


def topics_text(topics: Mapping[str, Topic]) -> str:
    """The topics with their types and counts, a line each, for people."""
    shown = [topics[name] for name in sorted(topics)[:MOST_TOPICS]]
    names = max((len(topic.name) for topic in shown), default=0)
    kinds = max((len(topic.type) for topic in shown), default=0)
    lines = [f"  {t.name:<{names}}  {t.type:<{kinds}}  {'?' if t.count is None else t.count}" for t in shown]
    more = [f"  … and {len(topics) - len(shown)} more"] if len(topics) > len(shown) else []
    return "\n".join(["It holds:" if lines else "It holds nothing.", *lines, *more])


def unmapped(path: Path, topics: Mapping[str, Topic], wanted: Mapping[str, Wanted]) -> RecordingError:
    """That nobody has said which topics feed the model, with tables to begin with."""
    inputs = [item for stream in wanted.values() for item in stream.inputs]
    tables = "\n".join(f'[recording.{item.name}]\ntopic = "{_guess(item, topics)}"' for item in inputs)
    todo = "Say it in the recipe (a replay also takes one with --recipe), after checking these guesses:"
    return RecordingError(
        "nothing says which of its topics feed the model's inputs",
        where=str(path),
        hint=f"{topics_text(topics)}\n{todo}\n\n{tables}\n",
    )


def _guess(item: TensorSpec, topics: Mapping[str, Topic]) -> str:
    """Of the topics whose type fits the input's modality, or of all, one that has the input's name in its own or is
    called much like it; "…" where there is none."""
    kinds = KINDS.get(item.modality or "", ())
    fitting = [topic.name for kind in kinds for topic in topics.values() if kind in topic.type]
    known = list(dict.fromkeys(fitting)) or sorted(topics)
    within = [name for name in known if item.name.lower() in name.lower()]
    close = within or difflib.get_close_matches(item.name, known, n=1, cutoff=0.3 if fitting else 0.6)
    return close[0] if close else fitting[0] if fitting else "…"
