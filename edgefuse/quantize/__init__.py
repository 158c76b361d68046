"""Post-training INT8 quantization: our own Q/DQ placement, with onnxruntime for the statistics.

The result is plain ONNX with QuantizeLinear/DequantizeLinear, so the precision is a property of the graph and every
toolchain that reads it gets the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgefuse.errors import ModelError
from edgefuse.quantize.graph import Graph
from edgefuse.quantize.observe import observe_ranges
from edgefuse.quantize.placement import (
    Weighted,
    add_inputs,
    eligible,
    for_tensor_cores,
    place,
    share_concat_scales,
)
from edgefuse.quantize.rewrite import insert_qdq
from edgefuse.quantize.schemes import SCHEMES
from edgefuse.spec import Feed


@dataclass(frozen=True)
class Quantized:
    """How much of the graph is INT8: the named ``nodes`` of ``eligible`` operations, out of ``operations``."""

    nodes: tuple[str, ...]
    eligible: int
    operations: int

    @property
    def int8(self) -> int:
        return len(self.nodes)


@dataclass(frozen=True)
class Treatment:
    """How far INT8 goes: the nodes named in ``floats`` stay float although they could be INT8; ``residuals``: what a
    residual sum adds is INT8 as well; ``depthwise``: depthwise convolutions are INT8."""

    floats: frozenset[str] = frozenset()
    residuals: bool = False
    depthwise: bool = False


class Quantizer:
    """The INT8 versions of one ONNX file for *backend*. The statistics are taken once, in one pass over *samples*, and
    serve every version; the same treatment gives the same file, bit for bit. ``growth``: the share of each tensor's
    range that only the second half of the samples has shown."""

    def __init__(self, float_path: Path, samples: Iterable[Feed], backend: str = "openvino") -> None:
        self.scheme = SCHEMES[backend]
        self.graph = Graph(onnx.load(float_path))
        candidates = eligible(self.graph)
        observed = [item.data for item in candidates] + add_inputs(self.graph)
        self.growth: dict[str, float] = {}
        self.ranges = observe_ranges(self.graph.model, observed, samples, growth=self.growth)
        if self.scheme.tensor_cores:
            candidates = for_tensor_cores(self.graph, candidates, self.ranges)
        self.candidates = [item for item in candidates if item.data in self.ranges]
        self._eligible = sum(not item.depthwise for item in candidates)

    def weighted(self, treatment: Treatment = Treatment()) -> list[Weighted]:
        """The operations that *treatment* makes INT8, in the graph's order."""
        taken = (item for item in self.candidates if treatment.depthwise or not item.depthwise)
        return [item for item in taken if item.node.name not in treatment.floats]

    def model(self, treatment: Treatment = Treatment()) -> onnx.ModelProto:
        """The INT8 version; raises :class:`ModelError` where nothing would be INT8."""
        chosen = self.weighted(treatment)
        if not chosen:
            raise ModelError(
                "has no convolution or matrix product with constant float32 weights that INT8 could speed up",
                hint="Use --precision float, or fp16 where the device has it.",
            )
        skips = self.scheme.tensor_cores or treatment.residuals
        placement, ranges = place(self.graph, chosen, self.ranges, skips), self.ranges
        if self.scheme.tensor_cores:
            ranges = share_concat_scales(self.graph, placement, ranges)
        return insert_qdq(self.graph, placement, ranges, self.scheme)

    def write(self, out: Path, treatment: Treatment = Treatment()) -> Quantized:
        """Write the INT8 version to *out*; raises as :meth:`model`."""
        quantized = self.model(treatment)
        onnx.checker.check_model(quantized)
        onnx.save(quantized, out)
        nodes = tuple(item.node.name for item in self.weighted(treatment))
        return Quantized(nodes, self._eligible, len(self.graph.model.graph.node))

    def has_residuals(self) -> bool:
        """Whether INT8 residual sums would change anything."""
        chosen = self.weighted()
        return bool(chosen) and bool(place(self.graph, chosen, self.ranges, True).skips)


def quantize_int8(float_path: Path, out: Path, samples: Iterable[Feed], backend: str = "openvino") -> Quantized:
    """Write the INT8 version of the ONNX file *float_path* to *out*, as *backend* reads it; ranges from *samples*."""
    return Quantizer(float_path, samples, backend).write(out)
