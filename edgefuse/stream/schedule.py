"""Which branches a deadline leaves time for. Standard library only, and without a clock: a replay decides the same
again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from edgefuse.parts import Part

RECENT, ENOUGH = 64, 16


class Waiting(NamedTuple):
    """A stream whose new data could wait; ``age_ns`` is of what would be held instead."""

    stream: str
    priority: int
    age_ns: int


def choose(
    must: frozenset[str], waiting: Sequence[Waiting], budget_ns: float, cost_ns: Callable[[frozenset[str]], float]
) -> frozenset[str]:
    """The streams to take in: all that *must*, and of those *waiting* as many as the budget allows, high priority
    first and among equals the one whose held data are oldest. *cost_ns* is of a step that takes a set of streams in.
    A cheap stream may still fit where a dear one before it did not."""
    taken = must
    for item in sorted(waiting, key=lambda item: (-item.priority, -item.age_ns)):
        if cost_ns(taken | {item.stream}) <= budget_ns:
            taken |= {item.stream}
    return taken


class Estimates:
    """How long each part takes: p90 of its last runs (or p50, where *typical* is asked for), and before it has run
    often what the bundle says. A part that was skipped forgets one run each time, so that a slow phase that has passed
    does not keep it out for ever."""

    def __init__(self, bundle_ns: Mapping[str, float | None], lanes: Sequence[Sequence[str]], learn: bool) -> None:
        self._bundle, self._lanes, self._learn = dict(bundle_ns), [set(lane) for lane in lanes], learn
        self._recent: dict[str, deque[int]] = {name: deque(maxlen=RECENT) for name in bundle_ns}
        self._known: dict[str, tuple[float, float]] = {}

    def add(self, part: str, took_ns: int) -> None:
        if self._learn:
            self._recent[part].append(took_ns)
            self._known.pop(part, None)

    def forget(self, part: str) -> None:
        if self._recent[part]:
            self._recent[part].popleft()
            self._known.pop(part, None)

    def part_ns(self, part: str, *, typical: bool = False) -> float:
        """0 where nothing is known."""
        found = self._known.get(part)
        if found is None:
            recent, stored = self._recent[part], self._bundle[part]
            if stored is not None and len(recent) < ENOUGH:
                found = (stored, stored)
            else:
                ordered = sorted(recent) or [0]
                found = (float(ordered[len(ordered) * 9 // 10]), float(ordered[len(ordered) // 2]))
            self._known[part] = found
        return found[typical]

    def sum_ns(self, parts: Iterable[str]) -> float:
        """Of parts that run one after another."""
        return sum(self.part_ns(part) for part in parts)

    def total_ns(self, parts: Iterable[Part], *, typical: bool = False) -> float:
        """Of parts that run one after another, but for branches in different lanes."""
        costs = {part.name: self.part_ns(part.name, typical=typical) for part in parts}
        together = [sum(costs.pop(name) for name in lane & costs.keys()) for lane in self._lanes]
        return max(together, default=0.0) + sum(costs.values())
