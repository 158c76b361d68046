"""Which sensors a stream may do without: those whose absence was measured when the bundle was made. Standard library
only."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgefuse.errors import UsageError
from edgefuse.spec import TensorSpec
from edgefuse.stream.policy import StreamPolicy

Absence = frozenset[str]
"""Streams that are absent together; the policies' ``fallback`` stands in their place."""

MOST_TOGETHER = 4
"""Of so many streams with a fallback every combination is measured; of more, those of one and two streams."""


def may_be_absent(policy: StreamPolicy) -> bool:
    """Whether the policy lets its fallback stand in for data."""
    return policy.on_stale == "fallback" or not policy.required


def absences_to_measure(
    policies: Mapping[str, StreamPolicy], streams: Mapping[str, tuple[TensorSpec, ...]]
) -> list[Absence]:
    """Each stream alone, and every combination of those with a fallback, but never all streams. Of a dynamic shape
    none: nobody could say how large the fallback is."""
    fixed = [name for name, inputs in streams.items() if not any(item.dynamic for item in inputs)]
    declared = [name for name in fixed if may_be_absent(policies.get(name, StreamPolicy()))]
    longest = len(declared) if len(declared) <= MOST_TOGETHER else 2
    together = [group for size in range(2, longest + 1) for group in itertools.combinations(declared, size)]
    found = [*((name,) for name in fixed), *together]
    return [frozenset(group) for group in found if len(group) < len(streams)]


def measured_absences(rows: Iterable[Mapping[str, Any]], policies: Mapping[str, StreamPolicy]) -> frozenset[Absence]:
    """Those of the manifest's ``fallbacks`` that were measured with the numbers that *policies* put in."""
    return frozenset(
        frozenset(row["absent"])
        for row in rows
        if all(name in policies and policies[name].fallback == fill for name, fill in row["fills"].items())
    )


def check_absences(measured: frozenset[Absence], policies: Mapping[str, StreamPolicy]) -> None:
    """Raise :class:`UsageError` for a fallback of which nobody knows what it does to the answers."""
    for name, policy in policies.items():
        if may_be_absent(policy) and frozenset([name]) not in measured:
            raise UsageError(
                f"nobody has measured what the model answers with {policy.fallback:g} in the place of {name!r}",
                where=f"the fallback of {name!r}",
                hint=f"Give [streams.{name}] this fallback in the recipe and compile again: the bundle then says what "
                "it costs. Or choose on_stale hold or fail.",
            )


def unmeasured_reason(absent: Sequence[str]) -> str:
    return f"{' and '.join(absent)} are absent together, which was not measured when the bundle was compiled"
