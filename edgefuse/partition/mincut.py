"""Minimum vertex cut by shortest augmenting paths (Edmonds & Karp 1972, doi:10.1145/321694.321699).

Own code because scipy's takes 32-bit capacities only, which tensors of a few megabytes exceed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeAlias

Vertex: TypeAlias = Hashable
Residual: TypeAlias = dict[Vertex, dict[Vertex, int]]
UNLIMITED = 1 << 62
_SOURCE: Vertex = "source"
_SINK: Vertex = "sink"


def cut_vertices(
    capacities: Mapping[str, int], edges: Iterable[tuple[str, str]], sources: Iterable[str], sinks: Iterable[str]
) -> set[str] | None:
    """Vertices on every way from a source to a sink, of the least total capacity and, of those sets, the one nearest
    to the sinks. None if every such set has a vertex of capacity ``UNLIMITED``.
    """
    residual = _network(capacities, edges, sources, sinks)
    while path := _shortest_path(residual):
        room = min(residual[a][b] for a, b in path)
        if room > UNLIMITED // 2:  # what flows elsewhere takes only a little of it
            return None
        for a, b in path:
            residual[a][b] -= room
            residual[b][a] = residual[b].get(a, 0) + room
    behind = _reaching_sink(residual)
    return {name for name in capacities if ("out", name) in behind and ("in", name) not in behind}


def _network(
    capacities: Mapping[str, int], edges: Iterable[tuple[str, str]], sources: Iterable[str], sinks: Iterable[str]
) -> Residual:
    """Each vertex is an arc from its "in" to its "out"; all other arcs are unlimited."""
    arcs: list[tuple[Vertex, Vertex, int]] = [(("in", v), ("out", v), size) for v, size in capacities.items()]
    arcs += [(("out", a), ("in", b), UNLIMITED) for a, b in edges]
    arcs += [(_SOURCE, ("in", v), UNLIMITED) for v in sources] + [(("out", v), _SINK, UNLIMITED) for v in sinks]
    residual: Residual = {_SOURCE: {}, _SINK: {}}
    for a, b, size in arcs:
        residual.setdefault(a, {})[b] = size
        residual.setdefault(b, {}).setdefault(a, 0)
    return residual


def _shortest_path(residual: Residual) -> list[tuple[Vertex, Vertex]]:
    came_from: dict[Vertex, Vertex] = {_SOURCE: _SOURCE}
    pending = deque[Vertex]([_SOURCE])
    while pending and _SINK not in came_from:
        at = pending.popleft()
        for there, room in residual[at].items():
            if room > 0 and there not in came_from:
                came_from[there] = at
                pending.append(there)
    path: list[tuple[Vertex, Vertex]] = []
    here = _SINK
    while here in came_from and here != _SOURCE:
        path.append((came_from[here], here))
        here = came_from[here]
    return path[::-1]


def _reaching_sink(residual: Residual) -> set[Vertex]:
    found: set[Vertex] = {_SINK}
    pending: list[Vertex] = [_SINK]
    while pending:
        here = pending.pop()
        before = [there for there in residual[here] if there not in found and residual[there].get(here, 0) > 0]
        found.update(before)
        pending.extend(before)
    return found
