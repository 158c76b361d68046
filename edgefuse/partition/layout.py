"""Which streams get a branch, and what each branch has to make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgefuse.partition.boundary import Scene, least_cut
from edgefuse.partition.reach import NOTHING, TRUNK, Reach, find_reach, is_shape_leaf
from edgefuse.partition.tensors import Facts

Wants = dict[str, dict[str, None]]
"""For each stream the tensors that its branch has to make, in no order of meaning."""
Leaves = dict[str, dict[str, str]]
"""For each stream the shapes that its branch reads, each with the stream whose data have it."""

STUCK = "all of it is in the trunk, as no tensor behind its operations has a type and shape that could be told"
TANGLED = "what reads its shape in other branches is in the trunk instead: branches would wait for each other"


@dataclass(frozen=True)
class Layout:
    """``wants`` by stream, in an order in which the branches can run; ``boundary`` is what the trunk reads of them, and
    ``trunk`` holds the outputs that it makes."""

    reach: Mapping[str, Reach]
    wants: Wants
    boundary: tuple[str, ...]
    trunk: tuple[str, ...]
    notes: tuple[str, ...]


def lay_out(scene: Scene, sources: Mapping[str, str]) -> Layout:
    """*sources* gives the stream, or ``TRUNK``, of each input. Repeats with fewer branches until all of them can be cut
    off and run one after another; in the end the trunk may hold everything, so there always is a layout."""
    absorbed, ordinary, notes = set[str](), set[str](), list[str]()
    static = {name for name, fact in scene.facts.items() if fact.shape is not None}
    while True:
        homes = {name: TRUNK if stream in absorbed else stream for name, stream in sources.items()}
        reach = find_reach(scene.index.graph, homes, static, ordinary)
        idle = _idle(scene, reach, set(homes.values()) - {TRUNK})
        cut, stuck = ([], set[str]()) if idle else least_cut(scene, reach)
        notes += [f"{stream}: {STUCK}" for stream in sorted(stuck)]
        absorbed |= idle | stuck
        if idle or stuck:
            continue
        wants, leaves = _grow(scene, reach, cut, list(dict.fromkeys(sources.values())))
        order, tangled = _order(scene, wants, leaves)
        if not tangled:
            ordered = {stream: wants[stream] for stream in order}
            return Layout(reach, ordered, tuple(cut), _trunk_outputs(scene, reach, ordered), tuple(notes))
        notes.append(f"{tangled}: {TANGLED}")
        ordinary.add(tangled)


def _trunk_outputs(scene: Scene, reach: Mapping[str, Reach], wants: Wants) -> tuple[str, ...]:
    """Constant outputs are the trunk's too; where there is none, the last branch's, which gets them added."""
    homes = {name: reach.get(name, NOTHING).home for name in scene.outputs}
    if TRUNK in homes.values() or not wants:
        return tuple(name for name, home in homes.items() if home in (None, TRUNK))
    last = list(wants)[-1]
    wants[last].update(dict.fromkeys(name for name, home in homes.items() if home is None))
    return ()


def _idle(scene: Scene, reach: Mapping[str, Reach], streams: set[str]) -> set[str]:
    """Streams that need no branch: the trunk may as well read their inputs."""
    nodes, _ = scene.index.needed(scene.outputs, lambda _: False)
    busy = {reach.get(name, NOTHING).home for name in scene.outputs}
    for name in [name for i in nodes for name in scene.index.graph.node[i].output if name]:
        if reach[name].met or not reach[name].values:
            continue
        busy |= reach[name].values if scene.heavy(name, reach) else set()
        busy |= reach[name].shapes - reach[name].values
    return streams - busy


def _grow(scene: Scene, reach: Mapping[str, Reach], cut: list[str], streams: list[str]) -> tuple[Wants, Leaves]:
    """What every branch has to make, and which shapes of others' data it reads."""
    wants: Wants = {stream: {} for stream in streams if stream != TRUNK}
    for name in [*(n for n in cut if n not in scene.index.inputs), *scene.outputs]:
        home = reach.get(name, NOTHING).home
        if home in wants:
            wants[home][name] = None
    leaves: Leaves = {stream: {} for stream in wants}
    pending = list(wants)
    while pending:
        stream = pending.pop()
        for leaf in shape_inputs(scene, reach, stream, wants[stream]):
            owner = leaves[stream][leaf] = leaf_owner(scene, reach, leaf)
            if leaf not in wants[owner]:
                wants[owner][leaf] = None
                pending.append(owner)
    return {stream: names for stream, names in wants.items() if names}, leaves


def shape_inputs(scene: Scene, reach: Mapping[str, Reach], stream: str, wants: Mapping[str, None]) -> list[str]:
    """Shapes of other streams' data that the branch of *stream* reads."""
    _, ends = scene.index.needed(wants, foreign_shapes(scene, reach, stream))
    return scene.index.ordered(ends.difference(scene.index.inputs))


def foreign_shapes(scene: Scene, reach: Mapping[str, Reach], stream: str) -> Callable[[str], bool]:
    """Whether a tensor is the shape of another stream's data: there the branch of *stream* ends."""

    def is_foreign(name: str) -> bool:
        node = scene.index.maker(name)
        return node is not None and is_shape_leaf(node, reach) and leaf_owner(scene, reach, name) != stream

    return is_foreign


def leaf_owner(scene: Scene, reach: Mapping[str, Reach], leaf: str) -> str:
    return next(iter(reach[scene.index.read_by(leaf)[0]].values))


def _order(scene: Scene, wants: Wants, leaves: Leaves) -> tuple[list[str], str | None]:
    """An order in which the branches can run; or else a stream whose shape no other branch may read."""
    owners = {leaf: owner for found in leaves.values() for leaf, owner in found.items()}
    scene.measure_open(owners)
    unknown = [owners[leaf] for leaf in sorted(owners) if scene.facts.get(leaf, Facts()).spec(leaf) is None]
    if unknown:
        return [], unknown[0]
    done: list[str] = []
    left = list(wants)
    while ready := [stream for stream in left if set(leaves[stream].values()) <= set(done)]:
        done.append(ready[0])
        left.remove(ready[0])
    return done, next((owner for stream in reversed(left) for owner in leaves[stream].values() if owner in left), None)
