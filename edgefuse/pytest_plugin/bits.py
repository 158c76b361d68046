"""Where two sets of answers that should be equal to the bit are not. Numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgefuse.spec import Array, shape_text

SHOWN = 5
"""Samples in a failure's text."""

Pair = tuple[Mapping[str, Array], Mapping[str, Array]]


@dataclass(frozen=True)
class Mismatch:
    """The element of one sample that differs most."""

    sample: int
    place: tuple[int, ...]
    expected: float
    got: float


@dataclass
class OutputBits:
    """One output over all samples. ``worst`` has one entry for each sample that differs."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    elements: int = 0
    differing: int = 0
    samples: int = 0
    max_abs: float = 0.0
    max_ulp: int | None = None
    changed: str = ""
    worst: list[Mismatch] = field(default_factory=list)

    def add(self, sample: int, expected: Array, got: Array) -> None:
        self.samples += 1
        self.elements += expected.size
        if expected.shape != got.shape or expected.dtype != got.dtype:
            self.changed = (
                f"{got.dtype} {shape_text(got.shape)} in place of {expected.dtype} {shape_text(expected.shape)}"
            )
            self.differing += expected.size
            return
        unequal = _bits(expected) != _bits(got)
        if not unequal.any():
            return
        self.differing += int(unequal.sum())
        with np.errstate(invalid="ignore"):
            error = np.where(unequal, np.abs(got.astype(np.float64) - expected.astype(np.float64)), -1.0)
        error = np.where(np.isnan(error), np.inf, error)
        place = np.unravel_index(int(error.argmax()), error.shape)
        self.max_abs = max(self.max_abs, float(error.max()))
        self._count_ulp(expected, got)
        index = tuple(int(i) for i in place)
        self.worst.append(Mismatch(sample, index, float(expected[place]), float(got[place])))

    def _count_ulp(self, expected: Array, got: Array) -> None:
        """How many representable numbers apart, of floats that are both finite."""
        if expected.dtype.kind != "f":
            return
        finite = np.isfinite(expected) & np.isfinite(got)
        if finite.any():
            one, other = _ordered(expected)[finite], _ordered(got)[finite]
            steps = np.maximum(one, other).view(np.uint64) - np.minimum(one, other).view(np.uint64)
            self.max_ulp = max(self.max_ulp or 0, int(steps.max()))

    @property
    def samples_differing(self) -> int:
        return self.samples if self.changed else len(self.worst)

    @property
    def lines(self) -> list[str]:
        """For a failure's text; empty where all is equal."""
        if self.changed:
            return [f"{self.name}: {self.changed}"]
        if not self.differing:
            return []
        ulp = "" if self.max_ulp is None else f", {self.max_ulp} ulp"
        found = [
            f"{self.name} {self.dtype} {shape_text(self.shape)}: {self.differing} of {self.elements} elements differ, "
            f"in {len(self.worst)} of {self.samples} samples; at most {self.max_abs:.3g} apart{ulp}"
        ]
        ranked = sorted(self.worst, key=lambda item: -abs(item.got - item.expected))[:SHOWN]
        return found + [
            f"  sample {item.sample} {list(item.place)}: {item.expected:.9g} → {item.got:.9g}" for item in ranked
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "output": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "samples": self.samples,
            "samples_differing": self.samples_differing,
            "elements": self.elements,
            "elements_differing": self.differing,
            "max_abs": self.max_abs if np.isfinite(self.max_abs) else None,
            "max_ulp": self.max_ulp,
        }


def compare_bits(pairs: Iterable[Pair]) -> list[OutputBits]:
    """Each pair is what was expected of one sample, and what came: output name to array. NaN equals itself if its bits
    do; 0 and −0 differ."""
    found: dict[str, OutputBits] = {}
    for sample, (expected, got) in enumerate(pairs):
        for name, array in expected.items():
            item = found.setdefault(name, OutputBits(name, array.shape, str(array.dtype)))
            item.add(sample, array, got[name])
    return list(found.values())


def _bits(array: Array) -> Array:
    plain = np.ascontiguousarray(array)
    return plain.view(f"u{plain.dtype.itemsize}").reshape(array.shape)


def _ordered(array: Array) -> Array:
    """Floats as integers that count the representable numbers from 0, of either sign."""
    plain = np.ascontiguousarray(array)
    size = 8 * plain.dtype.itemsize
    bits = plain.view(f"i{plain.dtype.itemsize}").reshape(array.shape).astype(np.int64)
    return np.where(bits < 0, -(bits & np.int64((1 << (size - 1)) - 1)), bits)
