"""Cuts an ONNX graph of a fusion model into branches, one a sensor, and the trunk. The rules and their reasons are in
``docs/partition.md``. Runs at the workstation: may import onnx.

    found = split(model, spec, state)
    found.partition, found.node_parts, found.models()   # all three at the price of one
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from edgefuse.partition.simplify import simplify
from edgefuse.partition.split import Split, cut_simplified, split
from edgefuse.parts import Partition
from edgefuse.spec import ModelSpec

__all__ = ["Split", "cut", "node_parts", "partition", "split"]


def partition(model: onnx.ModelProto, spec: ModelSpec, state: Mapping[str, str] | None = None) -> Partition:
    """The parts of *model*; *state* maps an input that carries state to the output that feeds it at the next step."""
    return split(model, spec, state).partition


def node_parts(model: onnx.ModelProto, spec: ModelSpec, state: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of every node, by the node's name (by its first output's where it has none). A node that several parts
    compute counts for the first; one that no part needs, or that a constant replaces, is missing."""
    return split(model, spec, state).node_parts


def cut(model: onnx.ModelProto, spec: ModelSpec, partition: Partition) -> dict[str, onnx.ModelProto]:
    """Each part of *partition*, made from the same *model* and *spec*, as a model of its own, checked by onnx."""
    return cut_simplified(simplify(model, spec), partition)
