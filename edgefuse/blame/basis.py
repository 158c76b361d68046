"""A graph in which one part at a time is replaced by what the device made of it.

The *float* graph is cut at the tensors that the boundary stands for: what a part costs is what the answer loses when
it alone is the device's. Where a boundary tensor is not to be found there, the *compiled* graph (``model.onnx``,
emulated) is the basis: then what the graph itself loses cannot be seen, only what the device adds to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from edgefuse.blame.rest import Rest
from edgefuse.blame.seams import Seam
from edgefuse.golden import GoldenSample
from edgefuse.part_answers import Row
from edgefuse.parts import Part
from edgefuse.spec import Array

FLOAT, COMPILED = "float", "compiled"


@dataclass
class Basis:
    """``model`` over ``samples``, with the inputs, outputs and the sources of ``seams`` of each in ``values``."""

    kind: str
    model: onnx.ModelProto
    seams: Mapping[str, Seam]
    samples: Sequence[GoldenSample]
    values: Sequence[Row]

    def __post_init__(self) -> None:
        sources = list(dict.fromkeys(str(seam.source) for seam in self.seams.values()))
        self._rest = Rest(self.model, sources, self.values[0])

    def real(self, name: str) -> list[Array]:
        """What the boundary tensor *name* stands for, in this graph."""
        return [row[str(self.seams[name].source)] for row in self.values]

    def effect(self, part: Part, given: Sequence[Row], made: Sequence[Row]) -> list[Row]:
        """The outputs when *part* makes *made*, from *given* boundary tensors where it reads some, and everything else
        is this graph's.

        What a part does is held against this graph fed with the same values, rounded as *given* are: the rounding is
        its maker's. The difference is added to the reference's answer.
        """
        found = []
        for sample, values, own_given, own_made in zip(self.samples, self.values, given, made):
            start = {**values, **self._decoded(part.inputs, own_given)}
            before = self._rest(start)
            after = self._rest({**start, **self._decoded(part.outputs, own_made)})
            after |= {name: own_made[name] for name in before if name in own_made}
            found.append({name: _moved(array, before[name], after[name]) for name, array in sample.reference.items()})
        return found

    def _decoded(self, names: Sequence[str], row: Row) -> Row:
        """What the tensors *names* of *row* stand for, in this graph's types: a boundary may be FP16."""
        own = [self.seams[name] for name in names if name in self.seams and name in row]
        kinds = {str(seam.source): self.values[0][str(seam.source)].dtype for seam in own}
        return {
            str(seam.source): seam.decode(row[seam.name]).astype(kinds[str(seam.source)], copy=False) for seam in own
        }


def _moved(reference: Array, before: Array, after: Array) -> Array:
    """*reference*, moved by what lies between *before* and *after*; whole numbers and what is not finite as it came."""
    if after.dtype.kind != "f" or not before.shape == reference.shape == after.shape:
        return after
    with np.errstate(invalid="ignore", over="ignore"):
        moved = (reference + (after.astype(np.float64) - before)).astype(after.dtype)
    return np.where(np.isfinite(before) & np.isfinite(after) & np.isfinite(reference), moved, after)
