"""The cut against every possible set of vertices."""

from __future__ import annotations

from itertools import chain, combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edgefuse.partition.mincut import UNLIMITED, cut_vertices


@st.composite
def networks(draw):
    count = draw(st.integers(1, 7))
    vertices = [f"v{i}" for i in range(count)]
    sizes = {v: draw(st.sampled_from([1, 2, 3, 5, UNLIMITED])) for v in vertices}
    edges = [(a, b) for i, a in enumerate(vertices) for b in vertices[i + 1 :] if draw(st.booleans())]
    some = st.lists(st.sampled_from(vertices), max_size=3)
    return sizes, edges, draw(some), draw(some)


def behind(names, edges, removed):
    """Vertices that can be reached from *names* without those *removed*."""
    pending, found = [n for n in names if n not in removed], set()
    while pending:
        at = pending.pop()
        if at not in found:
            found.add(at)
            pending += [b for a, b in edges if a == at and b not in removed]
    return found


@given(networks())
@settings(max_examples=400, deadline=None)
def test_it_is_the_smallest_and_of_those_the_latest(network):
    sizes, edges, sources, sinks = network
    got = cut_vertices(sizes, edges, sources, sinks)
    every = chain.from_iterable(combinations(sizes, n) for n in range(len(sizes) + 1))
    legal = [
        set(s) for s in every if not behind(sources, edges, s) & set(sinks) and all(sizes[v] < UNLIMITED for v in s)
    ]
    if not legal:
        assert got is None
        return
    least = min(sum(sizes[v] for v in s) for s in legal)
    smallest = [s for s in legal if sum(sizes[v] for v in s) == least]
    assert got in smallest
    before = behind(sources, edges, got)
    assert all(behind(sources, edges, s) <= before for s in smallest), "no other leaves more work before it"


def test_a_long_chain_and_sizes_beyond_32_bits():
    names = [f"v{i}" for i in range(3000)]
    sizes = dict.fromkeys(names, 1 << 40) | {"v1500": 1 << 39}
    assert cut_vertices(sizes, [*pairwise(names)], ["v0"], ["v2999"]) == {"v1500"}
