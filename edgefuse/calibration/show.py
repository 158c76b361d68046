"""What ``edgefuse calibration show`` tells of a set of samples or of a recording, as plain JSON values. Numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefuse.calibration.built import read_report
from edgefuse.calibration.choose import spread_evenly
from edgefuse.calibration.examine import describe_set, examine
from edgefuse.calibration.measure import measure
from edgefuse.calibration.paths import recordings_at
from edgefuse.calibration.reading import Taken, resting_state, take_samples
from edgefuse.calibration.recorded import Order, Recorded, Source, open_sources
from edgefuse.calibration.sets import MARKS, SPLITS, CalibrationSet, Sample, read_set
from edgefuse.calibration.tracks import Times
from edgefuse.errors import CalibrationError, RecipeError
from edgefuse.recipe import CalibrationSource, Recipe
from edgefuse.recordings import NPZ
from edgefuse.recordings.formats import open_topics
from edgefuse.recordings.mapping import LABEL
from edgefuse.recordings.npz import STAMP
from edgefuse.samples import ArrayHeader, read_headers
from edgefuse.spec import DTYPES, ModelSpec, TensorSpec

SHOWN = 512
"""Samples that are taken of a recording, evenly over its time."""

GAP = 1.5
"""Median intervals, beyond which one is a gap."""


def show(path: Path, recipe: Recipe | None) -> dict[str, Any]:
    """``kind`` is "set" or "recording". Raises :class:`CalibrationError` and ``RecordingError``."""
    recordings = recordings_at(path)
    if not recordings:
        return _show_set(path, recipe)
    if len(recordings) > 1:
        names = ", ".join(item.name for item in recordings[:4])
        hint = f"Name one of them: {names}{' …' if len(recordings) > 4 else ''}"
        raise CalibrationError(f"holds {len(recordings)} recordings", where=str(path), hint=hint)
    return _show_topics(path) if recipe is None else _show_recording(recordings[0], recipe)


# -- a set


def _show_set(path: Path, recipe: Recipe | None) -> dict[str, Any]:
    source = recipe.calibration if recipe is not None else CalibrationSource()
    spec, label = _recipe_spec(recipe) if recipe is not None else _found_spec(path)
    folders = any((path / name).is_dir() for name in SPLITS)
    if folders:  # everything that lies there
        source = replace(source, samples=1 << 62, golden=None)
    found = _read_as_it_is(path, source, spec, label)
    examined = examine(found, recipe.state if recipe is not None else ())
    return {"kind": "set", "name": path.name, **examined, "rule": found.rule, "built": read_report(path)}


def read_built(path: Path, order: Order) -> CalibrationSet:
    """What has been built there, all of it."""
    everything = CalibrationSource(path, samples=order.samples)
    return _read_as_it_is(path, everything, order.spec, order.label)


def _read_as_it_is(path: Path, source: CalibrationSource, spec: ModelSpec, label: str | None) -> CalibrationSet:
    found = read_set(path, source, spec, label)
    return replace(found, calibrate=replace(found.calibrate, finite=False), golden=replace(found.golden, finite=False))


def _recipe_spec(recipe: Recipe) -> tuple[ModelSpec, str | None]:
    return ModelSpec(recipe_inputs(recipe), recipe.outputs), recipe.accuracy.label


def recipe_inputs(recipe: Recipe) -> tuple[TensorSpec, ...]:
    if not recipe.inputs:
        raise RecipeError(
            "has no [inputs] tables, which say what a sample is",
            where=str(recipe.path or recipe.folder),
            hint="Add [inputs.NAME] with shape, dtype, modality, stream and rate_hz.",
        )
    return recipe.inputs


def _found_spec(path: Path) -> tuple[ModelSpec, str | None]:
    """Every array of the first file is an input, but those with the names of labels and marks."""
    folders = [path / name for name in SPLITS if (path / name).is_dir()] or [path]
    files = sorted(folders[0].glob(f"*{NPZ}")) if folders[0].is_dir() else [path]
    if not files:
        raise CalibrationError("holds no .npz file and no recording", where=str(folders[0]))
    headers = read_headers(files[0])
    inputs = [_found_input(name, header) for name, header in headers.items() if name not in (*MARKS, LABEL)]
    if not inputs:
        raise CalibrationError(f"holds no inputs, but {', '.join(headers) or 'nothing'}", where=str(files[0]))
    return ModelSpec(tuple(inputs), ()), LABEL if LABEL in headers else None


def _found_input(name: str, header: ArrayHeader) -> TensorSpec:
    if str(header.dtype) not in DTYPES:
        raise CalibrationError(f"has dtype {header.dtype}", where=name, hint=f"Known: {', '.join(DTYPES)}.")
    row = header.shape[1:]
    return TensorSpec(name, row if len(row) > 1 and row[0] == 1 else (1, *row), str(header.dtype))


# -- a recording


def _show_recording(path: Path, recipe: Recipe) -> dict[str, Any]:
    spec = ModelSpec(recipe_inputs(recipe), recipe.outputs)
    recorded = Recorded(recipe.recording, recipe.streams, recipe.state, recipe.folder)
    [source] = open_sources([path], spec, recorded, None, None)
    chosen = spread_evenly(len(source.aligned), SHOWN, np.random.default_rng(0))
    dropped, state = Counter[str](), resting_state(spec.inputs, recipe.state)
    found = take_samples(source.recording, source.tracks, source.aligned, chosen, source.labels is not None, dropped)
    samples = (_sample(source, taken, state) for taken in found)
    measured = measure("recording", samples, len(chosen), spec, recipe.state)
    if not len(measured):
        reasons = ", ".join(f"{count} {reason}" for reason, count in (source.aligned.dropped + dropped).most_common())
        raise CalibrationError(f"gives no samples: of its instants {reasons}", where=str(path))
    facts = source.to_json()
    for name, track in source.tracks.items():
        facts["streams"][name] |= rhythm(track.times_ns)
    facts["dropped"] = dict((source.aligned.dropped + dropped).most_common())
    source.recording.close()
    return {"kind": "recording", "name": path.name, **describe_set(measured, None, recipe.state), "recording": facts}


def _sample(source: Source, taken: Taken, state: Mapping[str, Any]) -> Sample:
    stamp = int(source.aligned.times_ns[taken.instant])
    return Sample({**taken.feed, **state}, taken.label, None, stamp)


def rhythm(times_ns: Times) -> dict[str, Any]:
    """``rate_hz`` of the median interval, and the ``gaps`` that are half as long again; null of fewer than two."""
    intervals = np.diff(times_ns)
    if not len(intervals):
        return {"rate_hz": None, "gaps": 0, "longest_gap_ms": None}
    median = float(np.median(intervals))
    return {
        "rate_hz": 1e9 / median if median > 0 else None,
        "gaps": int((intervals > GAP * median).sum()),
        "longest_gap_ms": float(intervals.max()) / 1e6,
    }


def _show_topics(path: Path) -> dict[str, Any]:
    """What a recording holds, whatever the model."""
    if path.name.endswith(NPZ):
        rows, damage = list(_npz_rows(path)), ""
    else:
        rows, damage = _topic_rows(path)
    size = sum(f.stat().st_size for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file())
    spans = [row.pop("span_ns") for row in rows]
    given = [span for span in spans if span is not None]
    duration = (max(end for _, end in given) - min(start for start, _ in given)) / 1e9 if given else None
    found = {"size_bytes": size, "duration_s": duration, "damage": damage, "topics": rows}
    return {"kind": "topics", "name": path.name, **found}


def _topic_rows(path: Path) -> tuple[list[dict[str, Any]], str]:
    opened = open_topics(path)
    times: dict[str, list[int]] = {name: [] for name in opened.topics}
    for raw in opened.messages(list(opened.topics)):
        times[raw.topic].append(raw.arrival_ns)
    rows = [_row(name, topic.type, np.array(times[name], np.int64)) for name, topic in opened.topics.items()]
    damage = opened.damage
    opened.close()
    return rows, damage


def _npz_rows(path: Path) -> Iterator[dict[str, Any]]:
    headers = read_headers(path)
    with np.load(path, allow_pickle=False) as archive:
        for name, header in headers.items():
            if name + STAMP in headers:
                shape = "x".join(map(str, header.shape[1:])) or "scalar"
                yield _row(name, f"{shape} {header.dtype}", archive[name + STAMP].astype(np.int64))


def _row(name: str, kind: str, times_ns: Times) -> dict[str, Any]:
    ordered = np.sort(times_ns)
    span = (int(ordered[0]), int(ordered[-1])) if len(ordered) else None
    return {"topic": name, "type": kind, "count": len(times_ns), **rhythm(ordered), "span_ns": span}
