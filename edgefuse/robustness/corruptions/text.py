"""What may happen to text as integer ids. After MultiBench (Liang et al. 2107.07502, text). A mask beside the ids (an
input of the same stream that holds 0 and 1 alone) is cut where they are and gets no typos."""

from __future__ import annotations

import numpy as np

from edgefuse.robustness.corruptions import About, Corruption
from edgefuse.robustness.corruptions.generic import MULTIBENCH
from edgefuse.spec import Array

Rng = np.random.Generator

TEXT = ("text",)


def typos(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """A share a of the ids that are no padding, at least one, is a random id of the range seen over the clean golden
    samples."""
    if about.high - about.low <= 1:
        return array
    drawn = np.where(array == about.fill, np.inf, rng.random(array.shape))
    chosen = (drawn < amount) | ((drawn == drawn.min()) & np.isfinite(drawn))
    others = rng.integers(int(about.low), int(about.high) + 1, array.shape)
    # One step on where chance drew what stood there, or padding; what is past the end starts again.
    for _ in range(2):
        same = (others == array) | (others == about.fill)
        others = np.where(same, np.where(others < about.high, others + 1, int(about.low)), others)
    return np.where(chosen, others, array)


def truncation(array: Array, amount: float, rng: Rng, about: About) -> Array:
    """Only the first share a of the text is kept; padding follows."""
    assert about.time is not None
    steps = np.arange(array.shape[about.time])
    written = np.moveaxis(array, about.time, -1) != about.fill
    length = np.where(written, steps + 1, 0).max(axis=-1, keepdims=True)
    kept = steps < np.floor(length * amount)
    return np.where(np.moveaxis(kept, -1, about.time), array, about.fill)


TABLE = (
    Corruption("typos", TEXT, (0.1, 0.25, 0.5), "share of the ids", typos, MULTIBENCH, "{} has typos"),
    Corruption(
        "truncation", TEXT, (0.75, 0.5, 0.25), "share that is kept", truncation, MULTIBENCH, "{} is cut short",
        needs=("time",), flags=True,
    ),
)  # fmt: skip
