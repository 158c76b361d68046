"""Recordings of the tiny model (tests/conftest.py) as its users would write them."""

from __future__ import annotations

import numpy as np

MS = 1_000_000
START = 5_000_000_000


def times(count, rate_hz, start_ns=START):
    return start_ns + np.round(np.arange(count) * 1e9 / rate_hz).astype(np.int64)


def tiny(seconds=2.0, seed=0, labels=None):
    """``image`` at 30 Hz, arriving 10 ms later, ``state`` at 100 Hz; *labels* (n,) hold for equal times each."""
    rng = np.random.default_rng(seed)
    images, states = int(30 * seconds), int(100 * seconds)
    found = {
        "image": rng.normal(size=(images, 1, 8, 8)).astype(np.float32),
        "image.stamp_ns": times(images, 30),
        "image.arrival_ns": times(images, 30) + 10 * MS,
        "state": rng.normal(size=(states, 6)).astype(np.float32),
        "state.stamp_ns": times(states, 100),
    }
    if labels is not None:
        found |= {"label": labels, "label.stamp_ns": times(len(labels), len(labels) / seconds)}
    return found


def write(path, arrays):
    np.savez_compressed(path, **arrays)
    return path
