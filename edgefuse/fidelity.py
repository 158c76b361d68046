"""How close two models' outputs are, per output, whatever they mean. Numpy only.

SQNR = 10·log10(Σ reference² / Σ (candidate − reference)²) over all samples and elements. It hides an output that
has lost its dependence on the inputs but keeps its mean, so the same figure is also computed after the mean over the
samples has been subtracted (``sqnr_centered_db``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgefuse.errors import ModelError
from edgefuse.spec import Array

EXACT_DB = 300.0
"""What identical outputs are reported as: beyond float64's own rounding (about 313 dB), and still a JSON number."""

VARIES = 1e-20
"""Of the signal's energy: below it an output is constant but for float64's rounding."""


@dataclass
class Fidelity:
    """Running sums for one output; one sample's arrays are in memory at a time.

    ``signal``, ``noise`` and ``centered`` hold one energy per sample. ``centered`` sums to that of the reference around
    its mean over all samples; each term is around the mean so far, scaled so that all have the same expectation.
    """

    output: str
    signal: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    centered: list[float] = field(default_factory=list)
    cosine: list[float] = field(default_factory=list)
    max_abs: float = 0.0
    nonfinite_mismatches: int = 0
    _mean: Array | None = None

    def add(self, reference: Array, candidate: Array) -> None:
        """One sample's output of both models. Raises :class:`ModelError` where the shapes differ."""
        if reference.shape != candidate.shape:
            raise ModelError(
                f"output {self.output!r} has shape {candidate.shape}; the reference's is {reference.shape}",
                hint="The toolchain changed the output's shape; try another precision.",
            )
        expected, got = reference.astype(np.float64), candidate.astype(np.float64)
        finite = np.isfinite(expected) & np.isfinite(got)
        # -inf may be meant (a masked logit): it must stand in the same places, and is left out of the sums.
        self.nonfinite_mismatches += int(np.sum(~finite & ~((expected == got) | (np.isnan(expected) & np.isnan(got)))))
        expected, got = np.where(finite, expected, 0.0), np.where(finite, got, 0.0)
        error = got - expected
        self.signal.append(float(np.sum(expected**2)))
        self.noise.append(float(np.sum(error**2)))
        self.max_abs = max(self.max_abs, float(np.max(np.abs(error), initial=0.0)))
        norms = math.sqrt(float(np.sum(expected**2)) * float(np.sum(got**2)))
        self.cosine.append(float(np.sum(expected * got)) / norms if norms else float(not error.any()))
        self._center(expected)

    def _center(self, expected: Array) -> None:
        """Welford's update (1962, Technometrics 4:419) of the sum of squares around the mean over samples, element by
        element. Of independent samples every increment but the first has the variance as its expectation."""
        if self._mean is None:
            self._mean = np.zeros_like(expected)
        if self._mean.shape != expected.shape:
            self.centered.append(math.nan)
            return
        delta = expected - self._mean
        self._mean += delta / len(self.signal)
        self.centered.append(float(np.sum(delta * (expected - self._mean))))

    @property
    def sqnr_db(self) -> float:
        return decibels(sum(self.signal), sum(self.noise))

    @property
    def sqnr_centered_db(self) -> float | None:
        # A reference that never varies has no dependence to lose.
        squares = sum(self.centered)
        centered = math.isfinite(squares) and squares > VARIES * sum(self.signal) and len(self.signal) > 1
        return decibels(squares, sum(self.noise)) if centered else None

    def to_json(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "samples": len(self.signal),
            "sqnr_db": self.sqnr_db,
            "sqnr_centered_db": self.sqnr_centered_db,
            "cosine": float(np.mean(self.cosine)),
            "max_abs": self.max_abs,
            "nonfinite_mismatches": self.nonfinite_mismatches,
        }


def decibels(signal: float, noise: float) -> float:
    """10·log10(signal/noise), kept within ±300 dB so that it is a number in JSON."""
    if noise <= 0:
        return EXACT_DB
    return float(np.clip(10 * math.log10(signal / noise), -EXACT_DB, EXACT_DB)) if signal > 0 else -EXACT_DB


def worst_db(fidelities: Iterable[Fidelity]) -> float:
    """The SQNR of the worst output, plain or centred, whichever is lower; −300 where NaN or infinity appeared."""
    found = [_lowest(item) for item in fidelities]
    return min(found, default=EXACT_DB)


def _lowest(item: Fidelity) -> float:
    if item.nonfinite_mismatches:
        return -EXACT_DB
    centered = item.sqnr_centered_db
    return item.sqnr_db if centered is None else min(item.sqnr_db, centered)
