"""The report's numbers as a person reads them. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def significant(value: float, digits: int = 3) -> str:
    """*value* with so many significant digits and no exponent where that is readable: 0.970, 12.3, 1234."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".replace("-", "−")


def about(count: float) -> str:
    """An estimated number with two digits: 150,000; it is no better known."""
    return f"{float(f'{count:.2g}'):,.0f}"


def score_unit(metric: str) -> tuple[float, str]:
    """What a score of *metric* is multiplied by for a person, and the unit of a difference (top-k: points)."""
    return (100.0, " pt") if metric.startswith("top") else (1.0, "")


def drop_text(drop: float, metric: str) -> str:
    """A drop in *metric* as a person reads it: 0.106 pt."""
    scale, unit = score_unit(metric)
    return f"{significant(drop * scale)}{unit}"


def score_text(score: float, metric: str) -> str:
    """A score as a person reads it: 97.66 %."""
    return f"{score:.2%}".replace("%", " %") if metric.startswith("top") else significant(score, 4)


def megabytes(size_bytes: int) -> str:
    return f"{significant(size_bytes / 1e6)} MB"


def listed(words: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def decibels_text(value: float) -> str:
    """±300 dB stand for "no error at all" and "nothing but error" (fidelity.EXACT_DB)."""
    if value >= 300:
        return "identical"
    return "no signal left" if value <= -300 else f"{value:.1f} dB".replace("-", "−")


def p90_interval(latency: Mapping[str, Any]) -> tuple[float, float]:
    """What the limit is held against: the 95 % interval of p90, widened by the canary as the verdict does."""
    (low, high), canary = latency["p90_ci95_ms"], latency["canary_p90_ratio"]
    noise = max(canary, 1 / canary)
    return low / noise, high * noise


def size_text(size_bytes: int) -> str:
    """A tensor's or a part's size as a person reads it: 640 B, 12.8 KB, 8.20 MB (powers of ten)."""
    for unit, scale in (("MB", 1e6), ("KB", 1e3)):
        if size_bytes >= 0.9995 * scale:
            return f"{significant(max(size_bytes / scale, 1.0))} {unit}"
    return f"{size_bytes} B"


def count_text(value: int) -> str:
    """A large count as a person reads it: 148 M, 2.24 k."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * scale:
            return f"{significant(max(value / scale, 1.0))} {unit}"
    return str(value)


def percent(share: float) -> str:
    """A share as a person reads it: 34 %, and "< 1 %" rather than a zero that is none."""
    return "< 1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")


def threads_text(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
