"""Recordings that a calibration set is made from: opened, with what each of their streams can give. Numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefuse.calibration.instants import Aligned, Anchor, align, instants, settle_anchor
from edgefuse.calibration.labels import Labels, read_labels
from edgefuse.calibration.stretches import Cut
from edgefuse.calibration.tracks import Track, find_strays, make_track
from edgefuse.errors import CalibrationError
from edgefuse.recordings import Recording, Wanted, open_recording
from edgefuse.recordings.mapping import LABEL, Sources
from edgefuse.spec import ModelSpec
from edgefuse.stream.policy import StreamPolicy, override, sensor_inputs

GOLDEN = 500
"""Held-out samples where the recipe does not say how many: enough for most limits, and few enough to carry."""


@dataclass(frozen=True)
class Recorded:
    """What the recipe says beside the inputs: which topics feed them, how the streams behave, which inputs carry the
    model's state; ``folder`` is what the transforms' files start from. ``work``: where a set that is made on the way
    can lie, for as long as it is read."""

    sources: Sources = field(default_factory=dict)
    policies: Mapping[str, StreamPolicy] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    work: Path | None = None


@dataclass(frozen=True)
class Order:
    """What is wanted: ``samples`` that calibrate and ``golden`` held-out ones of *spec*'s inputs. ``label`` is the name
    of the array with the labels; None: they are not needed, and called "label" where there are some. ``anchor`` None:
    see :func:`edgefuse.calibration.instants.settle_anchor`."""

    spec: ModelSpec
    recorded: Recorded = field(default_factory=Recorded)
    label: str | None = None
    samples: int = 256
    golden: int = GOLDEN
    seed: int = 0
    anchor: Anchor | None = None


@dataclass(frozen=True)
class Source:
    """One recording; ``labels`` is None where samples have none. ``dropped`` counts what could not be read."""

    path: Path
    recording: Recording
    tracks: Mapping[str, Track]
    labels: Labels | None
    anchor: Anchor
    aligned: Aligned
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def cut(self) -> Cut:
        tracks = self.tracks.values()
        reach, early = max(track.reach_ns for track in tracks), max(track.early_ns for track in tracks)
        changes = self.labels.changes_ns() if self.labels is not None else self.aligned.times_ns[:0]
        return Cut(self.aligned, changes, reach, early)

    def to_json(self) -> dict[str, Any]:
        recording = self.recording
        return {
            "path": self.path.name,
            "duration_s": (recording.end_ns - recording.start_ns) / 1e9,
            "labels": recording.label_count,
            "anchor": str(self.anchor),
            "instants": len(self.aligned) + self.aligned.dropped.total(),
            "complete": len(self.aligned),
            "streams": {name: _track_json(track) for name, track in self.tracks.items()},
            "unreadable": {name: dict(reasons) for name, reasons in recording.dropped.items()},
            "damage": recording.damage,
            "notes": list(recording.notes),
        }


def _track_json(track: Track) -> dict[str, Any]:
    return {
        "kind": track.policy.kind,
        "deliveries": len(track.times_ns) + track.backwards + track.strayed,
        "not_in_order": track.backwards,
        "other_clock": track.strayed,
        "tolerance_ms": None if track.limit_ns is None else track.limit_ns / 1e6,
    }


def open_sources(
    paths: Sequence[Path], spec: ModelSpec, recorded: Recorded, label: str | None, anchor: Anchor | None
) -> list[Source]:
    """Every recording with its complete instants. Raises :class:`CalibrationError` where one lacks a stream, or the
    labels that *label* asks for."""
    streams = sensor_inputs(spec, recorded.state)
    policies = override(recorded.policies, None, streams)
    wanted = {
        name: Wanted(items, policies[name].axis if policies[name].kind == "window" else None)
        for name, items in streams.items()
    }
    opened = [open_recording(path, wanted, recorded.sources, recorded.folder) for path in paths]
    labelled = all(recording.label_count for recording in opened)
    found = []
    for path, recording in zip(paths, opened):
        _check_streams(path, recording, wanted)
        if label is not None and not recording.label_count:
            hint = "Name its topic in [recording.label], or take the metric sqnr, which needs none."
            raise CalibrationError(f"has no labels, and the metric needs {label!r}", where=str(path), hint=hint)
        strays = find_strays(recording, policies)
        tracks = {
            name: make_track(
                recording, name, items, policies[name], _tolerance_ms(recorded.sources, items), strays[name]
            )
            for name, items in streams.items()
        }
        _check_clocks(path, tracks)
        labels = read_labels(recording) if labelled else None
        label_ms = recorded.sources[LABEL].tolerance_ms if LABEL in recorded.sources else None
        settled = settle_anchor(anchor, tracks, labels, label_ms)
        aligned = align(instants(settled, tracks, labels), tracks, labels, label_ms)
        found.append(Source(path, recording, tracks, labels, settled, aligned))
    return found


def _check_streams(path: Path, recording: Recording, wanted: Mapping[str, Wanted]) -> None:
    for name, item in wanted.items():
        if not recording.counts.get(name):
            inputs = " and ".join(spec.name for spec in item.inputs)
            also = f"; it also has {', '.join(recording.unused)}" if recording.unused else ""
            raise CalibrationError(
                f"has nothing of the stream {name!r} ({inputs}){also}",
                where=str(path),
                hint=f"Which topic feeds it stands in [recording.{item.inputs[0].name}].",
            )


def _check_clocks(path: Path, tracks: Mapping[str, Track]) -> None:
    for name, track in tracks.items():
        if track.strayed and not len(track.times_ns):
            raise CalibrationError(
                f"all {track.strayed} stamps of the stream {name!r} are more than 1 h away from the others' clock",
                where=str(path),
                hint=f"Where they differ by a constant, [streams.{name}] offset_ms mends it.",
            )


def _tolerance_ms(sources: Sources, items: Sequence[Any]) -> float | None:
    """The least of those of a stream's inputs."""
    given = [sources[item.name].tolerance_ms for item in items if item.name in sources]
    return min((value for value in given if value is not None), default=None)
