"""Recordings of the robot of tests/stream/robots.py, and tracks of made-up streams."""

from __future__ import annotations

import numpy as np

from edgefuse.calibration.tracks import Track
from edgefuse.spec import TensorSpec
from edgefuse.stream.policy import StreamPolicy
from tests.recordings.files import MS, START
from tests.stream.robots import graph

SPEC = graph()[1]
WINDOW = {"kind": "window", "sample_hz": 100.0}


def stamps(count, rate_hz, rng, jitter_ms=1.0, lost=0.0, start_ns=START):
    """(n,) int64, in order, of a sensor that trembles and loses *lost* of its samples."""
    ideal = np.arange(count) * 1e9 / rate_hz + rng.normal(0, jitter_ms * MS, count)
    return np.sort(start_ns + np.round(ideal).astype(np.int64) + 10 * MS)[rng.random(count) >= lost]


def robot(seconds=12.0, seed=0, lost=0.02, bad=0.0, labels=None):
    """camera 30 Hz, gyro 100 Hz one sample each, lidar 10 Hz, words now and then; *bad* of the pictures have NaN."""
    rng = np.random.default_rng(seed)
    times = {
        "image": stamps(int(30 * seconds), 30, rng, lost=lost),
        "gyro": stamps(int(100 * seconds), 100, rng, 0.5, lost),
        "points": stamps(int(10 * seconds), 10, rng, lost=lost),
        "words": START + np.array([20, int(seconds * 600), int(seconds * 800)]) * MS,
    }
    count = {name: len(given) for name, given in times.items()}
    found = {
        "image": rng.normal(size=(count["image"], 1, 2, 8, 8)).astype(np.float32),
        "gyro": rng.normal(size=(count["gyro"], 4)).astype(np.float32),
        "points": rng.normal(size=(count["points"], 12)).astype(np.float32),
        "power": rng.normal(size=(count["points"], 12)).astype(np.float32),
        "words": rng.integers(0, 10, (count["words"], 3)),
    }
    found["image"][rng.random(count["image"]) < bad, ..., 0] = np.nan
    times["power"] = times["points"]
    found |= {f"{name}.stamp_ns": given for name, given in times.items()}
    if labels is not None:
        found |= {"label": labels, "label.stamp_ns": START + np.arange(len(labels)) * int(seconds * 1e9 / len(labels))}
    return found


def track(times_ns, name="camera", limit_ms=None, early_ms=0.0, kind="latest", rate_hz=None, full=None):
    """A stream that delivered at *times_ns*."""
    times = np.asarray(times_ns, np.int64)
    item = TensorSpec(name, (1, 4), stream=name, rate_hz=rate_hz)
    policy = StreamPolicy(kind=kind, max_early_ms=early_ms, axis=1)
    everything = np.arange(len(times))
    given = np.ones(len(times), bool) if full is None else np.asarray(full, bool)
    limit = None if limit_ms is None else round(limit_ms * MS)
    return Track(name, (item,), policy, everything, times, given, everything, times, limit, 0)
