"""Which operations stay in float where INT8 as a whole loses too much: the fewest multiply-accumulates for the most
accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgefuse.compile.planner.sensitivity import Loss

MARGINS_DB = (0.7, 2.5)
"""Above the floor: the sum of the units' errors is an estimate, and the held-out samples are others."""

GAINS_DB = (3.0, 6.0, 10.0)
"""Where the limit is a drop in a metric, which does not add up: so much more SQNR than all in INT8."""


def keep_float(losses: Sequence[Loss], allowed_noise: float) -> frozenset[str]:
    """Names of the operations to leave in float so that the others' errors sum up to at most *allowed_noise*.

    Greedy: the unit with the most error for its multiply-accumulates leaves first.
    """
    left = sorted(losses, key=lambda loss: loss.noise / max(loss.unit.macs, 1), reverse=True)
    noise, floats = sum(loss.noise for loss in left), set[str]()
    for loss in left:
        if noise <= allowed_noise:
            break
        noise -= loss.noise
        floats.update(loss.unit.nodes)
    return frozenset(floats)


def allowed_noises(losses: Sequence[Loss], floor_db: float | None, other_noise: float = 0.0) -> list[float]:
    """How much error INT8 may make, one figure for each variant to try, the largest first; *other_noise* is the error
    of what is not INT8 (bf16). *floor_db* None: a metric decides."""
    if floor_db is None:
        whole = sum(loss.noise for loss in losses)
        return [whole * 10 ** (-gain / 10) for gain in GAINS_DB]
    found = (10 ** (-(floor_db + margin) / 10) - other_noise for margin in MARGINS_DB)
    return [noise for noise in found if noise > 0]


def distinct(sets: Iterable[frozenset[str]], everything: frozenset[str]) -> list[frozenset[str]]:
    """*sets* in order without repetitions, and without those that leave nothing or all in INT8."""
    return [floats for floats in dict.fromkeys(sets) if floats and floats < everything]
